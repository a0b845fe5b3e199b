import numpy as np
import pytest
from scipy import stats

from tfpbnn import priors


def log_prob(prior, weights):
    prior.build(weights.shape)
    return prior.distribution().log_prob(weights.astype("float32"))


WEIGHTS = np.random.default_rng(0).normal(size=(4, 3))


@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize("scale", [0.01, 1.0, 40.0])
def test_normal(learnable, scale):
    prior = priors.Normal(0.3, scale, learnable_scale=learnable)
    expected = stats.norm.logpdf(WEIGHTS, 0.3, scale).sum()
    np.testing.assert_allclose(log_prob(prior, WEIGHTS), expected, rtol=1e-4)
    assert len(prior.trainable_variables) == learnable


def test_scale_mixture():
    prior = priors.ScaleMixture(0.25, 1.5, 0.1)
    expected = np.log(
        0.25 * stats.norm.pdf(WEIGHTS, 0, 1.5)
        + 0.75 * stats.norm.pdf(WEIGHTS, 0, 0.1)
    ).sum()
    np.testing.assert_allclose(log_prob(prior, WEIGHTS), expected, rtol=1e-4)


@pytest.mark.parametrize(
    "prior",
    [
        priors.Normal(0.1, 2.0, learnable_scale=True),
        priors.ScaleMixture(0.75, 2.0, 0.01),
    ],
)
def test_config_round_trip(prior):
    again = priors.get(prior.serialize())
    assert type(again) is type(prior)
    assert again.get_config() == prior.get_config()


@pytest.mark.parametrize("name", ["normal", "scale_mixture", "ScaleMixture"])
def test_get(name):
    assert isinstance(priors.get(name), priors.Prior)


def test_get_says_what_it_knows():
    with pytest.raises(ValueError, match=r"kernel_prior.*normal.*'horse'"):
        priors.get("horse", "kernel_prior")
    with pytest.raises(TypeError, match=r"priors\.Prior"):
        priors.get(1.0)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: priors.Normal(scale=0.0), "`scale` must be a positive"),
        (lambda: priors.Normal(scale=float("inf")), "scale=inf"),
        (lambda: priors.Normal(loc=float("nan")), "loc=nan"),
        (lambda: priors.ScaleMixture(pi=1.0), "pi=1.0"),
        (lambda: priors.ScaleMixture(scale2=-1.0), "scale2=-1.0"),
    ],
)
def test_bad_arguments(make, match):
    with pytest.raises(ValueError, match=match):
        make()
