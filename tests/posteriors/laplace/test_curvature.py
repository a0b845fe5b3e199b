"""The curvature equals that of tapes, whatever layers a network has."""

import functools

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import tfpbnn
from tests.posteriors.laplace import brought
from tfpbnn import likelihoods
from tfpbnn.likelihoods.recalibration import Recalibration
from tfpbnn.posteriors.laplace import hessians, predictive

laplace = functools.partial(tfpbnn.laplace, subset="all", prior_precision=1.0)


def expected_fisher(likelihood, outputs, y_values):
    """The mean square of the score over targets, of one place."""
    targets, probabilities = zip(*y_values, strict=True)
    every = tf.constant(np.tile(outputs, (len(targets), 1)))
    with tf.GradientTape() as tape:
        tape.watch(every)
        found = likelihood.log_prob(tf.constant(np.array(targets)), every)
    scores = tape.gradient(found, every).numpy()
    return np.einsum("np,nq,n->pq", scores, scores, probabilities)


def labels(probabilities):
    return [(k, p) for k, p in enumerate(np.asarray(probabilities))]


def quantiles(likelihood, outputs):
    """Targets at the middles of 4,000 shares of equal probability."""
    p = (np.arange(4000) + 0.5) / 4000
    made = likelihood.marginals(tf.constant(outputs, tf.float64)[None])
    # Inverse of the distribution function, of one that is symmetric.
    if isinstance(likelihood, likelihoods.StudentT):
        standard = scipy.stats.t(likelihood.df).ppf(p)
        found = made.loc.numpy() + made.scale.numpy() * standard[:, None, None]
    else:
        found = made.quantile(p[:, None, None]).numpy()
    return [(y, 1 / 4000) for y in found.reshape(-1, 1)]


class Mixed(Recalibration):
    """Mixes up logits, as matrix scaling does."""

    def check(self, likelihood):
        pass

    def _logits(self, logits):
        size = logits.shape[-1]
        matrix = np.eye(size) * 1.5 + 0.3 * np.arange(size)
        return tf.linalg.matvec(tf.constant(matrix, logits.dtype), logits) + 0.2

    def get_config(self):
        return {}


def calibrated_labels(likelihood, outputs):
    outputs = tf.constant([outputs], tf.float64)
    marginals = likelihood.marginals(outputs)
    if isinstance(likelihood, likelihoods.Categorical):
        return labels(marginals.probs_parameter()[0])
    yes = float(marginals.probs_parameter()[0, 0])
    return [([0.0], 1 - yes), ([1.0], yes)]


COUNTS = range(60)
CASES = {
    "normal": (likelihoods.Normal(), [0.3, 0.2], quantiles),
    "normal of known scale": (likelihoods.Normal(0.5), [0.3], quantiles),
    "normal in units": (
        likelihoods.Normal().adapt(np.array([10.0, 30.0])),
        [0.3, 0.2],
        quantiles,
    ),
    "laplace": (likelihoods.Laplace(), [0.3, 0.2], quantiles),
    "student": (likelihoods.StudentT(5.0), [0.3, 0.2], quantiles),
    "bernoulli": (
        likelihoods.Bernoulli(),
        [0.3],
        lambda *_: labels([1 - 1 / (1 + np.exp(-0.3)), 1 / (1 + np.exp(-0.3))]),
    ),
    "bernoulli of probabilities": (
        likelihoods.Bernoulli(from_logits=False),
        [0.3],
        lambda *_: labels([0.7, 0.3]),
    ),
    "categorical": (
        likelihoods.Categorical(),
        [0.3, -0.2, 1.0],
        lambda _, f: labels(np.exp(f) / np.exp(f).sum()),
    ),
    "categorical of probabilities": (
        likelihoods.Categorical(from_logits=False),
        [0.3, 0.2, 0.5],
        lambda _, f: labels(f),
    ),
    **{
        f"calibrated {type(likelihood).__name__}, {likelihood.from_logits}": (
            likelihood.recalibrated(Mixed()),
            outputs,
            calibrated_labels,
        )
        for likelihood, outputs in (
            (likelihoods.Categorical(), [0.3, -0.2, 1.0]),
            (likelihoods.Categorical(from_logits=False), [0.3, 0.2, 0.5]),
            (likelihoods.Bernoulli(), [0.3]),
            (likelihoods.Bernoulli(from_logits=False), [0.3]),
        )
    },
    "poisson": (
        likelihoods.Poisson(),
        [0.3],
        lambda *_: [
            ([float(k)], np.exp(-np.exp(0.3)) * np.exp(0.3 * k) / g)
            for k, g in zip(COUNTS, _factorials(), strict=True)
        ],
    ),
    "poisson of rates": (
        likelihoods.Poisson(from_log_rate=False),
        [1.3],
        lambda *_: [
            ([float(k)], np.exp(-1.3) * 1.3**k / g)
            for k, g in zip(COUNTS, _factorials(), strict=True)
        ],
    ),
}


def _factorials():
    return np.cumprod([1.0, *range(1, len(COUNTS))])


@pytest.mark.parametrize("name", sorted(CASES))
def test_fisher_is_the_mean_square_of_the_score(name):
    likelihood, outputs, targets = CASES[name]
    expected = expected_fisher(
        likelihood, outputs, targets(likelihood, outputs)
    )
    factor = hessians.fisher_factor(
        likelihood, tf.constant([outputs], tf.float64)
    )[0].numpy()
    np.testing.assert_allclose(
        factor @ factor.T, expected, rtol=0.01, atol=1e-5
    )


OBSERVED = {
    "mixture": (likelihoods.MixtureNormal(2), [0.1, 0.3, -1, 2, 0.5, 0.2]),
    "negative binomial": (likelihoods.NegativeBinomial(), [0.7, 0.4]),
    "student of learned df": (likelihoods.StudentT(None), [0.3, 0.2, 1.0]),
}


@pytest.mark.parametrize("name", sorted(OBSERVED))
def test_observed_curvature_is_that_of_second_derivatives(name):
    likelihood, outputs = OBSERVED[name]
    outputs = tf.constant([outputs] * 4, tf.float64)
    y = tf.constant([[0.0], [1.0], [2.0], [5.0]], tf.float64)
    with tf.GradientTape() as outer:
        outer.watch(outputs)
        with tf.GradientTape() as inner:
            inner.watch(outputs)
            value = -likelihood.log_prob(y, outputs)
        slope = inner.gradient(value, outputs)
    hessian = outer.batch_jacobian(slope, outputs).numpy()
    values, vectors = np.linalg.eigh(hessian)
    clipped = vectors * np.maximum(values, 0)[:, None]
    expected = clipped @ np.swapaxes(vectors, -1, -2)
    factor, share = hessians.observed_factor(likelihood, outputs, y)
    found = tf.linalg.matmul(factor, factor, transpose_b=True)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    largest = np.abs(values).max(-1)
    np.testing.assert_allclose(share, values[:, 0] / largest, rtol=1e-6)


@pytest.fixture(scope="module", params=brought.ALL, ids=lambda b: b.__name__)
def case(request):
    """A model, its data, the exact curvature `[D, D]`, and the slopes."""
    model, x, y = brought.made(request.param)
    outputs, slopes = brought.jacobians(model, x)
    factor = hessians.fisher_factor(model.loss, tf.constant(outputs)).numpy()
    if request.param is brought.masked:
        factor[x == 0] = 0
    columns = np.einsum("ntpd,ntpc->ntcd", slopes, factor)
    columns = columns.reshape((-1, columns.shape[-1]))
    return model, x, y, columns.T @ columns, slopes


def test_full_is_exact(case):
    model, x, y, exact, _ = case
    posterior = laplace(model, x, y, structure="full", batch_size=3)
    variances = np.concatenate([np.ravel(v) for v in posterior.variances()])
    expected = np.diag(np.linalg.inv(exact + np.eye(len(exact))))
    np.testing.assert_allclose(variances, expected, rtol=1e-3)
    np.testing.assert_allclose(
        posterior.eigenvalues, np.linalg.eigvalsh(exact), rtol=1e-3, atol=1e-4
    )


def test_diagonal_is_exact(case):
    model, x, y, exact, _ = case
    posterior = laplace(model, x, y, structure="diag", batch_size=3)
    np.testing.assert_allclose(
        posterior.eigenvalues, np.diag(exact), rtol=1e-3, atol=1e-5
    )


def test_linearized_is_first_order(case):
    model, x, _, _, slopes = case
    variables = model.trainable_variables
    rng = np.random.default_rng(0)
    noises = [rng.normal(size=v.shape).astype("float32") for v in variables]
    found = predictive.linearized(model, variables, noises, x)
    every = np.concatenate([np.ravel(noise) for noise in noises])
    expected = np.reshape(model(x), found.shape)
    expected = expected + np.reshape(slopes @ every, found.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("link", ["linearized", "sampling"])
def test_draws_have_the_variance_of_first_order(link):
    """At a precise prior either link is the linear map of the weights."""
    model, x, y = brought.made(brought.shared)
    posterior = laplace(
        model, x, y, structure="diag", prior_precision=1e6, link=link
    )
    variance = np.var(
        tfpbnn.predict(posterior, x, 400, seed=0, verbose=0).outputs, axis=0
    )
    _, slopes = brought.jacobians(model, x)
    every = np.concatenate([np.ravel(v) for v in posterior.variances()])
    exact = np.sum(slopes**2 * every, -1).reshape(variance.shape)
    # Of 400 draws: 6 standard deviations, 2e-9 in each element.
    np.testing.assert_allclose(variance, exact, rtol=6 * np.sqrt(2 / 400))


@pytest.mark.parametrize("hessian", ["ggn", "empirical_fisher"])
@pytest.mark.parametrize("structure", ["diag", "full", "kron"])
def test_weights_count_as_copies(structure, hessian):
    model, x, y = brought.made(brought.shared)
    weights = np.array([0, 1, 2, 3, 1])
    copies = np.repeat(np.arange(5), weights)
    how = {"structure": structure, "hessian": hessian}
    one = laplace(model, x, y, sample_weight=weights, **how)
    other = laplace(model, x[copies], y[copies], **how)
    np.testing.assert_allclose(
        one.eigenvalues, other.eigenvalues, rtol=1e-3, atol=1e-4
    )
    assert np.isclose(one.log_likelihood, other.log_likelihood, rtol=1e-5)


def test_kronecker_is_exact_for_one_row_of_one_layer():
    model, x, y = brought.made(brought.shared, rows=1)
    how = {"subset": f"{model.layers[-1].name}/kernel", "prior_precision": 1.0}
    kron = tfpbnn.laplace(model, x, y, structure="kron", **how)
    full = tfpbnn.laplace(model, x, y, structure="full", **how)
    np.testing.assert_allclose(
        np.sort(kron.eigenvalues), full.eigenvalues, rtol=1e-4, atol=1e-4
    )


def test_kronecker_is_exact_for_one_row_of_one_place():
    """Of each weight, whatever layer it is in."""
    model, x, y = brought.made(brought.one_place, rows=1)
    outputs, slopes = brought.jacobians(model, x)
    factor = hessians.fisher_factor(model.loss, tf.constant(outputs)).numpy()
    columns = np.einsum("ntpd,ntpc->cd", slopes, factor)
    posterior = laplace(model, x, y, structure="kron")
    assert posterior.by_row == ()
    sizes = [int(np.prod(v.shape)) for v in model.trainable_variables]
    parts = np.split(columns, np.cumsum(sizes)[:-1], axis=1)
    founds = np.split(posterior.eigenvalues, np.cumsum(sizes)[:-1])
    for variable, part, found in zip(
        model.trainable_variables, parts, founds, strict=True
    ):
        exact = np.linalg.eigvalsh(part.T @ part)
        np.testing.assert_allclose(
            np.sort(found), exact, rtol=1e-3, atol=1e-5, err_msg=variable.path
        )


def test_kronecker_of_a_lookup_counts_words():
    model, x, y = brought.made(brought.masked)
    kron = laplace(model, x, y, structure="kron", subset="embedding*")
    full = laplace(model, x, y, structure="full", subset="embedding*")
    assert np.isclose(kron.eigenvalues.sum(), full.eigenvalues.sum(), rtol=0.05)
