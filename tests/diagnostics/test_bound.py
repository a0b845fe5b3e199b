import keras
import numpy as np
import pytest

import tfpbnn
from tfpbnn import diagnostics, layers

X = np.random.default_rng(0).normal(size=(40, 2)).astype("float32")
Y = X[:, 0] - X[:, 1]
SCALE = 0.5


def test_terms_are_those_of_linear_regression():
    """Nothing is learned, so each epoch estimates one closed form.

    The mean over 60 epochs, each with an independent draw for each row, within
    6 standard errors: false alarms at 1e-8.
    """
    model = tfpbnn.Sequential(
        [
            keras.Input((2,)),
            layers.DenseLocalReparameterization(1, use_bias=False),
        ]
    )
    loss = tfpbnn.likelihoods.Normal(scale=SCALE)
    model.compile(keras.optimizers.SGD(0.0), loss)
    weight = tfpbnn.callbacks.KLWeight(len(X), warmup_epochs=50)
    history = model.fit(X, Y, epochs=60, verbose=0, callbacks=[weight])
    found = diagnostics.elbo(history, len(X))
    q = model.layers[0].kernel_posterior
    loc, sd = np.asarray(q.mean())[:, 0], np.asarray(q.stddev())[:, 0]
    error = (Y - X @ loc) ** 2 + X**2 @ sd**2
    expected = np.sum(
        -0.5 * error / SCALE**2 - np.log(SCALE) - 0.5 * np.log(2 * np.pi)
    )
    values = found["log_likelihood"]
    spread = values.std(ddof=1) / np.sqrt(len(values))
    assert abs(values.mean() - expected) < 6 * spread + 1e-4 * abs(expected)
    kl = np.sum(0.5 * (loc**2 + sd**2 - 1) - np.log(sd))
    np.testing.assert_allclose(found["kl"], kl, rtol=1e-4)
    np.testing.assert_allclose(found["elbo"], values - found["kl"])
    same = diagnostics.elbo(history.history, len(X))
    np.testing.assert_array_equal(same["elbo"], found["elbo"])


def test_bad_input():
    with pytest.raises(ValueError, match="without \\['kl', 'kl_weight'\\]"):
        diagnostics.elbo({"loss": [1.0]}, 10)
    with pytest.raises(ValueError, match="num_examples"):
        diagnostics.elbo({"loss": [1.0]}, 0)
