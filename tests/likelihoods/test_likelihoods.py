"""Likelihoods against scipy.stats, as losses and as distributions."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

from tests.statistics import assert_mean
from tfpbnn import likelihoods

NUM_TARGETS = 2


def scale_of(raw):
    return 1e-6 + np.logaddexp(0, raw)


def negative_binomial(log_mean, raw):
    """scipy's, of mean m and variance m + m^2 / r."""
    r = scale_of(raw)
    variance = np.exp(log_mean) + np.exp(2 * log_mean) / r
    return stats.nbinom(r, np.exp(log_mean) / variance)


def mixture_logpdf(y, *parameters):
    logits, locs, raws = np.reshape(parameters, [3, -1, *y.shape])
    parts = stats.norm.logpdf(y, locs, scale_of(raws))
    return special.logsumexp(special.log_softmax(logits, 0) + parts, axis=0)


def reals(rng, shape):
    return 3 * rng.standard_normal(shape)


def counts(rng, shape):
    return rng.integers(0, 9, shape)


def bits(rng, shape):
    return rng.integers(0, 2, shape)


# Name: constructor, log density of y and the parameters, targets, and what
# makes a parameter of a standard normal.
CASES = {
    "normal": (
        likelihoods.Normal,
        lambda y, m, r: stats.norm.logpdf(y, m, scale_of(r)),
        reals,
    ),
    "normal_of_known_scale": (
        lambda **kwargs: likelihoods.Normal(scale=0.3, **kwargs),
        lambda y, m: stats.norm.logpdf(y, m, 0.3),
        reals,
    ),
    "laplace": (
        likelihoods.Laplace,
        lambda y, m, r: stats.laplace.logpdf(y, m, scale_of(r)),
        reals,
    ),
    "laplace_of_known_scale": (
        lambda **kwargs: likelihoods.Laplace(scale=2, **kwargs),
        lambda y, m: stats.laplace.logpdf(y, m, 2),
        reals,
    ),
    "student_t": (
        lambda **kwargs: likelihoods.StudentT(df=3.5, **kwargs),
        lambda y, m, r: stats.t.logpdf(y, 3.5, m, scale_of(r)),
        reals,
    ),
    "student_t_learned_df": (
        lambda **kwargs: likelihoods.StudentT(df=None, **kwargs),
        lambda y, m, r, d: stats.t.logpdf(y, 2 + scale_of(d), m, scale_of(r)),
        reals,
    ),
    "student_t_of_known_scale": (
        lambda **kwargs: likelihoods.StudentT(df=None, scale=0.5, **kwargs),
        lambda y, m, d: stats.t.logpdf(y, 2 + scale_of(d), m, 0.5),
        reals,
    ),
    "mixture_normal": (
        lambda **kwargs: likelihoods.MixtureNormal(3, **kwargs),
        mixture_logpdf,
        reals,
    ),
    "poisson": (
        likelihoods.Poisson,
        lambda y, m: stats.poisson.logpmf(y, np.exp(m)),
        counts,
    ),
    "poisson_of_rate": (
        lambda **kwargs: likelihoods.Poisson(from_log_rate=False, **kwargs),
        stats.poisson.logpmf,
        counts,
        np.exp,
    ),
    "negative_binomial": (
        likelihoods.NegativeBinomial,
        lambda y, m, r: negative_binomial(m, r).logpmf(y),
        counts,
    ),
    "bernoulli": (
        likelihoods.Bernoulli,
        lambda y, m: stats.bernoulli.logpmf(y, special.expit(m)),
        bits,
    ),
    "bernoulli_of_probability": (
        lambda **kwargs: likelihoods.Bernoulli(from_logits=False, **kwargs),
        stats.bernoulli.logpmf,
        bits,
        special.expit,
    ),
}


def make_case(name, shape, **kwargs):
    """A likelihood, targets, outputs, and the NLL at each target."""
    make, log_pdf, targets, *link = CASES[name]
    likelihood = make(**kwargs)
    rng = np.random.default_rng(0)
    size = likelihood.params_size(NUM_TARGETS)
    outputs = rng.standard_normal((*shape, size)).astype(np.float32)
    for function in link:
        outputs = function(outputs)
    y = targets(rng, (*shape, NUM_TARGETS))
    parameters = np.split(outputs.astype(np.float64), size // NUM_TARGETS, -1)
    return likelihood, y, outputs, -log_pdf(y, *parameters)


@pytest.mark.parametrize("shape", [(6,), (4, 3)])
@pytest.mark.parametrize("name", CASES)
def test_nll_is_that_of_scipy_summed_over_the_example(name, shape):
    likelihood, y, outputs, nll = make_case(name, shape, reduction="none")
    expected = nll.reshape(shape[0], -1).sum(axis=1)
    found = likelihood(y, outputs)
    assert found.shape == (shape[0],)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_distribution_has_the_log_density_and_shapes(name):
    likelihood, y, outputs, nll = make_case(name, (5,))
    distribution = likelihood.distribution(outputs)
    assert distribution.batch_shape == (5,)
    assert distribution.event_shape == (NUM_TARGETS,)
    assert distribution.sample(7).shape == (7, 5, NUM_TARGETS)
    log_prob = distribution.log_prob(likelihood.align(y, tf.constant(outputs)))
    np.testing.assert_allclose(log_prob, -nll.sum(-1), rtol=1e-5, atol=1e-5)
    assert likelihood.event_size(outputs.shape[-1]) == NUM_TARGETS
    assert len(likelihood.parameters) == outputs.shape[-1] // NUM_TARGETS


@pytest.mark.parametrize(
    ("likelihood", "outputs", "reference"),
    [
        (likelihoods.Normal(), [1.0, 2.0], stats.norm(1, scale_of(2.0))),
        (likelihoods.Laplace(), [1.0, 2.0], stats.laplace(1, scale_of(2.0))),
        (
            likelihoods.StudentT(df=9.0),
            [1.0, 2.0],
            stats.t(9, 1, scale_of(2.0)),
        ),
        (likelihoods.Poisson(), [1.5], stats.poisson(np.exp(1.5))),
        (
            likelihoods.NegativeBinomial(),
            [1.5, 1.0],
            negative_binomial(1.5, 1.0),
        ),
        (likelihoods.Bernoulli(), [-1.0], stats.bernoulli(special.expit(-1.0))),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_samples_have_the_mean_and_variance(likelihood, outputs, reference):
    """False alarms 1e-6 per moment, as far as 40 000 draws make a normal."""
    distribution = likelihood.distribution(tf.constant([outputs]))
    draws = distribution.sample(40_000, seed=tf.constant([1, 2])).numpy()[:, 0]
    assert_mean(draws[:, 0], reference.mean())
    assert_mean((draws[:, 0] - reference.mean()) ** 2, reference.var())


def test_negative_binomial_has_the_stated_mean_and_variance():
    marginals = likelihoods.NegativeBinomial().marginals([[2.0, -1.0]])
    mean, r = np.exp(2.0), np.logaddexp(0, -1.0)
    np.testing.assert_allclose(marginals.mean(), [[mean]], rtol=1e-5)
    np.testing.assert_allclose(
        marginals.variance(), [[mean + mean**2 / r]], rtol=1e-5
    )


@pytest.mark.parametrize("shape", [(6,), (3, 4)])
@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("targets", ["labels", "column", "one_hot", "soft"])
def test_categorical_nll(shape, from_logits, targets):
    rng = np.random.default_rng(1)
    logits = rng.standard_normal((*shape, 5))
    labels = rng.integers(0, 5, shape)
    soft = rng.dirichlet(np.ones(5), shape)
    one_hot = np.eye(5)[labels]
    y = {
        "labels": labels,
        "column": labels[..., None],
        "one_hot": one_hot,
        "soft": soft,
    }[targets]
    weights = soft if targets == "soft" else one_hot
    nll = -np.sum(weights * special.log_softmax(logits, axis=-1), axis=-1)
    outputs = logits if from_logits else special.softmax(logits, axis=-1)
    loss = likelihoods.Categorical(from_logits=from_logits, reduction="none")
    np.testing.assert_allclose(
        loss(y, outputs), nll.reshape(shape[0], -1).sum(1), rtol=1e-5
    )


def test_categorical_distribution_is_over_labels():
    likelihood = likelihoods.Categorical()
    logits = np.log(np.full((4, 2), [0.2, 0.8]))
    distribution = likelihood.distribution(logits)
    assert distribution.batch_shape == (4,)
    assert distribution.event_shape == ()
    labels = distribution.sample(20_000, seed=tf.constant([3, 4])).numpy()
    assert_mean(labels[:, 0], 0.8)
    assert likelihood.params_size(7) == 7


@pytest.mark.parametrize(
    ("likelihood", "outputs", "y"),
    [
        (likelihoods.Bernoulli(), [[1000.0], [-1000.0]], [[1], [1]]),
        (likelihoods.Categorical(), [[1000.0, -1000.0]], [1]),
        (likelihoods.Normal(), [[0.0, -1000.0]], [[1e-6]]),
        (likelihoods.NegativeBinomial(), [[1.0, 60.0]], [[3]]),
        (likelihoods.NegativeBinomial(), [[1.0, -60.0]], [[3]]),
    ],
)
def test_extreme_outputs_have_finite_losses_and_gradients(
    likelihood, outputs, y
):
    outputs = tf.constant(outputs)
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        loss = likelihood(np.array(y), outputs)
    assert np.isfinite(loss)
    assert np.all(np.isfinite(tape.gradient(loss, outputs)))


@pytest.mark.parametrize("name", [*CASES, "categorical"])
def test_config_round_trip(name):
    if name == "categorical":
        likelihood = likelihoods.Categorical(from_logits=False)
    else:
        likelihood = CASES[name][0](reduction="sum", name="mine")
    config = keras.saving.serialize_keras_object(likelihood)
    copy = keras.saving.deserialize_keras_object(config)
    assert type(copy) is type(likelihood)
    assert copy.get_config() == likelihood.get_config()
    assert copy.parameters == likelihood.parameters
    if name != "categorical":
        _, y, outputs, nll = make_case(name, (5,))
        np.testing.assert_allclose(copy(y, outputs), nll.sum(), rtol=1e-5)


@pytest.mark.parametrize("outputs", [1, 3, 5])
def test_outputs_that_are_no_multiple_raise(outputs):
    with pytest.raises(ValueError, match="needs 2 outputs for each target"):
        likelihoods.Normal().event_size(outputs)
    with pytest.raises(ValueError, match="loc, raw scale"):
        likelihoods.Normal()(np.zeros((4, 1)), np.zeros((4, outputs)))


@pytest.mark.parametrize(
    ("likelihood", "y_shape", "outputs_shape"),
    [
        (likelihoods.Normal(), (4, 3), (4, 4)),
        (likelihoods.Normal(), (4,), (4, 4)),
        (likelihoods.Poisson(), (4, 1), (4, 2)),
        # A target for all positions is no target for each.
        (likelihoods.Normal(), (4, 1), (4, 3, 2)),
        (likelihoods.Normal(), (4, 1, 1), (4, 3, 2)),
        (likelihoods.Categorical(), (4, 3), (4, 5)),
        (likelihoods.Categorical(), (4, 1), (4, 3, 5)),
    ],
)
def test_targets_of_another_shape_raise(likelihood, y_shape, outputs_shape):
    with pytest.raises(ValueError, match="Received: targets of shape"):
        likelihood(np.zeros(y_shape), np.zeros(outputs_shape))


def test_categorical_needs_two_outputs():
    with pytest.raises(ValueError, match="use `Bernoulli`"):
        likelihoods.Categorical()(np.zeros((4,)), np.zeros((4, 1)))


@pytest.mark.parametrize("scale", [0, -1.0, np.inf, np.nan, "1"])
def test_bad_scales_raise(scale):
    for cls in (likelihoods.Normal, likelihoods.Laplace, likelihoods.StudentT):
        with pytest.raises(ValueError, match="`scale` must be None"):
            cls(scale=scale)


@pytest.mark.parametrize("df", [0, -1.0, np.inf, np.nan, "4"])
def test_bad_degrees_of_freedom_raise(df):
    with pytest.raises(ValueError, match="`df` must be None"):
        likelihoods.StudentT(df=df)


@pytest.mark.parametrize("num_components", [0, -1, 1.5, None])
def test_bad_numbers_of_components_raise(num_components):
    with pytest.raises(ValueError, match="must be a positive integer"):
        likelihoods.MixtureNormal(num_components)
