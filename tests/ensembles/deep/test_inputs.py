"""Data in the forms that Keras takes, beside members fitted by Keras."""

import keras
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import tensorflow as tf

from tests.ensembles.deep.comparison import assert_same
from tfpbnn.ensembles import (
    SWAG,
    DeepEnsemble,
    MixedEnsemble,
    MultiSWAG,
    SnapshotEnsemble,
)
from tfpbnn.ensembles.jobs.arrays import load_arrays, save_arrays

layers = keras.layers
rng = np.random.default_rng(0)
N = 20
X = rng.normal(size=(N, 4)).astype("float32")
Y = rng.normal(size=N).astype("float32")
WORDS = rng.choice(["red", "blue", "other"], N).astype(object)


def lookup():
    words = keras.Input((), dtype="string")
    x = layers.StringLookup(vocabulary=["red", "blue"])(words)
    return keras.Model(words, layers.Dense(1)(layers.Embedding(3, 3)(x)))


def dense(**kwargs):
    inputs = keras.Input((4,), **kwargs)
    return keras.Model(inputs, layers.Dense(1)(inputs))


def ragged():
    ids = keras.Input((None,), dtype="int32", ragged=True)
    x = layers.GlobalAveragePooling1D()(layers.Embedding(9, 3)(ids))
    return keras.Model(ids, layers.Dense(1)(x))


class Sum(layers.Layer):
    """Takes a second input or None."""

    def call(self, a, b=None):
        return a if b is None else a + b


def optional():
    a, b = keras.Input((4,)), keras.Input((4,), optional=True)
    return keras.Model([b, a], layers.Dense(1)(Sum()(a, b)))


def of_any_length():
    inputs = keras.Input((None, 2))
    return keras.Model(inputs, layers.Dense(1)(inputs))


def batches_of_lengths():
    def batches():
        for steps in (3, 5, 2):
            x = rng.normal(size=(4, steps, 2))
            yield x, x[..., :1]

    spec = tf.TensorSpec((None, None, 2)), tf.TensorSpec((None, None, 1))
    return list(tf.data.Dataset.from_generator(batches, output_signature=spec))


LENGTHS = batches_of_lengths()


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        rows = slice(12 * index, 12 * (index + 1))
        return X[rows], Y[rows]


SPARSE = scipy.sparse.csr_matrix(np.maximum(X, 0))
RAGGED = tf.ragged.constant([[1] * (1 + i % 4) for i in range(N)], tf.int32)
FORMS = {
    "strings": (lookup, lambda: (WORDS, Y)),
    "string tensor": (lookup, lambda: (tf.constant(WORDS), Y)),
    "pandas": (dense, lambda: (pd.DataFrame(X), pd.Series(Y))),
    "scipy": (lambda: dense(sparse=True), lambda: (SPARSE, Y)),
    "ragged": (ragged, lambda: (RAGGED, Y)),
    "None": (optional, lambda: ([None, X], Y)),
    "lengths": (of_any_length, lambda: ((batch for batch in LENGTHS),)),
    "PyDataset": (dense, lambda: (Batches(),)),
    "generator": (dense, lambda: ((Batches()[i] for i in range(2)),)),
}


@pytest.mark.filterwarnings("ignore:Your input ran out of data")  # it ended
@pytest.mark.parametrize("form", FORMS)
def test_members_learn_as_by_keras(form):
    build, data = FORMS[form]
    ensemble = DeepEnsemble(build, 2)
    ensemble.compile(keras.optimizers.SGD(0.1), "mse")
    alone = list(ensemble.members)
    for model in (ensemble, *alone):
        model.fit(*data(), shuffle=False, verbose=0)
    assert_same(ensemble, alone)
    x = data()[0]
    if isinstance(x, np.ndarray | pd.DataFrame | tf.Tensor):
        found = ensemble.predict(x, verbose=0)
        mean = np.mean([m.predict(x, verbose=0) for m in alone], 0)
        np.testing.assert_allclose(found, mean, atol=1e-6)


@pytest.mark.parametrize("form", ["strings", "string tensor"])
@pytest.mark.parametrize(
    "option", [{"bootstrap": "poisson"}, {"shuffle": "own"}]
)
def test_members_have_rows_of_their_own_of_strings(form, option):
    build, data = FORMS[form]
    ensemble = DeepEnsemble(build, 2, **option)
    ensemble.compile("sgd", "mse")
    assert np.isfinite(ensemble.fit(*data(), verbose=0).history["loss"])


@pytest.mark.parametrize("form", ["strings", "scipy", "ragged", "None"])
def test_posteriors_of_one_training(form):
    build, data = FORMS[form]
    network = build()
    network.compile(keras.optimizers.SGD(0.01), "mse")
    swag, snapshots = SWAG(0, 2), SnapshotEnsemble(2, 0.01)
    network.fit(*data(), epochs=2, callbacks=[swag, snapshots], verbose=0)
    x, y = data()
    posteriors = [swag.posterior, snapshots.posterior]
    scores = []
    for posterior in (*posteriors, MultiSWAG(posteriors)):
        outputs = posterior.predict(x, verbose=0)[:, 0]
        found = posterior.evaluate(x, y, verbose=0)
        expected = np.mean((outputs - y) ** 2)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        scores.append(outputs)
    np.testing.assert_allclose(scores[2], np.mean(scores[:2], 0), atol=1e-6)


@pytest.mark.filterwarnings("ignore:Members are trained one after the other")
@pytest.mark.parametrize("kind", ["mixed", "whole tensors"])
def test_what_can_be_read_once_is_for_members_side_by_side(kind):
    build, data = FORMS["generator"]
    is_mixed = kind == "mixed"
    make = MixedEnsemble if is_mixed else DeepEnsemble.from_models
    ensemble = make([build(), build()])
    ensemble.compile("sgd" if is_mixed else keras.optimizers.Lamb(), "mse")
    with pytest.raises(ValueError, match=r"`x` must be.*again.*generator"):
        ensemble.fit(*data(), verbose=0)


def test_arrays_for_jobs(tmp_path):
    arrays = {"x": {"words": WORDS, "none": None}, "y": tf.constant(WORDS)}
    loaded = load_arrays(save_arrays(arrays, tmp_path, "data"))
    assert loaded["x"]["words"].tolist() == WORDS.tolist()
    assert [word.decode() for word in loaded["y"]] == WORDS.tolist()
    assert loaded["x"]["none"] is None
    for wrong in (SPARSE, RAGGED, np.array([{}, {}])):
        with pytest.raises(TypeError, match="`x/a` must be a dense array"):
            save_arrays({"x": {"a": wrong}}, tmp_path, "data")
