"""A prior that is learned during training."""

import keras
import numpy as np
import pytest
import scipy.optimize
import scipy.stats

import tfpbnn

SCALE = 0.3


@pytest.fixture(scope="module")
def linear():
    """Rows of a linear model, and the precision of the largest evidence."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 4))
    y = x @ [0.3, -0.5, 0.2, 0.4] + SCALE * rng.normal(size=40)

    def loss(log):
        covariance = SCALE**2 * np.eye(40) + x @ x.T / np.exp(log)
        normal = scipy.stats.multivariate_normal(np.zeros(40), covariance)
        return -normal.logpdf(y)

    best = scipy.optimize.minimize_scalar(loss)
    return x.astype("float32"), y.astype("float32"), np.exp(best.x), -best.fun


def network(cls=keras.Sequential, **how):
    layer = keras.layers.Dense(1, use_bias=False, **how)
    model = cls([keras.Input((4,)), layer])
    return model


@pytest.mark.parametrize(
    ("cls", "reduction"),
    [(keras.Sequential, "sum_over_batch_size"), (tfpbnn.Sequential, "sum")],
    ids=["mean", "sum"],
)
def test_the_prior_becomes_that_of_the_largest_evidence(linear, cls, reduction):
    x, y, precision, evidence = linear
    model = network(cls)
    loss = tfpbnn.likelihoods.Normal(SCALE, reduction=reduction)
    rate = 0.01 if reduction == "sum_over_batch_size" else 0.01 / 20
    model.compile(keras.optimizers.SGD(rate), loss)
    model.fit(x, y, batch_size=20, verbose=0)  # traced without the prior
    learn = tfpbnn.MarginalLikelihoodTraining(x, y, 30, 20, structure="full")
    fitted = model.fit(
        x, y, batch_size=20, epochs=80, shuffle=False, verbose=0,
        callbacks=[learn], validation_data=(x, y), validation_freq=80,
    )  # fmt: skip
    assert [step["epoch"] for step in learn.history] == [49, 79]
    found = learn.posterior.prior_precision
    assert np.isclose(found, precision, rtol=0.01)
    last = fitted.history["log_marginal_likelihood"][-1]
    assert np.isclose(last, evidence, atol=0.01)
    # The weights are the mean of the posterior with that prior.
    curvature = x.T @ x / SCALE**2 + found * np.eye(4)
    mean = np.linalg.solve(curvature, x.T @ y / SCALE**2)
    np.testing.assert_allclose(model.get_weights()[0][:, 0], mean, atol=4e-3)
    # Nothing of it stays behind.
    assert not model.losses
    own = loss(y[:, np.newaxis], model(x))
    if reduction == "sum":
        own /= 2  # `evaluate` has the mean of two batches
    assert np.isclose(model.evaluate(x, y, batch_size=20, verbose=0), own)


def test_bad_input(linear):
    x, y, *_ = linear
    with pytest.raises(ValueError, match="`every` must be"):
        tfpbnn.MarginalLikelihoodTraining(x, y, 0)
    model = network(kernel_regularizer="l2")
    model.compile("sgd", tfpbnn.likelihoods.Normal(SCALE))
    learn = tfpbnn.MarginalLikelihoodTraining(x, y)
    with pytest.raises(ValueError, match=r"no regularizers.*dense"):
        model.fit(x, y, verbose=0, callbacks=[learn])
