import inspect

import keras
import numpy as np
import pytest
from scipy import stats

import tfpbnn
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
        priors.Normal(0.1, 2.0, learnable_scale=True, axis=(0, -1)),
        priors.Normal(scale="he"),
        priors.ScaleMixture(0.75, 2.0, 0.01),
        priors.Laplace(0.3),
        priors.StudentT(4.0, "he"),
        priors.HierarchicalNormal(priors.InverseGamma(2.0, 0.1), axis=-1),
        priors.Horseshoe(0.1, 0.5, axis=0),
        priors.RegularizedHorseshoe(0.1, 0.5, (0, 1), 3.0, 5.0),
        priors.MOPED(0.2),
    ],
    ids=lambda prior: type(prior).__name__,
)
def test_config_round_trip(prior):
    again = priors.get(prior.serialize())
    assert type(again) is type(prior)
    assert again.get_config() == prior.get_config()


def test_get():
    parts = {"HalfCauchy", "InverseGamma", "Hyperprior", "Prior"}
    parts |= {"PreviousPosterior"}  # which `update_prior` makes
    for name in priors.__all__:
        cls = getattr(priors, name)
        if inspect.isclass(cls) and name not in parts:
            assert type(priors.get(name)) is cls
    assert isinstance(priors.get("spike_and_slab"), priors.ScaleMixture)
    assert priors.get("he_normal").initial_scale == "he"
    assert priors.get(None) is None


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
        (lambda: priors.Normal(scale="glorot"), 'number or "he".*glorot'),
        (lambda: priors.Normal(axis=0), "learnable_scale=True.*axis=0"),
        (lambda: priors.StudentT(df=0), "`df` must be.*df=0"),
        (lambda: priors.Laplace(-1.0), "`scale` must be.*scale=-1.0"),
        (lambda: priors.Horseshoe(0.0), "`global_scale` must be"),
        (lambda: priors.RegularizedHorseshoe(slab_df=0), "`slab_df` must be"),
        (lambda: priors.HierarchicalNormal("gamma"), "half_cauchy.*'gamma'"),
        (
            lambda: priors.Horseshoe(axis=2).build((4, 3)),
            r"`axis` must be axes of the weight. .*axis=2, .*\(4, 3\)",
        ),
    ],
)
def test_bad_arguments(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_bad_types():
    with pytest.raises(TypeError, match=r"`axis` must be.*axis="):
        priors.Horseshoe(axis="units")
    with pytest.raises(TypeError, match="`hyperprior` must not be None"):
        priors.HierarchicalNormal(None)


@pytest.mark.parametrize(
    ("prior", "logpdf"),
    [
        (priors.Laplace(0.7), stats.laplace(0, 0.7).logpdf),
        (priors.StudentT(3.5, 0.7), stats.t(3.5, 0, 0.7).logpdf),
        (priors.Laplace("he"), stats.laplace(0, np.sqrt(0.5)).logpdf),
    ],
)
def test_heavy_tails(prior, logpdf):
    expected = logpdf(WEIGHTS).sum()
    np.testing.assert_allclose(log_prob(prior, WEIGHTS), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("axis", "shape"),
    [(None, ()), (-1, (1, 1, 3)), (0, (4, 1, 1)), ((0, 2), (4, 1, 3))],
)
def test_scales_along_axes(axis, shape):
    for prior in (
        priors.Normal(scale=0.4, learnable_scale=True, axis=axis),
        priors.HierarchicalNormal(priors.HalfCauchy(0.4), axis=axis),
    ):
        prior.build((4, 2, 3))
        assert tuple(prior.scale.shape) == shape
        np.testing.assert_allclose(prior.scale, np.full(shape, 0.4), rtol=1e-5)
        assert tuple(prior.distribution().event_shape) == (4, 2, 3)


def test_medians_of_a_horseshoe():
    prior = priors.RegularizedHorseshoe(0.5, 0.6, axis=0, slab_scale=0.4)
    prior.build((4, 3))
    spread, slab = 0.5 * 0.6, 0.4
    expected = (spread**-2 + slab**-2) ** -0.5
    # Not quite: softplus is convex, and the scales have a posterior.
    np.testing.assert_allclose(
        prior.scale, np.full((4, 1), expected), rtol=0.02
    )


def pretrained_layer(prior="moped", **kwargs):
    layer = tfpbnn.layers.DenseFlipout(2, kernel_prior=prior, **kwargs)
    layer.build((None, 3))
    return layer


def test_moped_starts_at_the_posterior():
    layer = pretrained_layer(kernel_initializer="ones")
    np.testing.assert_array_equal(layer.kernel_prior.loc, np.ones((3, 2)))
    paths = [v.path for v in layer.non_trainable_variables]
    assert paths.count(f"{layer.name}/kernel_prior/loc") == 1
    assert len(layer.trainable_variables) == 3  # loc, scale, bias


@pytest.mark.parametrize("family", ["mean_field_normal", "radial"])
def test_moped_at_pretrained_weights(family):
    weights = np.array([[1.0, -2.0], [0.5, 0.0], [0.1, 3.0]], "float32")
    layer = pretrained_layer(kernel_posterior=family)
    before = np.array(layer.kernel_posterior.scale)
    priors.moped(layer, kernel=weights, bias=keras.Variable([1.0, 2.0]))
    np.testing.assert_array_equal(layer.kernel_posterior.loc, weights)
    np.testing.assert_array_equal(layer.kernel_prior.loc, weights)
    np.testing.assert_array_equal(layer.bias_posterior.loc, [1.0, 2.0])
    scale = np.array(layer.kernel_posterior.scale)
    if family == "radial":
        np.testing.assert_array_equal(scale, before)
        return
    least = 1e-3 * np.sqrt(np.mean(weights**2))
    expected = 0.1 * np.maximum(np.abs(weights), least)
    np.testing.assert_allclose(scale, expected, rtol=1e-3)
    layer = pretrained_layer(prior="normal")
    priors.moped(layer, kernel=weights, delta=0.2)
    np.testing.assert_allclose(
        layer.kernel_posterior.scale, 2 * expected, rtol=1e-3
    )


def test_moped_errors():
    layer = pretrained_layer()
    with pytest.raises(ValueError, match=r"shape of the layer's, \(3, 2\)"):
        priors.moped(layer, kernel=np.ones(3))
    with pytest.raises(ValueError, match="built and have a posterior of its"):
        priors.moped(tfpbnn.layers.DenseFlipout(2), kernel=np.ones(3))
    with pytest.raises(ValueError, match="posterior of its weight"):
        priors.moped(layer, weight=np.ones(3))
    with pytest.raises(ValueError, match="`delta` must be"):
        priors.moped(layer, delta=0.0, kernel=np.ones((3, 2)))
