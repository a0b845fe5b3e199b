"""Moments and correlations of every estimator, against closed forms."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.statistics import assert_correlation, assert_moments
from tfpbnn import families, fused, random
from tfpbnn.layers.linear import estimators, ops

ESTIMATORS = {
    estimate.__name__: estimators.in_training(estimate)
    for estimate in (
        estimators.reparameterization,
        estimators.local_reparameterization,
        estimators.flipout,
    )
}
DRAWS = 20_000


def make_posterior(shape, seed=0):
    family = families.MeanFieldNormal(
        loc_initializer=keras.initializers.RandomNormal(stddev=1.0, seed=seed),
        untransformed_scale_initializer=keras.initializers.RandomUniform(
            -2.0, 1.0, seed=seed
        ),
    )
    family.build(shape)
    return family


def draw_many(name, op, x, posterior, draws=DRAWS, use_fused=False):
    estimate = ESTIMATORS[name]

    @tf.function(autograph=False)
    def run():
        with fused.enabled(use_fused):
            return tf.map_fn(
                lambda i: estimate(
                    op, x, posterior, random.fold(random.as_key(42), i)
                ),
                tf.range(draws),
                fn_output_signature=x.dtype,
            )

    return run().numpy()


def inputs(shape, dtype="float32"):
    values = np.random.default_rng(3).normal(size=shape)
    return tf.constant(values.astype(dtype))


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((3, 4), "float32"), ((3, 2, 4), "float64"), ((2, 2, 2, 4), "float32")],
)
def test_dense_moments(name, shape, dtype):
    x, posterior = inputs(shape, dtype), make_posterior((4, 5))
    draws = draw_many(name, ops.dense(), x, posterior)
    loc, scale = posterior.loc.numpy(), posterior.scale.numpy()
    mean = x.numpy() @ loc
    sd = np.sqrt(x.numpy() ** 2 @ scale**2)
    assert_moments(draws, mean, sd)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_fused_moments(name):
    x, posterior = inputs((2, 150)), make_posterior((150, 300))
    draws = draw_many(name, ops.dense(), x, posterior, 1500, True)
    loc, scale = posterior.loc.numpy(), posterior.scale.numpy()
    sd = np.sqrt(x.numpy() ** 2 @ scale**2)
    # Standardized over the outputs too: 1500 x 600 draws see 2 %.
    noise = (draws - x.numpy() @ loc) / sd
    assert_moments(noise.reshape(-1, 1), 0.0, 1.0, detects=0.02)
    if name != "reparameterization":
        assert_correlation(noise[:, 0], noise[:, 1], 0.0)


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("shape", [(3, 5), (3, 2, 5)])
def test_bias_moments(name, shape):
    x, posterior = inputs(shape), make_posterior((5,))
    draws = draw_many(name, ops.bias(), x, posterior)
    mean = np.broadcast_to(posterior.loc.numpy(), shape)
    sd = np.broadcast_to(posterior.scale.numpy(), shape)
    assert_moments(draws, mean, sd)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("reparameterization", 1.0),
        ("local_reparameterization", 0.0),
        ("flipout", 0.0),
    ],
)
@pytest.mark.parametrize("op", ["dense", "bias"])
def test_correlation_between_equal_examples(name, expected, op):
    shape = (4, 5) if op == "dense" else (5,)
    x = tf.repeat(inputs((1, 4 if op == "dense" else 5)), 2, axis=0)
    operation = getattr(ops, op)()
    draws = draw_many(name, operation, x, make_posterior(shape), 20_000)
    for unit in range(5):
        assert_correlation(draws[:, 0, unit], draws[:, 1, unit], expected)


@pytest.mark.parametrize(
    ("name", "shares"),
    [
        ("reparameterization", True),
        ("local_reparameterization", False),
        ("flipout", True),
    ],
)
def test_correlation_between_positions(name, shares):
    """Positions of an example meet one kernel, but for local noise."""
    x, posterior = inputs((1, 2, 4)), make_posterior((4, 5))
    draws = draw_many(name, ops.dense(), x, posterior, 20_000)
    variance = posterior.scale.numpy() ** 2
    a, b = x.numpy()[0]
    covariance = (a * b) @ variance
    expected = covariance / np.sqrt((a**2 @ variance) * (b**2 @ variance))
    for unit in range(5):
        assert_correlation(
            draws[:, 0, 0, unit],
            draws[:, 0, 1, unit],
            expected[unit] if shares else 0.0,
        )


@pytest.mark.parametrize("name", ESTIMATORS)
def test_units_are_uncorrelated(name):
    x, posterior = inputs((1, 4)), make_posterior((4, 5))
    draws = draw_many(name, ops.dense(), x, posterior, 20_000)
    assert_correlation(draws[:, 0, 0], draws[:, 0, 1], 0.0)


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("use_fused", [False, True])
def test_gradients_are_finite_on_zero_rows(name, use_fused):
    posterior = make_posterior((150, 120) if use_fused else (4, 5))
    x = tf.zeros([2, posterior.loc.shape[0]])
    with fused.enabled(use_fused), tf.GradientTape() as tape:
        tape.watch(x)
        y = ESTIMATORS[name](ops.dense(), x, posterior, random.as_key(0))
    variables = [v.value for v in posterior.trainable_variables]
    for gradient in tape.gradient(y, [x, *variables]):
        assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_pathwise_gradient_is_that_of_the_expectation(name):
    """E[y^2] = (x loc)^2 + x^2 scale^2 has known derivatives."""
    x, posterior = inputs((1, 3)), make_posterior((3, 2))
    estimate, op = ESTIMATORS[name], ops.dense()
    variables = [v.value for v in posterior.trainable_variables]

    @tf.function(autograph=False)
    def run():
        def one(i):
            with tf.GradientTape() as tape:
                key = random.fold(random.as_key(8), i)
                loss = tf.reduce_sum(estimate(op, x, posterior, key) ** 2)
            return tape.gradient(loss, variables)

        return tf.map_fn(
            one, tf.range(DRAWS), fn_output_signature=[tf.float32] * 2
        )

    d_loc, d_raw = (g.numpy().astype("float64") for g in run())
    loc, scale = posterior.loc.numpy(), posterior.scale.numpy()
    slope = 1 - np.exp(-scale)  # of softplus, in terms of its value
    for found, expected in (
        (d_loc, 2 * x.numpy().T @ (x.numpy() @ loc)),
        (d_raw, 2 * x.numpy().T ** 2 * scale * slope),
    ):
        error = found.mean(0) - expected
        z = error / (found.std(0, ddof=1) / np.sqrt(DRAWS))
        assert np.max(np.abs(z)) < 5.5  # 12 comparisons at about 4e-8 each


@pytest.mark.parametrize("name", ["local_reparameterization", "flipout"])
def test_a_point_has_no_noise(name):
    family = families.PointEstimate()
    family.build((4, 5))
    x = inputs((3, 4))
    y = ESTIMATORS[name](ops.dense(), x, family, random.as_key(0))
    np.testing.assert_allclose(y, x.numpy() @ family.loc.numpy(), rtol=1e-5)


def test_families_that_an_estimator_does_not_hold_for():
    class Odd(families.PointEstimate):
        independent_normal = False
        sign_symmetric = False

    for estimator in (estimators.LOCAL_REPARAMETERIZATION, estimators.FLIPOUT):
        words = f"{estimator.name}.*kernel_posterior=Odd"
        with pytest.raises(ValueError, match=words):
            estimator.check(Odd(), "kernel_posterior")
    estimators.REPARAMETERIZATION.check(Odd(), "kernel_posterior")
