"""Digits and models that the tests of shared ensembles train."""

import functools
import json

import keras
import numpy as np
from sklearn import datasets, model_selection

import tfpbnn
from tests import fresh

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@functools.cache
def digits():
    """(x, y, x_test, y_test), 300 and 500 of them."""
    x, y = datasets.load_digits(return_X_y=True)
    x, x_test, y, y_test = model_selection.train_test_split(
        (x / 16).astype("float32"), y, train_size=300, random_state=0
    )
    return x, y, x_test[:500], y_test[:500]


def mlp(units=48, outputs=10):
    return keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(units, activation="relu"),
            keras.layers.Dense(units, activation="relu"),
            keras.layers.Dense(outputs),
        ]
    )


def cnn():
    """With BatchNorm, a residual and a model in the model."""
    inputs = keras.Input((8, 8, 2))
    x = keras.layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    x = keras.layers.BatchNormalization()(x)
    block = keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            keras.layers.Conv2D(4, 3, padding="same", activation="relu"),
        ]
    )
    x = keras.layers.Add()([x, block(x)])
    x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Flatten()(x)
    return keras.Model(inputs, keras.layers.Dense(3, "softmax")(x))


def trained(make, jit_compile=False):
    """What `make` makes of a network, from the same seed whenever that is."""
    keras.utils.set_random_seed(0)
    x, y, _, _ = digits()
    model = make(mlp())
    model.compile(
        keras.optimizers.Adam(3e-3), loss=LOSS, jit_compile=jit_compile
    )
    model.fit(x, y, batch_size=60, epochs=20, verbose=0)
    return model


_LOAD = """
import json, sys
import keras, numpy as np, tfpbnn
for path in json.loads(sys.argv[1]):
    model = keras.saving.load_model(path + ".keras")
    x = np.load(path + "_x.npy")
    p = tfpbnn.predict(model, x, 8, seed=0)
    np.save(path + "_draws.npy", p.outputs)
"""


def check_loads(models, x, tmp_path):
    """Predictions are the same in a fresh process, in safe mode."""
    paths = [str(tmp_path / str(i)) for i in range(len(models))]
    for model, path in zip(models, paths, strict=True):
        model.save(path + ".keras")
        np.save(path + "_x.npy", x)
    fresh.run(_LOAD, json.dumps(paths))
    for model, path in zip(models, paths, strict=True):
        expected = tfpbnn.predict(model, x, 8, seed=0).outputs
        np.testing.assert_allclose(
            np.load(path + "_draws.npy"), expected, rtol=1e-4, atol=1e-5
        )
