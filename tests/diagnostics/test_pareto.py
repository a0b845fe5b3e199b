"""Importance weights against linear regression, where all is in closed form."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

import tfpbnn
from tfpbnn import diagnostics, families, layers, priors

RNG = np.random.default_rng(0)
ROWS, SIZE, NOISE, SCALE = 60, 3, 0.5, 2.0
X = RNG.normal(size=(ROWS, SIZE)).astype("float32")
Y = (X @ [1.0, -0.5, 0.3] + NOISE * RNG.normal(size=ROWS)).astype("float32")
PRECISION = X.T @ X / NOISE**2 + np.eye(SIZE) / SCALE**2
COVARIANCE = np.linalg.inv(PRECISION)
MEAN = COVARIANCE @ (X.T @ Y) / NOISE**2


def model(posterior, prior=None, learned_noise=False):
    made = keras.Sequential(
        [
            keras.Input((SIZE,)),
            layers.DenseReparameterization(
                1,
                use_bias=False,
                kernel_posterior=posterior,
                kernel_prior=prior or priors.Normal(scale=SCALE),
            ),
        ]
    )
    scale = NOISE
    if learned_noise:
        made.add(layers.HomoscedasticScale(NOISE))
        scale = None
    made.compile(loss=tfpbnn.likelihoods.Normal(scale=scale))
    made.layers[0].kernel_posterior.loc.assign(MEAN[:, None])
    return made


def mean_field(width):
    made = model("mean_field_normal")
    sd = width / np.sqrt(np.diag(PRECISION))
    raw = np.log(np.expm1(sd))[:, None]
    made.layers[0].kernel_posterior.untransformed_scale.assign(raw)
    return made


class Exact(families.Family):
    """The posterior in closed form, as a user's own family."""

    is_normal = True

    def build(self, shape, loc=None):
        self._loc = self.add_parameter("loc", shape, "zeros")

    @property
    def loc(self):
        return self._loc

    def sample(self, key=None):
        z = tfpbnn.random.normal(key, (SIZE,), "float32")
        root = tf.constant(np.linalg.cholesky(COVARIANCE), tf.float32)
        return self.loc + tf.linalg.matvec(root, z)[:, None]

    def distribution(self):
        from tensorflow_probability import bijectors, distributions

        root = tf.constant(np.linalg.cholesky(COVARIANCE), tf.float32)
        normal = distributions.MultivariateNormalTriL(self.loc[:, 0], root)
        return distributions.TransformedDistribution(
            normal, bijectors.Reshape((SIZE, 1), (SIZE,))
        )

    def variance(self):
        return tf.constant(np.diag(COVARIANCE)[:, None], tf.float32)


@pytest.mark.parametrize("learned_noise", [False, True])
def test_the_exact_posterior_has_one_weight_the_evidence(learned_noise):
    """Also where the noise is a learned point, which is taken as given."""
    made = model(Exact(), learned_noise=learned_noise)
    found = diagnostics.pareto_k(made, X, Y, num_samples=200, seed=0)
    covariance = SCALE**2 * X @ X.T + NOISE**2 * np.eye(ROWS)
    evidence = stats.multivariate_normal(np.zeros(ROWS), covariance).logpdf(Y)
    np.testing.assert_allclose(found.log_weights, evidence, atol=2e-3)


@pytest.mark.parametrize(
    ("width", "low", "high"), [(1, -1, 0.4), (0.1, 0.7, 2)]
)
def test_a_posterior_that_is_too_narrow_is_found(width, low, high):
    found = diagnostics.pareto_k(
        mean_field(width), X, Y, num_samples=2000, seed=1
    )
    assert low < found.k < high, found
    assert ("good" in repr(found)) == (width == 1)
    again = diagnostics.pareto_k(
        mean_field(width), X, Y, num_samples=2000, seed=1
    )
    assert again.k == found.k


def test_two_layers_points_and_weights_of_rows():
    """The log-weights of a network, computed in NumPy for its own draws."""
    made = keras.Sequential(
        [
            keras.Input((SIZE,)),
            layers.DenseReparameterization(2, activation="tanh"),
            layers.DenseReparameterization(2, kernel_prior="laplace"),
        ]
    )
    made.compile(loss=tfpbnn.likelihoods.Normal())
    weights = RNG.integers(0, 3, ROWS)
    found = diagnostics.pareto_k(
        made, X, Y, sample_weight=weights, num_samples=100, seed=0
    )
    repeated = diagnostics.pareto_k(
        made,
        np.repeat(X, weights, 0),
        np.repeat(Y, weights),
        num_samples=100,
        seed=0,
    )
    assert np.std(found.log_weights) > 1
    np.testing.assert_allclose(
        found.log_weights, repeated.log_weights, rtol=1e-4
    )


@pytest.mark.parametrize(
    ("match", "posterior", "prior"),
    [
        ("posteriors with a density", families.DropConnect(0.5), None),
        ("whose scales are learned", "mean_field_normal", "horseshoe"),
    ],
    ids=["atoms", "learned scales"],
)
def test_what_has_no_density(match, posterior, prior):
    with pytest.raises(ValueError, match=match):
        diagnostics.pareto_k(model(posterior, prior), X, Y)


def test_bad_input():
    plain = keras.Sequential([keras.Input((SIZE,)), keras.layers.Dense(2)])
    with pytest.raises(TypeError, match="must be a variational Keras model"):
        diagnostics.pareto_k(plain, X, Y)
    with pytest.raises(ValueError, match="num_samples"):
        diagnostics.pareto_k(mean_field(1), X, Y, num_samples=10)
    without = keras.Sequential(
        [
            keras.Input((SIZE,)),
            layers.DenseReparameterization(2),
            layers.DenseReparameterization(2, kernel_prior=None),
        ]
    )
    without.compile(loss=tfpbnn.likelihoods.Normal())
    with pytest.raises(ValueError, match="must have a prior for each"):
        diagnostics.pareto_k(without, X, Y)
