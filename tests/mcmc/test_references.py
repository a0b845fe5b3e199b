"""Posteriors that are known otherwise: by quadrature, or by other programs.

Means are compared in units of their own standard errors, as in `test_sample`:
with a limit of 5 these tests fail by chance once in 50,000 runs in all.
"""

import warnings

import keras
import numpy as np
import pytest
from scipy import stats

import tfpbnn
from tests.mcmc.test_sample import assert_mean
from tfpbnn.diagnostics import convergence

EFFECTS = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERRORS = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def sample(model, x, y, **kwargs):
    arguments = {
        "num_chains": 2,
        "num_warmup": 500,
        "num_samples": 1500,
        "seed": 4,
        "verbose": 0,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of chains that are too short
        return tfpbnn.mcmc.sample(model, x, y, **(arguments | kwargs))


def eight_schools():
    """Moments of mu, log(tau) and the schools, by quadrature over tau.

    Given tau all else is Normal. Its half-Cauchy is that of the standard
    model: mu ~ Normal(0, 5), tau ~ half-Cauchy(5).
    """
    log_tau = np.linspace(np.log(1e-4), np.log(500.0), 4001)
    tau = np.exp(log_tau)[:, None]
    total = tau**2 + ERRORS**2
    precision = 1 / 25 + (1 / total).sum(1)
    mu = (EFFECTS / total).sum(1) / precision
    # log p(y | tau), with mu integrated out.
    log_weight = (
        -0.5 * np.log(total).sum(1)
        - 0.5 * (EFFECTS**2 / total).sum(1)
        + 0.5 * mu**2 * precision
        - 0.5 * np.log(precision)
        + stats.halfcauchy.logpdf(tau[:, 0], scale=5.0)
        + log_tau
    )
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    shrunk = tau**2 / total
    theta = shrunk * EFFECTS + (1 - shrunk) * mu[:, None]
    variance = shrunk * ERRORS**2 + (1 - shrunk) ** 2 / precision[:, None]
    return {
        "mu": weight @ mu,
        "mu^2": weight @ (mu**2 + 1 / precision),
        "log tau": weight @ log_tau,
        "theta": weight @ theta,
        "theta^2": weight @ (theta**2 + variance),
        "tau": weight @ tau[:, 0],
    }


def schools():
    """Mean and raw scale of each school; the errors are known inputs."""
    school = keras.Input((1,), dtype="int32", name="school")
    one = keras.Input((1,), name="one")
    raw = keras.Input((1,), name="raw")
    mean = keras.layers.Dense(1, use_bias=False, name="mean")(one)
    level = keras.layers.Embedding(8, 1, name="level")(school)
    loc = mean + keras.layers.Flatten()(level)
    return keras.Model(
        {"school": school, "one": one, "raw": raw},
        keras.layers.Concatenate()([loc, raw]),
    )


def test_eight_schools():
    exact = eight_schools()
    # The literature's: mu 4.4, tau 3.6 (Stan's and PyMC's documentation).
    assert abs(exact["mu"] - 4.4) < 0.1
    assert abs(exact["tau"] - 3.6) < 0.1
    raw = np.log(np.expm1(ERRORS))[:, None]
    x = {"school": np.arange(8)[:, None], "one": np.ones((8, 1)), "raw": raw}
    posterior = sample(
        schools(),
        x,
        EFFECTS[:, None],
        likelihood=tfpbnn.likelihoods.Normal(),
        prior={
            "mean": tfpbnn.priors.Normal(scale=5.0),
            "level": tfpbnn.priors.HierarchicalNormal(
                tfpbnn.priors.HalfCauchy(5.0)
            ),
        },
        target_accept=0.9,
        num_samples=3000,
    )
    mu = posterior.draws["mean/kernel"][..., 0, 0]
    (tau,) = posterior.scales.values()
    theta = posterior.predictions(x)[..., 0]
    np.testing.assert_allclose(
        theta - mu[..., None],
        posterior.draws["level/embeddings"][..., 0],
        atol=1e-4,
    )
    assert_mean(mu, exact["mu"])
    assert_mean(mu**2, exact["mu^2"])
    assert_mean(np.log(tau), exact["log tau"])
    assert_mean(theta, exact["theta"])
    assert_mean(theta**2, exact["theta^2"])
    assert convergence.ess(theta).min() > 1000
    assert posterior.statistics["is_divergent"].mean() < 0.01


@pytest.fixture(scope="module")
def linear():
    """Data of which the exact posterior has independent weights."""
    x = np.tile([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], (5, 1))
    noise = np.random.default_rng(0).normal(size=20)
    return x, (x @ [1.0, -0.5] + 0.3 + 0.5 * noise)[:, None]


def exact_linear(x, y, scale=1.0):
    """Means and variance of all weights, with Normal(0, scale) priors."""
    precision = 20 / 0.25 + scale**-2
    design = np.c_[x, np.ones(20)]
    return design.T @ y[:, 0] / 0.25 / precision, 1 / precision


def test_float64(linear):
    x, y = linear
    layer = keras.layers.Dense(1, dtype="float64")
    model = keras.Sequential([keras.Input((2,), dtype="float64"), layer])
    posterior = sample(
        model, x, y, likelihood=tfpbnn.likelihoods.Normal(scale=0.5)
    )
    mean, variance = exact_linear(x, y)
    kernel, bias = posterior.draws.values()
    weights = np.concatenate([kernel[..., 0], bias], -1)
    assert weights.dtype == posterior.statistics["log_prob"].dtype == "float64"
    assert_mean(weights, mean)
    assert_mean((weights - mean) ** 2, variance)
    # The density of each draw, to float64's digits.
    log_prob = stats.norm.logpdf(weights).sum(-1)
    design = np.c_[x, np.ones(20)]
    log_prob += stats.norm.logpdf(y[:, 0], weights @ design.T, 0.5).sum(-1)
    np.testing.assert_allclose(
        posterior.statistics["log_prob"], log_prob, rtol=1e-12
    )


def exact_noise(x, y):
    """The evidence of noise, with Normal(0, 0.5) priors of all weights.

    Returns:
        a grid of log scales, and the log-evidences there.
    """
    log_scale = np.linspace(-2, 1, 601)
    design = np.c_[x, np.ones(len(x))]
    prior = 0.25 * design @ design.T
    evidence = [
        stats.multivariate_normal.logpdf(
            y[:, 0], cov=prior + np.exp(2 * s) * np.eye(len(x))
        )
        for s in log_scale
    ]
    return log_scale, np.array(evidence)


def test_variational_inference_agrees_where_noise_is_learned():
    """Its noise has the most evidence, and chains draw theirs."""
    x = np.tile([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], (20, 1))
    noise = np.random.default_rng(2).normal(size=80)
    y = (x @ [1.0, -0.5] + 0.3 + 0.5 * noise)[:, None]
    wide = tfpbnn.priors.Normal(scale=0.5)
    layer = tfpbnn.layers.DenseFlipout(
        1,
        kernel_prior=wide,
        bias_prior=wide,
        bias_posterior="mean_field_normal",
    )
    head = tfpbnn.layers.HomoscedasticScale(1.0, name="noise")
    model = tfpbnn.Sequential([keras.Input((2,)), layer, head])
    rate = keras.optimizers.schedules.CosineDecay(0.1, 150)
    optimizer = keras.optimizers.Adam(rate)
    model.compile(optimizer, loss=tfpbnn.likelihoods.Normal())
    model.fit(x, y, batch_size=80, epochs=150, verbose=0)
    chains = sample(model, x, y, init="vi", num_warmup=200)
    log_scale, evidence = exact_noise(x, y)
    weight = stats.halfcauchy.logpdf(np.exp(log_scale)) + log_scale + evidence
    weight = np.exp(weight - weight.max())
    weight /= weight.sum()
    (drawn,) = chains.scales.values()
    assert_mean(np.log(drawn), weight @ log_scale)
    assert_mean(np.log(drawn) ** 2, weight @ log_scale**2)
    p, q = (
        tfpbnn.predict(m, x[:4], 3000, draws="coherent", seed=0)
        for m in (model, chains)
    )
    best = np.exp(log_scale[evidence.argmax()])
    np.testing.assert_allclose(p.aleatoric_variance**0.5, best, rtol=0.03)
    np.testing.assert_allclose(p.mean, q.mean, atol=0.02)
    # Chains know that the noise may be another, of which it is a bit wider.
    np.testing.assert_allclose(p.stddev, q.stddev, rtol=0.05)
    for one in (p, q):
        np.testing.assert_allclose(
            one.epistemic_variance, 3 * best**2 / 80, rtol=0.15
        )
