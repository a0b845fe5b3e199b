import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.families.table import (
    FAMILIES,
    NORMAL,
    SHAPE,
    built,
    covariance,
    noises,
    softplus,
)
from tests.statistics import assert_mean, assert_moments
from tfpbnn import families, random
from tfpbnn.layers.linear import estimators, ops

DRAWS = 8000
DETECTS = 0.15  # the relative error of a variance that so many draws see


@pytest.mark.parametrize("name", NORMAL)
def test_samples_are_normal_with_the_closed_form_covariance(name):
    """By independent Normals: the noise times the inverse root."""
    family = built(name)
    expected = covariance(name, family)
    noise = noises(family, DRAWS).reshape(DRAWS, -1)
    sd = np.sqrt(np.diag(expected))
    assert_moments(noise, 0.0, sd, detects=DETECTS)
    white = np.linalg.solve(np.linalg.cholesky(expected), noise.T).T
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    assert_moments(white @ rotation, 0.0, 1.0, detects=DETECTS)


def test_radial_samples():
    """Directions are uniform on the sphere, lengths are those of one Normal."""
    family = built("radial")
    noise = noises(family, DRAWS) / softplus(family.untransformed_scale)
    noise = noise.reshape(DRAWS, -1)
    size = noise.shape[1]
    length = np.linalg.norm(noise, axis=1)
    signs = np.sign(noise[:, 0])
    assert_moments(signs * length, 0.0, 1.0, detects=DETECTS)
    # r times a uniform direction, times the length of a Normal over r.
    chi = np.sqrt(np.random.default_rng(0).chisquare(size, DRAWS))
    uniform = noise / length[:, None]
    assert_moments(uniform * chi[:, None], 0.0, 1.0, detects=DETECTS)


@pytest.mark.parametrize("name", FAMILIES)
def test_variance_and_entropy(name):
    family = built(name)
    expected = covariance(name, family)
    np.testing.assert_allclose(
        np.ravel(family.variance()), np.diag(expected), rtol=1e-5
    )
    q = family.distribution()
    assert tuple(q.event_shape) == SHAPE
    if name in NORMAL:
        entropy = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * expected)[1]
        np.testing.assert_allclose(family.entropy(), entropy, rtol=1e-5)
        np.testing.assert_allclose(q.entropy(), entropy, rtol=1e-5)
    if name in ("full", "matrix"):
        np.testing.assert_allclose(
            np.square(family.scale), family.variance(), rtol=1e-5
        )
    loc, variance = family.loc_and_variance()
    np.testing.assert_array_equal(loc, family.loc.numpy())
    np.testing.assert_array_equal(variance, family.variance())


@pytest.mark.parametrize("size", [1, 2, 7])
def test_radial_density_and_entropy(size):
    """By quadrature over the radius, in spherical coordinates."""
    family = built("radial", (size,))
    q, loc = family.distribution(), family.loc.numpy()
    scale = softplus(family.untransformed_scale)
    direction = scale * np.ones(size) / np.sqrt(size)
    radii = np.linspace(1e-4, 9.0, 4000)
    points = loc + radii[:, None] * direction
    log_q = np.asarray(q.log_prob(points.astype("float32")), "float64")
    surface = 2 * np.pi ** (size / 2) / float(tf.exp(tf.math.lgamma(size / 2)))
    volume = surface * radii ** (size - 1) * np.prod(scale)
    mass = np.exp(log_q) * volume
    np.testing.assert_allclose(np.trapezoid(mass, radii), 1.0, rtol=1e-3)
    entropy = np.trapezoid(-mass * log_q, radii)
    np.testing.assert_allclose(family.entropy(), entropy, rtol=2e-3, atol=2e-3)
    np.testing.assert_array_equal(q.mean(), loc)


@pytest.mark.parametrize("name", FAMILIES)
def test_properties_are_true(name):
    """What is declared follows from the covariance, and no more is."""
    family = built(name)
    expected = covariance(name, family)
    uncorrelated = np.allclose(expected, np.diag(np.diag(expected)))
    assert family.sign_symmetric == uncorrelated
    assert family.is_random == (name != "point")
    assert family.is_normal == (name != "radial")
    assert family.independent_normal == (uncorrelated and family.is_normal)


def test_estimators_take_the_families_that_they_hold_for():
    def accepts(layer, name):
        try:
            layer(2, kernel_posterior=FAMILIES[name])
        except ValueError:
            return False
        return True

    layers = tfpbnn.layers
    takes = {
        name: (
            accepts(layers.DenseReparameterization, name),
            accepts(layers.DenseLocalReparameterization, name),
            accepts(layers.DenseFlipout, name),
        )
        for name in FAMILIES
    }
    assert takes == {
        "mean_field": (True, True, True),
        "squared_scale": (True, True, True),
        "low_rank": (True, False, False),
        "ktied": (True, True, True),
        "full": (True, False, False),
        "matrix": (True, False, False),
        "radial": (True, False, True),
        "point": (True, True, True),
    }


@pytest.mark.parametrize("name", ["ktied", "radial"])
def test_flipout_keeps_the_distribution(name):
    """Each row as if it had a kernel of its own; rows are uncorrelated."""
    family = built(name, (3, 2))
    x = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")

    @tf.function(autograph=False)
    def run():
        def one(i):
            key = random.fold(random.as_key(5), i)
            flipout = estimators.in_training(estimators.flipout)
            return flipout(ops.dense(), x, family, key)

        return tf.map_fn(one, tf.range(DRAWS), fn_output_signature=tf.float32)

    noise = run().numpy() - x @ family.loc.numpy()
    expected = x**2 @ np.asarray(family.variance())
    for row in range(2):
        for unit in range(2):
            assert_mean(noise[:, row, unit], 0.0)
            assert_mean(noise[:, row, unit] ** 2, expected[row, unit])
    assert_mean(noise[:, 0, 0] * noise[:, 1, 0], 0.0)


def test_defaults_are_those_of_tfp():
    family = families.MeanFieldNormal()
    family.build((200, 300))
    loc, raw = family.loc.numpy(), family.untransformed_scale.numpy()
    # 60,000 draws of sd 0.1: standard errors 4e-4 (mean) and 3e-4 (sd).
    np.testing.assert_allclose(loc.mean(), 0.0, atol=0.0025)
    np.testing.assert_allclose(loc.std(), 0.1, atol=0.002)
    np.testing.assert_allclose(raw.mean(), -3.0, atol=0.0025)
    np.testing.assert_allclose(raw.std(), 0.1, atol=0.002)
    np.testing.assert_allclose(
        family.scale, np.logaddexp(0, raw) + 1.2e-7, rtol=1e-5
    )


# One has scales that are squares, and another argument for where they start.
@pytest.mark.parametrize(
    "name", [*sorted({*NORMAL} - {"squared_scale"}), "radial"]
)
def test_scales_start_relative_to_fan_in(name):
    """In other families, by one argument; to 20 % where they are random."""
    config = FAMILIES[name].get_config() | {
        "untransformed_scale_initializer": families.HeScale(0.3)
    }
    family = type(FAMILIES[name]).from_config(config)
    family.build((2, 2, 8, 4))
    sd = np.sqrt(family.variance())
    if name == "radial":
        sd = sd * np.sqrt(2 * 2 * 8 * 4)
    np.testing.assert_allclose(np.mean(sd), 0.3 * np.sqrt(2 / 32), rtol=0.2)


def test_he_normal():
    family = families.get("he_normal")
    family.build((3, 3, 64, 64))
    expected = np.sqrt(2 / (9 * 64))
    np.testing.assert_allclose(family.scale, 0.1 * expected, rtol=1e-4)
    np.testing.assert_allclose(family.loc.numpy().std(), expected, rtol=0.02)
    bias = families.HeScale(1.0)((8,), "float32")
    np.testing.assert_allclose(softplus(bias), 0.5, rtol=1e-5)


def test_noise_is_the_sample_less_loc():
    for name in FAMILIES:
        family, key = built(name), random.as_key(1)
        difference = family.sample(key) - family.loc.numpy()
        np.testing.assert_allclose(family.noise(key), difference, atol=1e-6)


def test_draws_for_prediction():
    keys = tf.stack([random.fold(random.as_key(6), i) for i in range(3)])
    for name in FAMILIES:
        family = built(name)
        loc, draws = family.loc.numpy(), family.draws(keys)
        assert draws.shape == (3, *SHAPE)
        signs = tf.constant([1.0, -1.0, 1.0])
        with random.entered(random.DrawScope(keys, signs=signs)):
            mirrored = family.draws(keys)
        np.testing.assert_allclose(mirrored[0], draws[0], rtol=1e-6)
        np.testing.assert_allclose(mirrored[1] - loc, loc - draws[1], atol=1e-5)


def test_float64():
    for name in FAMILIES:
        family = built(name, dtype="float64")
        assert family.sample(random.as_key(1)).dtype == tf.float64
        assert family.entropy().dtype == tf.float64


def test_a_family_without_variance_says_so():
    class Plain(families.PointEstimate):
        variance = families.Family.variance

    with pytest.raises(NotImplementedError, match="Plain"):
        Plain().variance()


@pytest.mark.parametrize(
    "identifier",
    [
        "mean_field_normal",
        "MeanFieldNormal",
        families.MeanFieldNormal(),
        families.MeanFieldNormal().serialize(),
    ],
)
def test_get(identifier):
    assert isinstance(families.get(identifier), families.MeanFieldNormal)


def test_get_by_name():
    for name in families.__all__:
        cls = getattr(families, name)
        if inspect.isclass(cls) and name not in ("Family", "HeScale"):
            assert type(families.get(name)) is cls
    assert isinstance(families.get("delta"), families.PointEstimate)
    assert families.get(None) is None


def test_get_says_what_it_knows():
    with pytest.raises(ValueError, match=r"mean_field_normal.*point_estimate"):
        families.get("gaussian")
    with pytest.raises(TypeError, match="kernel_posterior=3 of type int"):
        families.get(3, "kernel_posterior")
    with pytest.raises(TypeError, match=r"families\.Family"):
        families.get(keras.layers.Dense(2))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: families.LowRankNormal(rank=0), "`rank` must be.*rank=0"),
        (lambda: families.KTiedNormal(rank=1.5), "`rank` must be.*rank=1.5"),
        (lambda: families.HeScale(0.0), "`fraction` must be.*fraction=0.0"),
        (
            lambda: families.FullCovarianceNormal().build((64, 64)),
            r"up to 2048 weights. Received: shape=\(64, 64\), 4096 weights. "
            "Use `LowRankNormal`",
        ),
    ],
)
def test_bad_arguments(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_config_round_trip():
    family = families.MeanFieldNormal(
        loc_initializer=keras.initializers.Constant(2.0),
        untransformed_scale_initializer="zeros",
        loc_regularizer="l2",
        loc_constraint="non_neg",
        untransformed_scale_regularizer="l1",
        untransformed_scale_constraint="max_norm",
    )
    again = families.get(family.serialize())
    assert again.get_config() == family.get_config()
    again.build((2,))
    np.testing.assert_allclose(again.loc.numpy(), [2.0, 2.0])
    np.testing.assert_allclose(again.scale, np.log(2.0), rtol=1e-6)


def test_copies_share_nothing():
    template = families.MeanFieldNormal()
    copies = [
        template.copy(name="kernel_posterior", dtype="float32")
        for _ in range(2)
    ]
    for copy in copies:
        copy.build((3, 3))
    assert np.any(copies[0].loc.numpy() != copies[1].loc.numpy())
    with pytest.raises(ValueError, match="has no weights yet"):
        _ = template.loc
