"""What a weight's posterior says of itself: mean, stddev and draws."""

import keras
import numpy as np
import pytest

import tfpbnn
from tests.families.table import FAMILIES, built
from tests.statistics import assert_moments
from tfpbnn import families, random

DRAWS = 3000


@pytest.mark.parametrize("name", FAMILIES)
def test_mean_and_stddev_are_those_of_draws(name):
    posterior = built(name)
    mean, sd = posterior.mean().numpy(), posterior.stddev().numpy()
    assert mean.shape == sd.shape == tuple(posterior.loc.shape)
    np.testing.assert_array_equal(mean, posterior.loc.numpy())
    np.testing.assert_allclose(sd**2, posterior.variance(), rtol=1e-5)
    one = posterior.sample()
    if name == "point":
        np.testing.assert_array_equal(one, mean)
        np.testing.assert_array_equal(sd, 0)
        return
    assert np.any(one != posterior.sample())


def test_draws_without_a_key_are_draws():
    posterior = built("mean_field")
    draws = [posterior.sample().numpy() for _ in range(DRAWS)]
    assert_moments(draws, posterior.mean(), posterior.stddev(), detects=0.3)


def test_draws_without_a_key_follow_the_seed():
    posterior = families.DropConnect(0.5)
    posterior.build((50,))
    drawn = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        drawn.append(posterior.sample().numpy())
    np.testing.assert_array_equal(*drawn)
    with_key = [posterior.sample(random.as_key(1)) for _ in range(2)]
    np.testing.assert_array_equal(*with_key)


def test_of_a_layer():
    layer = tfpbnn.layers.DenseFlipout(3)
    layer.build((None, 4))
    posterior = layer.kernel_posterior
    assert posterior.mean().shape == posterior.stddev().shape == (4, 3)
    assert posterior.sample().shape == (4, 3)
    np.testing.assert_allclose(posterior.stddev(), posterior.scale, rtol=1e-6)


@pytest.mark.parametrize("given", [5, (5,), [5]], ids=["int", "tuple", "list"])
def test_a_number_of_draws_is_no_key(given):
    with pytest.raises(TypeError, match="`key` must be None for a new draw"):
        built("mean_field").sample(given)
