"""Small networks and data that tests of optimizers share."""

import keras
import numpy as np

import tfpbnn
from tfpbnn.optimizers import IVON

L = keras.layers


def classifier(shape, *extra, masked=False, cls=tfpbnn.Sequential, dtype=None):
    keras.utils.set_random_seed(0)
    layers = [L.Masking()] if masked else []
    return cls(
        [
            keras.Input(shape),
            *layers,
            L.Dense(8, activation="tanh", dtype=dtype),
            *extra,
            L.Dense(3, dtype=dtype),
        ]
    )


def regressor(inputs, outputs):
    keras.utils.set_random_seed(0)
    return tfpbnn.Sequential([keras.Input((inputs,)), L.Dense(outputs)])


def labelled(rows=48):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 4)).astype("float32")
    return x, rng.integers(0, 3, rows)


def steps(dtype=None, loss_scale_factor=None, **compiled):
    """The weights and deviations after a few steps of two draws each."""
    x, y = labelled()
    model = classifier((4,), dtype=dtype)
    optimizer = IVON(
        0.1,
        hess_init=0.1,
        beta_2=0.9,
        num_mc=2,
        seed=1,
        loss_scale_factor=loss_scale_factor,
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss=loss, **compiled)
    model.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0)
    inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    stddevs = inner.posterior(model).stddevs
    return [*model.get_weights(), *(v.numpy() for v in stddevs)]
