"""Linear regression, where the posterior and the evidence are known.

With noise of known scale and a Normal prior the posterior is Normal, with
precision `A = X'X / sigma^2 + I / tau^2`. The best independent Normals in the
sense of KL(q || p) have its means, and the inverse of the diagonal of A for
variances (Bishop, 2006, section 10.1.2).
"""

import keras
import numpy as np
import pytest
from scipy import stats

import tfpbnn
from tfpbnn.layers.kl import kl_terms, total_kl

SIGMA, TAU, N, D = 0.5, 0.8, 60, 3


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(N, D))
    x[:, 1] += 0.7 * x[:, 0]  # correlated inputs: mean-field is not exact
    y = x @ [1.0, -0.5, 0.3] + SIGMA * rng.normal(size=N)
    return x, y


@pytest.fixture(scope="module")
def exact(data):
    x, y = data
    precision = x.T @ x / SIGMA**2 + np.eye(D) / TAU**2
    mean = np.linalg.solve(precision, x.T @ y / SIGMA**2)
    covariance = SIGMA**2 * np.eye(N) + TAU**2 * x @ x.T
    evidence = stats.multivariate_normal(np.zeros(N), covariance).logpdf(y)
    return mean, precision, evidence


ESTIMATORS = [
    tfpbnn.layers.DenseFlipout,
    tfpbnn.layers.DenseLocalReparameterization,
    tfpbnn.layers.DenseReparameterization,
]


@pytest.fixture(scope="module")
def fitted(data):
    """A layer of each estimator, by its class: trained side by side.

    They share no weight, so Adam's steps of each are those of a fit alone.
    """
    x, y = data
    keras.utils.set_random_seed(1)
    prior = tfpbnn.priors.Normal(scale=TAU)
    layers = [cls(1, use_bias=False, kernel_prior=prior) for cls in ESTIMATORS]
    inputs = keras.Input((D,))
    model = tfpbnn.Model(inputs, [layer(inputs) for layer in layers])
    # A falling rate, and an average over steps, take the gradient's noise out.
    rate = keras.optimizers.schedules.PolynomialDecay(0.03, 4000, 1e-3)
    optimizer = keras.optimizers.Adam(rate, use_ema=True, ema_momentum=0.998)
    losses = [tfpbnn.likelihoods.Normal(scale=SIGMA) for _ in layers]
    model.compile(optimizer, losses)
    model.fit(
        np.tile(x, (1000, 1)),
        [np.tile(y, 1000)] * len(layers),
        batch_size=10 * N,
        epochs=40,
        shuffle=False,
        verbose=0,
        # Of the data, not of its copies.
        callbacks=[tfpbnn.callbacks.KLWeight(N)],
    )
    return dict(zip(ESTIMATORS, layers, strict=True))


def alone(layer):
    """A model of one of the layers, with the weight of the KL that it has."""
    model = tfpbnn.Sequential([keras.Input((D,)), layer])
    model.compile(loss=tfpbnn.likelihoods.Normal(scale=SIGMA))
    return model


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_fit_reaches_the_mean_field_optimum(cls, fitted, data, exact):
    mean, precision, _ = exact
    layer = fitted[cls]
    sd = 1 / np.sqrt(np.diag(precision))
    loc = layer.kernel_posterior.loc.numpy()[:, 0]
    scale = layer.kernel_posterior.scale.numpy()[:, 0]
    assert np.max(np.abs(loc - mean) / sd) < 0.1
    np.testing.assert_allclose(scale, sd, rtol=0.05)
    # Not the marginals of the posterior, which are wider.
    wide = np.sqrt(np.diag(np.linalg.inv(precision)))
    assert scale[0] < 0.9 * wide[0]
    assert_bound(alone(layer), layer, data, exact)


def assert_bound(model, layer, data, exact):
    """The ELBO is below the evidence by KL(q || posterior), in closed form."""
    x, y = data
    mean, precision, evidence = exact
    loc = layer.kernel_posterior.loc.numpy()[:, 0].astype("float64")
    scale = layer.kernel_posterior.scale.numpy()[:, 0].astype("float64")
    residual = y - x @ loc
    expected = -0.5 * N * np.log(2 * np.pi * SIGMA**2) - (
        residual @ residual + np.sum(x**2 @ scale**2)
    ) / (2 * SIGMA**2)
    kl = float(total_kl(kl_terms(model)))
    elbo = expected - kl
    gap = 0.5 * (
        np.sum(scale**2 * np.diag(precision))
        + (loc - mean) @ precision @ (loc - mean)
        - D
        - np.linalg.slogdet(precision)[1]
        - 2 * np.sum(np.log(scale))
    )
    assert elbo < evidence
    np.testing.assert_allclose(evidence - elbo, gap, atol=1e-3)

    # The Keras loss is minus the ELBO per example, up to its own draws.
    losses = [model.evaluate(x, y, batch_size=N, verbose=0) for _ in range(60)]
    error = np.mean(losses) + elbo / N
    assert abs(error) < 5.5 * np.std(losses) / np.sqrt(60)  # 9e-7


def test_prediction_has_the_closed_form_moments(data):
    """Of a known mean-field posterior: every part of the variance."""
    x, _ = data
    layer = tfpbnn.layers.DenseFlipout(1, use_bias=False)
    model = alone(layer)
    raw = np.log(np.expm1([[0.1], [0.2], [0.3]]))
    layer.kernel_posterior.untransformed_scale.assign(raw)
    p = tfpbnn.predict(model, x, num_samples=20_000, seed=1)
    scale = layer.kernel_posterior.scale.numpy()[:, 0]
    variance = x**2 @ scale**2
    # 20,000 draws, 60 rows: six standard errors of a variance, sqrt(2 / S).
    np.testing.assert_allclose(
        p.epistemic_variance[:, 0], variance, rtol=6 * np.sqrt(2 / 20_000)
    )
    np.testing.assert_allclose(p.aleatoric_variance, SIGMA**2, rtol=1e-6)
    low, high = p.interval(0.9)
    half = stats.norm.ppf(0.95) * np.sqrt(variance + SIGMA**2)
    np.testing.assert_allclose((high - low)[:, 0] / 2, half, rtol=0.05)
