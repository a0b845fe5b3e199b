"""Data and options that must not change what an optimizer trains."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.optimizers.networks import classifier, labelled, regressor
from tfpbnn.optimizers import IVON, SGHMC, SGNHT

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
X, Y = labelled(50)  # the last batch has 2 rows
WEIGHT_OF = {0: 1.0, 1: 2.0, 2: 0.0}
WEIGHTS = np.array([WEIGHT_OF[label] for label in Y])
OPTIMIZERS = {
    "ivon": lambda **k: IVON(0.1, hess_init=0.1, beta_2=0.9, seed=1, **k),
    "sghmc": lambda **k: SGHMC(0.01, seed=1, **k),
}


def fitted(optimizer, *data, model=None, times=1, **given):
    """The weights after two epochs."""
    model = model or classifier((4,))
    model.compile(optimizer, LOSS)
    if len(data) > 1:
        given |= {"batch_size": 16}
    for _ in range(times):
        model.fit(*data, epochs=2 // times, shuffle=False, verbose=0, **given)
    return model.get_weights()


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        rows = slice(16 * index, 16 * index + 16)
        return X[rows], Y[rows], WEIGHTS[rows]


def batches():
    rows = tf.data.Dataset.from_tensor_slices((X, Y, WEIGHTS))
    return rows.batch(16)


def named():
    keras.utils.set_random_seed(0)
    x = keras.Input((4,), name="x")
    return tfpbnn.Model({"x": x}, classifier((4,))(x))


def scaled(optimizer):
    """As under mixed precision."""
    return keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=8.0)


WEIGHTED = {"sample_weight": WEIGHTS}
WAYS = {
    "a dataset": lambda o: fitted(o, batches()),
    "a PyDataset": lambda o: fitted(o, Batches()),
    "weights of classes": lambda o: fitted(o, X, Y, class_weight=WEIGHT_OF),
    "two fits": lambda o: fitted(o, X, Y, times=2, **WEIGHTED),
    "a scaled loss": lambda o: fitted(scaled(o), X, Y, **WEIGHTED),
    "names": lambda o: fitted(o, {"x": X}, Y, model=named(), **WEIGHTED),
}


@pytest.fixture(scope="module")
def expected():
    return {
        name: fitted(make(), X, Y, **WEIGHTED)
        for name, make in OPTIMIZERS.items()
    }


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_all_ways_train_the_same(name, way, expected):
    found = WAYS[way](OPTIMIZERS[name]())
    for a, b in zip(found, expected[name], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_batches_by_themselves_train_the_same(name):
    """`train_on_batch` knows what a loss is of: a sum, or a mean over places.

    A quarter of the places is padding.
    """
    x = np.random.default_rng(0).normal(size=(32, 4, 4)).astype("float32")
    x[:, 3] = 0
    y = np.random.default_rng(1).integers(0, 3, (32, 4))
    rows = {"ivon": "ess", "sghmc": "num_examples"}[name]
    found = []
    for reduction in ("sum_over_batch_size", "sum"):
        loss = keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction=reduction
        )
        model = classifier((4, 4), masked=True)
        given = {} if reduction == "sum" else {rows: 32}
        optimizer = OPTIMIZERS[name](**given)
        model.compile(optimizer, loss, run_eagerly=True)
        if given:
            for part in (slice(0, 16), slice(16, 32)):
                model.train_on_batch(x[part], y[part])
        else:
            model.fit(x, y, batch_size=16, shuffle=False, verbose=0)
        found.append(model.get_weights())
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cls", [SGHMC, SGNHT])
def test_one_pass_over_a_large_network_is_the_plain_step(cls):
    """160,400 weights are moved by one function of XLA's in `fit`."""
    x = np.random.default_rng(0).normal(size=(32, 400)).astype("float32")
    found = []
    for eagerly in (False, True):
        model = regressor(400, 400)
        model.compile(cls(0.001, seed=1), "mse", run_eagerly=eagerly)
        model.fit(x, x, batch_size=16, shuffle=False, verbose=0)
        found.append(model.get_weights())
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
