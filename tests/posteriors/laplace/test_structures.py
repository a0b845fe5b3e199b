"""Structures of several passes, and priors of each layer."""

import keras
import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

import tfpbnn
from tests import fresh
from tests.posteriors.laplace import brought
from tfpbnn import random
from tfpbnn.posteriors.laplace import hessians


def flat(parts):
    return np.concatenate([np.ravel(part) for part in parts])


class Case:
    """A model, its data, and the exact slopes of the log-likelihood's square.

    Attributes:
        columns: F^T, of which F F^T `[D, D]` is the curvature.
    """

    def __init__(self, build):
        self.model, self.x, self.y = brought.made(build)
        outputs, self.slopes = brought.jacobians(self.model, self.x)
        loss = self.model.loss
        factor = hessians.fisher_factor(loss, tf.constant(outputs)).numpy()
        columns = np.einsum("ntpd,ntpc->ntcd", self.slopes, factor)
        self.columns = columns.reshape((-1, columns.shape[-1]))
        self.weights = self.model.trainable_variables
        self.sizes = [int(np.prod(v.shape)) for v in self.weights]

    def laplace(self, structure, **how):
        how = {"prior_precision": 1.0, "batch_size": 3} | how
        return tfpbnn.laplace(
            self.model, self.x, self.y, "all", structure, **how
        )

    def evidence(self, precisions, elements=slice(None), log_likelihood=0.0):
        """The log evidence for precisions of the weights, `[W]`."""
        every = np.repeat(precisions, self.sizes)[elements]
        means = flat(self.weights)[elements]
        own = self.columns[:, elements]
        _, determinant = np.linalg.slogdet(
            own.T @ own / every + np.eye(len(every))
        )
        return log_likelihood - 0.5 * (determinant + every @ means**2)

    def covariance(self, precisions):
        every = np.repeat(precisions, self.sizes)
        return np.linalg.inv(self.columns.T @ self.columns + np.diag(every))


@pytest.fixture(scope="module")
def attention():
    """Lookups, convolutions, products, sums."""
    return Case(brought.attention)


@pytest.fixture(scope="module")
def shared():
    return Case(brought.shared)


@pytest.fixture(scope="module")
def low_rank(attention):
    return attention.laplace("low_rank")


def test_a_low_rank_that_is_enough_is_exact(attention, low_rank):
    exact = np.linalg.svd(attention.columns, compute_uv=False) ** 2
    kept = low_rank.eigenvalues[low_rank.eigenvalues > 1e-5]
    np.testing.assert_allclose(kept, exact[: len(kept)], rtol=1e-3)
    assert np.all(exact[len(kept) :] < 1e-4)
    weights = len(attention.sizes)
    covariance = attention.covariance(np.ones(weights))
    np.testing.assert_allclose(
        flat(low_rank.variances()), np.diag(covariance), rtol=1e-3
    )
    slopes = attention.slopes.reshape(
        (len(attention.x), -1, sum(attention.sizes))
    )
    expected = np.einsum("nmd,de,nke->nmk", slopes, covariance, slopes)
    found = low_rank.output_moments(attention.x)[1]
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-4)


def test_a_low_rank_has_the_largest_eigenvalues():
    """Of a spectrum that doesn't end, they are found by several passes."""
    rng = np.random.default_rng(0)
    spectrum = 30 * 0.9 ** np.arange(60)
    left = np.linalg.qr(rng.normal(size=(200, 60)))[0]
    x = (left * np.sqrt(spectrum)).astype("float32")
    x = x @ np.linalg.qr(rng.normal(size=(60, 60)))[0].astype("float32")
    model = keras.Sequential(
        [keras.Input((60,)), keras.layers.Dense(1, use_bias=False)]
    )
    model.compile("sgd", tfpbnn.likelihoods.Normal(1.0))
    posterior = tfpbnn.laplace(
        model, x, x[:, 0], structure="low_rank", rank=5, prior_precision=2.0
    )
    np.testing.assert_allclose(
        posterior.eigenvalues[:5], spectrum[:5], rtol=0.01
    )
    assert np.all(posterior.eigenvalues[5:] == 0)
    # The curvature that is left out only widens the posterior.
    exact = np.linalg.inv(x.T @ x + 2 * np.eye(60))
    wide = posterior.output_moments(x)[1][:, 0, 0]
    assert np.all(wide > 0.99 * np.einsum("nd,de,ne->n", x, exact, x))


def test_draws_have_the_variances(low_rank):
    low_rank.prior_precision = {"tokens": 0.5, "*": 2.0}

    @tf.function
    def drawn(number):
        key = random.fold(random.as_key(0), number)
        values = low_rank.drawn(number, key)
        return tf.concat([tf.reshape(v, [-1]) for v in values], 0)

    draws = [drawn(tf.constant(number)) for number in range(400)]
    ratio = np.var(draws, axis=0) / flat(low_rank.variances())
    # 201 variances of 400 draws, at 6 standard deviations: 4e-7.
    assert np.max(np.abs(ratio - 1)) < 6 * np.sqrt(2 / 400)
    # All at once, at 5: 6e-7.
    assert np.abs(np.mean(ratio) - 1) < 5 * np.sqrt(2 / 400 / 20)
    low_rank.prior_precision = 1.0


def test_a_subnetwork_is_of_the_least_curved_weights(shared):
    posterior = shared.laplace("subnetwork", rank=9)
    variances = flat(posterior.variances())
    squares = np.sum(shared.columns**2, axis=0)
    chosen = np.argsort(squares, kind="stable")[:9]
    assert set(np.flatnonzero(variances)) == set(chosen)
    own = shared.columns[:, chosen]
    exact = np.diag(np.linalg.inv(own.T @ own + np.eye(9)))
    np.testing.assert_allclose(variances[chosen], exact, rtol=1e-3)
    drawn = posterior.drawn(tf.constant(0), random.as_key(0))
    changes = flat(drawn) - flat(posterior.random_weights)
    assert set(np.flatnonzero(changes)) <= set(chosen)
    evidence = shared.evidence(np.ones(4), chosen, posterior.log_likelihood)
    assert np.isclose(posterior.log_marginal_likelihood(), evidence, rtol=1e-4)


def test_a_subnetwork_is_of_weights_that_outputs_depend_on():
    """Not of those of an input that is always 0, which vary as the prior."""
    x = np.random.default_rng(0).normal(size=(30, 4)).astype("float32")
    x[:, 1] = 0.0
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.compile("sgd", tfpbnn.likelihoods.Normal(scale=1.0))
    posterior = tfpbnn.laplace(
        model, x, x[:, :2], "all", "subnetwork", rank=3, prior_precision=1.0
    )
    kernel, bias = posterior.variances()
    assert np.count_nonzero(kernel) + np.count_nonzero(bias) == 3
    np.testing.assert_array_equal(kernel[1], 0.0)


@pytest.mark.parametrize("structure", ["full", "low_rank"])
def test_precisions_of_layers_have_the_largest_evidence(shared, structure):
    posterior = shared.laplace(structure, rank=None, prior_precision=3.0)
    by_layer = posterior.tune(by_layer=True)
    first, _, last, _ = by_layer.values()
    log_likelihood = posterior.log_likelihood

    def loss(logs):
        return -shared.evidence(np.repeat(np.exp(logs), 2))

    best = scipy.optimize.minimize(loss, [0.0, 0.0])
    np.testing.assert_allclose([first, last], np.exp(best.x), rtol=0.02)
    found = posterior.log_marginal_likelihood()
    assert np.isclose(found, log_likelihood - best.fun, atol=1e-3)
    # Others are computed without being set, from any that are.
    other = {"dense*/kernel": 0.5, "*": 2.0}
    expected = shared.evidence(
        [0.5, 2.0, 0.5, 2.0], log_likelihood=log_likelihood
    )
    assert np.isclose(
        posterior.log_marginal_likelihood(other), expected, atol=1e-3
    )
    assert posterior.prior_precision == by_layer
    posterior.prior_precision = other
    np.testing.assert_allclose(
        flat(posterior.variances()),
        np.diag(shared.covariance([0.5, 2.0, 0.5, 2.0])),
        rtol=1e-3,
    )


@pytest.mark.parametrize("structure", ["diag", "kron"])
def test_precisions_of_layers_by_themselves(shared, structure):
    posterior = shared.laplace(
        structure, prior_precision="marginal_likelihood_by_layer"
    )
    kernel, bias, *_ = by_layer = list(posterior.prior_precision.values())
    assert kernel == bias
    assert len(set(by_layer)) == 2
    best = posterior.log_marginal_likelihood()
    paths = list(posterior.prior_precision)
    for layer in (0, 2):
        for factor in (0.9, 1.1):
            near = dict(zip(paths, by_layer, strict=True))
            for path in paths[layer : layer + 2]:
                near[path] *= factor
            assert posterior.log_marginal_likelihood(near) < best


FRESH = """
import sys, keras, numpy, tfpbnn
posterior = keras.saving.load_model(sys.argv[1])
x = numpy.load(sys.argv[2])
expected = numpy.load(sys.argv[3])
found = tfpbnn.predict(posterior, x, 3, seed=0, verbose=0).outputs
numpy.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
assert len(set(posterior.prior_precision.values())) == 2
assert abs(posterior.log_marginal_likelihood() - float(sys.argv[4])) < 1e-4
"""


def test_a_fresh_process_loads_single_weights_and_ratios(shared, tmp_path):
    names = [v.path.split("/")[0] for v in shared.weights]
    posterior = shared.laplace(
        "subnetwork", rank=9, prior_precision={names[0]: 0.5, "*": 2.0}
    )
    paths = [str(tmp_path / n) for n in ("p.keras", "x.npy", "y.npy")]
    posterior.save(paths[0])
    np.save(paths[1], shared.x)
    found = tfpbnn.predict(posterior, shared.x, 3, seed=0, verbose=0)
    np.save(paths[2], found.outputs)
    fresh.run(FRESH, *paths, str(posterior.log_marginal_likelihood()))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"structure": "kron", "rank": 3}, "`rank` must be None unless"),
        ({"structure": "low_rank", "rank": 0}, "`rank` must be None \\(20\\)"),
        ({"prior_precision": {"head": 1.0}}, "none for .*dense"),
        ({"prior_precision": {"*": 1.0, "tail": 1.0}}, "'tail'.*match none"),
        ({"prior_precision": {"*": -1.0}}, "`prior_precision` must be a pos"),
    ],
    ids=["rank", "no rank", "missing", "unknown", "negative"],
)
def test_bad_input(shared, how, message):
    with pytest.raises(ValueError, match=message):
        shared.laplace(**({"structure": "diag"} | how))
