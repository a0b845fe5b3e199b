import keras
import numpy as np
import pytest

from tfpbnn import families, random


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


def test_distribution_has_the_weights_as_its_event():
    family = families.MeanFieldNormal()
    family.build((3, 4))
    q = family.distribution()
    assert tuple(q.event_shape) == (3, 4)
    np.testing.assert_allclose(q.mean(), family.loc.numpy())
    np.testing.assert_allclose(q.stddev(), family.scale)


def test_noise_is_the_sample_less_loc():
    family = families.MeanFieldNormal()
    family.build((3, 4))
    key = random.as_key(1)
    np.testing.assert_allclose(
        family.noise(key), family.sample(key) - family.loc.numpy(), atol=1e-6
    )


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


def test_get_none():
    assert families.get(None) is None


def test_get_says_what_it_knows():
    with pytest.raises(ValueError, match=r"mean_field_normal.*point_estimate"):
        families.get("gaussian")
    with pytest.raises(TypeError, match="kernel_posterior=3 of type int"):
        families.get(3, "kernel_posterior")
    with pytest.raises(TypeError, match=r"families\.Family"):
        families.get(keras.layers.Dense(2))


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
