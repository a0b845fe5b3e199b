"""`adapt` is training by hand on standardized targets, in every posterior."""

import keras
import numpy as np
import pytest

import tfpbnn
from tests.fresh import run
from tfpbnn import ensembles, likelihoods

rng = np.random.default_rng(0)
X = rng.standard_normal((64, 3)).astype("float32")
Y = 36 + 17 * X[:, 0] + rng.standard_normal(64)
MEAN, STDDEV = Y.mean(), Y.std()


def network(last=keras.layers.Dense, cls=keras.Sequential):
    return cls(
        [
            keras.Input((3,)),
            keras.layers.Dense(8, activation="relu"),
            last(2),
        ]
    )


def variational(loss):
    return network(tfpbnn.layers.DenseFlipout, tfpbnn.Sequential)


def deep(loss):
    return ensembles.DeepEnsemble(network(), 2, seed=1)


def packed(loss):
    model = network()
    model.compile("sgd", loss)
    return ensembles.to_packed_ensemble(model, 2)


def batch(loss):
    return ensembles.to_batch_ensemble(network(), 2)


def mimo(loss):
    return ensembles.to_mimo(network(), 2)


def dropout(loss):
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(2),
        ]
    )
    return tfpbnn.mc_dropout(model)


def swag(loss, y):
    model = network()
    model.compile("sgd", loss)
    swag = ensembles.SWAG(start_epoch=1)
    model.fit(X, y, epochs=4, verbose=0, callbacks=[swag])
    return swag.posterior


def trained(make, loss, y):
    keras.utils.set_random_seed(3)
    if make is swag:
        return swag(loss, y)
    model = make(loss)
    model.compile(keras.optimizers.Adam(0.01), loss)
    model.fit(X, y, epochs=3, verbose=0)
    return model


@pytest.mark.parametrize(
    "make", [variational, deep, packed, batch, mimo, dropout, swag]
)
def test_as_by_hand(make, tmp_path):
    z = (Y - MEAN) / STDDEV
    model = trained(make, likelihoods.Normal().adapt(Y), Y)
    p = tfpbnn.predict(model, X, 4, seed=0)
    q = tfpbnn.predict(
        trained(make, likelihoods.Normal(), z), X, 4, seed=0
    ).rescale(STDDEV, MEAN)
    np.testing.assert_allclose(p.mean, q.mean, rtol=1e-3)
    np.testing.assert_allclose(p.variance, q.variance, rtol=1e-3)
    scores, by_hand = p.evaluate(Y), q.evaluate(Y)
    assert scores == pytest.approx(by_hand, rel=1e-3)
    assert abs(p.mean.mean() - MEAN) < 2 * STDDEV
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", X)
    run(PREDICT, str(tmp_path))
    np.testing.assert_allclose(
        np.load(tmp_path / "mean.npy"), p.mean, rtol=1e-4
    )


PREDICT = """
import sys
import keras
import numpy
import tfpbnn

model = keras.saving.load_model(sys.argv[1] + "/model.keras")
p = tfpbnn.predict(model, numpy.load(sys.argv[1] + "/x.npy"), 4, seed=0)
numpy.save(sys.argv[1] + "/mean.npy", p.mean)
"""
