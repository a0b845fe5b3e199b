import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import integrate, stats

import tfpbnn
from tests.statistics import assert_mean
from tfpbnn import families, priors, random
from tfpbnn.layers.kl import _warned
from tfpbnn.priors.kl import (
    _kl_of_weights,
    kl_divergence,
    monte_carlo_kl,
)

KEY = random.as_key(0)


def build(family, prior, shape=(3, 4)):
    family.build(shape)
    prior.build(shape)
    return family, prior


def wide_normal():
    return families.MeanFieldNormal(
        loc_initializer=keras.initializers.RandomNormal(stddev=1.0, seed=1),
        untransformed_scale_initializer=keras.initializers.RandomUniform(
            -2.0, 1.0, seed=1
        ),
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_closed_form(dtype):
    family, prior = wide_normal(), priors.Normal(0.2, 0.7)
    family = family.copy(name="q", dtype=dtype)
    prior = prior.copy(name="p", dtype=dtype)
    build(family, prior)
    q, s = family.loc.numpy().astype("float64"), family.scale.numpy()
    expected = np.log(0.7 / s) + (s**2 + (q - 0.2) ** 2) / (2 * 0.7**2) - 0.5
    found = kl_divergence(family, prior, KEY)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, expected.sum(), rtol=1e-5)


def many_estimates(family, prior, count=2000):
    @tf.function(autograph=False)
    def run():
        return tf.map_fn(
            lambda i: monte_carlo_kl(family, prior, random.fold(KEY, i)),
            tf.range(count),
            fn_output_signature=tf.float32,
        )

    return run().numpy()


def test_monte_carlo_agrees_with_the_closed_form():
    family, prior = build(wide_normal(), priors.Normal(0.2, 0.7))
    exact = float(kl_divergence(family, prior, KEY))
    assert_mean(many_estimates(family, prior), exact)


def test_scale_mixture_agrees_with_quadrature():
    family, prior = build(wide_normal(), priors.ScaleMixture(0.25, 1.5, 0.2))
    exact = 0.0
    for m, s in zip(
        family.loc.numpy().ravel(), family.scale.numpy().ravel(), strict=True
    ):

        def integrand(w, m=m, s=s):
            mixture = 0.25 * stats.norm.pdf(w, 0, 1.5) + 0.75 * stats.norm.pdf(
                w, 0, 0.2
            )
            log_q = stats.norm.logpdf(w, m, s)
            return np.exp(log_q) * (log_q - np.log(mixture))

        exact += integrate.quad(integrand, m - 9 * s, m + 9 * s, limit=200)[0]
    assert_mean(many_estimates(family, prior), exact)
    single = kl_divergence(family, prior, KEY)
    np.testing.assert_allclose(single, monte_carlo_kl(family, prior, KEY))


def test_a_family_without_entropy():
    class Opaque(families.MeanFieldNormal):
        def distribution(self):
            q = super().distribution()

            def no_entropy():
                raise NotImplementedError

            q.entropy = no_entropy
            return q

    family = Opaque(
        **{"untransformed_scale_initializer": keras.initializers.Constant(-1.0)}
    )
    family, prior = build(family, priors.Normal(0.0, 0.5))
    plain = kl_divergence(family, prior, KEY)
    assert_mean(many_estimates(family, prior), float(plain))


def test_a_point_pays_the_prior_density():
    family, prior = build(families.PointEstimate(), priors.Normal(0.1, 0.5))
    expected = -stats.norm.logpdf(family.loc.numpy(), 0.1, 0.5).sum()
    found = kl_divergence(family, prior, KEY)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_learnable_prior_finds_its_optimum():
    """The best common scale is the root mean square of the weights."""
    family, prior = build(
        wide_normal(), priors.Normal(0.0, 3.0, learnable_scale=True), (200, 200)
    )
    variable = prior.untransformed_scale
    optimizer = keras.optimizers.Adam(0.1)
    for _ in range(200):
        with tf.GradientTape() as tape:
            kl = kl_divergence(family, prior, KEY)
        gradient = tape.gradient(kl, [variable.value])
        optimizer.apply(gradient, [variable])
    loc, scale = family.loc.numpy(), family.scale.numpy()
    best = np.sqrt(np.mean(loc**2 + scale**2))
    np.testing.assert_allclose(prior.scale, best, rtol=1e-3)


def fit(layers, **kwargs):
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile("sgd", "mse", **kwargs)
    x, y = np.ones((8, 3)), np.ones((8, 1))
    model.fit(x, y, verbose=0)
    model.fit(x, y, verbose=0)
    return model


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_unset_weight_warns_once(run_eagerly):
    _warned.clear()
    layers = [
        tfpbnn.layers.DenseFlipout(4),
        tfpbnn.layers.DenseReparameterization(1, kernel_prior="scale_mixture"),
    ]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(layers, run_eagerly=run_eagerly)
    ours = [w for w in caught if "KL weight was not set" in str(w.message)]
    assert len(ours) == 1
    assert "KLWeight(num_examples=len(x))" in str(ours[0].message)


def test_no_warning_when_set_or_not_training():
    _warned.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit([tfpbnn.layers.DenseFlipout(1, kl_weight=1.0)])
        model = keras.Sequential(
            [keras.Input((3,)), tfpbnn.layers.DenseFlipout(1)]
        )
        model.compile("sgd", "mse")
        model.evaluate(np.ones((8, 3)), np.ones((8, 1)), verbose=0)
        model.predict(np.ones((8, 3)), verbose=0)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), "1"])
def test_bad_weight(value):
    with pytest.raises(ValueError, match="`kl_weight` must be None or"):
        tfpbnn.layers.DenseFlipout(1, kl_weight=value)


def test_a_schedule_is_not_a_layers():
    schedule = keras.optimizers.schedules.CosineDecay(1.0, 5)
    with pytest.raises(ValueError, match=r"`tfpbnn.callbacks.KLWeight`"):
        tfpbnn.layers.DenseFlipout(1, kl_weight=schedule)


@pytest.mark.parametrize(
    "prior",
    [
        priors.Normal(0.2, 0.7),
        priors.Normal(scale="he"),
        priors.Normal(scale=0.3, learnable_scale=True),
        priors.MOPED(0.5),
    ],
    ids=["loc", "he", "learned", "moped"],
)
def test_fused_kl_of_normal_priors(prior):
    """Large kernels take XLA's pass, with the same value and gradients."""
    posterior, prior = wide_normal(), prior.copy(name="p", dtype="float32")
    posterior.build((128, 128))
    prior.build_for(posterior)
    posterior.loc.assign(posterior.loc + 0.1)
    variables = posterior.trainable_variables + prior.trainable_variables
    values = [v.value for v in variables]
    assert posterior.kl_to_normal(*prior.one_scale_normal()) is not None
    with tf.GradientTape(persistent=True) as tape:
        fused = kl_divergence(posterior, prior, KEY)
        plain = _kl_of_weights(posterior, prior, KEY)
    np.testing.assert_allclose(fused, plain, rtol=1e-5)
    for a, b in zip(
        tape.gradient(fused, values), tape.gradient(plain, values), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
