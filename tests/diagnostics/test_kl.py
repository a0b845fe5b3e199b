"""The KL by layer and unit against NumPy, and what stayed at the prior."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.families.table import FAMILIES, built
from tests.priors.test_kl_pairs import PRIORS, built_prior
from tfpbnn import diagnostics, families, layers, random
from tfpbnn.layers import kl_parts
from tfpbnn.priors.kl import kl_by_weight, kl_divergence

SPLIT = [n for n in FAMILIES if FAMILIES[n].independent_normal and n != "point"]
NUMERICAL = ("mixture", "student_t")


@pytest.mark.parametrize("prior_name", PRIORS)
@pytest.mark.parametrize("family_name", FAMILIES)
def test_weights_add_up_to_the_whole(family_name, prior_name):
    posterior = built(family_name)
    prior = built_prior(prior_name, posterior)
    each = kl_by_weight(posterior, prior)
    assert (each is not None) == (family_name in SPLIT)
    if each is None:
        return
    assert each.shape == posterior.loc.shape
    if prior_name in NUMERICAL:
        # Against a finer integral of each weight.
        np.testing.assert_allclose(
            each, integrals(posterior, prior), atol=0.02, rtol=0.02
        )
        assert kl_by_weight(posterior, prior, integrate=False) is None
        return
    whole = kl_divergence(posterior, prior, random.as_key(0))
    extra = prior.extra_divergence()
    extra = 0.0 if extra is None else extra
    np.testing.assert_allclose(tf.reduce_sum(each) + extra, whole, rtol=1e-5)


def integrals(posterior, prior):
    loc, sd = np.asarray(posterior.mean()), np.asarray(posterior.stddev())
    z = np.linspace(-9, 9, 20001)
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    each = prior.distribution().distribution
    steps = z.astype("float32").reshape(-1, *[1] * loc.ndim)
    values = -each.log_prob(loc + sd * steps).numpy()
    cross = np.tensordot(density * (z[1] - z[0]), values, 1)
    return cross - np.log(sd) - 0.5 * np.log(2 * np.pi * np.e)


class OwnPrior(tfpbnn.priors.Normal):
    def cross_entropy(self, posterior):
        return 2 * super().cross_entropy(posterior)


class OwnWhole(tfpbnn.priors.Normal):
    def divergence(self, posterior):
        return tf.constant(3.0)


@pytest.mark.parametrize("cls", [OwnPrior, OwnWhole])
def test_a_prior_that_changes_the_whole_is_not_split(cls):
    posterior = built("mean_field")
    prior = cls()
    prior.build_for(posterior)
    assert kl_by_weight(posterior, prior) is None


class NoVariance(families.MeanFieldNormal):
    def loc_and_variance(self):
        raise NotImplementedError


def test_a_family_without_variances_is_not_split():
    posterior = NoVariance()
    posterior.build((2, 3))
    prior = tfpbnn.priors.Normal()
    prior.build_for(posterior)
    assert kl_by_weight(posterior, prior) is None


def normal_kl(posterior):
    loc, sd = np.asarray(posterior.loc), np.asarray(posterior.scale)
    return 0.5 * (loc**2 + sd**2 - 1) - np.log(sd)


# The layer, its input's shape, and the axes that a unit's weights are summed
# over, by weight.
KINDS = {
    "dense": (layers.DenseFlipout(3), (4,), {"kernel": 0}),
    "bias": (
        layers.DenseReparameterization(
            3, bias_posterior="mean_field_normal", bias_prior="normal"
        ),
        (4,),
        {"kernel": 0, "bias": ()},
    ),
    "conv": (layers.Conv2DFlipout(3, 2), (4, 4, 2), {"kernel": (0, 1, 2)}),
    "transposed": (
        layers.Conv1DTransposeFlipout(3, 2),
        (4, 2),
        {"kernel": (0, 2)},
    ),
    "depthwise": (
        layers.DepthwiseConv1DFlipout(2, depth_multiplier=3),
        (4, 2),
        {"kernel": 0},
    ),
    "einsum": (
        layers.EinsumDenseFlipout("bi,hdi->bhd", (2, 5)),
        (4,),
        {"kernel": 2},
    ),
    "embedding": (layers.EmbeddingFlipout(7, 3), (4,), {"embeddings": 0}),
    "separable": (
        layers.SeparableConv1DReparameterization(3, 2),
        (4, 2),
        {"depthwise_kernel": 0, "pointwise_kernel": (0, 1)},
    ),
    "recurrent": (
        layers.GRUReparameterization(2),
        (4, 3),
        {"kernel": 0, "recurrent_kernel": 0},
    ),
    "any": (
        layers.Variational(keras.layers.Dense(3)),
        (4,),
        {"dense/kernel": 0},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_units_of_layers(kind):
    layer, shape, axes = KINDS[kind]
    layer = type(layer).from_config(layer.get_config() | {"name": "layer"})
    model = keras.Sequential([keras.Input(shape), layer])
    found = diagnostics.kl_by_unit(model)
    posteriors = [
        part
        for part in layer._flatten_layers(include_self=False)
        if isinstance(part, families.MeanFieldNormal)
    ]
    assert len(found) == len(axes) == len(posteriors)
    for values, axis, posterior in zip(
        found.values(), axes.values(), posteriors, strict=True
    ):
        expected = normal_kl(posterior).sum(axis=axis)
        np.testing.assert_allclose(values, expected, rtol=1e-4)
    by_layer = sum(diagnostics.kl_by_layer(model).values())
    np.testing.assert_allclose(
        by_layer, sum(v.sum() for v in found.values()), rtol=1e-5
    )


def test_layers_add_up_to_what_fit_logs():
    model = tfpbnn.Sequential(
        [
            keras.Input((3,)),
            layers.DenseReparameterization(
                4, kernel_posterior="full_covariance_normal"
            ),
            layers.VariationalDropout(),
            layers.DenseRank1(4, num_members=2),
            layers.DenseFlipout(2, kernel_prior="horseshoe"),
        ]
    )
    model.compile("sgd", tfpbnn.likelihoods.Normal())
    x = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
    history = model.fit(x, x[:, 0], epochs=1, verbose=0).history
    found = diagnostics.kl_by_layer(model)
    np.testing.assert_allclose(sum(found.values()), history["kl"][-1], 1e-4)
    assert len(found) == 4
    # The full covariance is known as a whole, and dropout has no weights.
    names = list(diagnostics.kl_by_unit(model))
    assert [n.rpartition("/")[2] for n in names] == [
        "fast_input",
        "fast_output",
        "kernel",
    ]


def two_layers(**kwargs):
    model = tfpbnn.Sequential(
        [
            keras.Input((20,)),
            layers.DenseFlipout(10, name="first", **kwargs),
            layers.DenseFlipout(2, name="second"),
        ]
    )
    model.compile(keras.optimizers.SGD(0.0), tfpbnn.likelihoods.Normal())
    return model


def at_prior(model, count):
    """The first units of the first layer are at the prior N(0, 1)."""
    posterior = model.layers[0].kernel_posterior
    loc, raw = np.full((20, 10), 0.7), np.full((20, 10), -3.0)
    loc[:, :count], raw[:, :count] = 0.1, np.log(np.expm1(1.0))
    posterior.loc.assign(loc)
    posterior.untransformed_scale.assign(raw)


def test_collapse():
    model = two_layers()
    at_prior(model, 6)
    found = diagnostics.collapse(model)
    first = found["first/kernel"]
    np.testing.assert_array_equal(first.units, np.arange(10) < 6)
    assert first.num_units == 6
    assert first.weights == pytest.approx(0.6)
    assert "6 of 10 units and 60% of weights" in repr(first)
    assert found["second/kernel"].num_units == 0
    # One weight that says much makes a unit of use.
    loc = model.layers[0].kernel_posterior.loc
    loc.assign(np.where(np.arange(200).reshape(20, 10) == 0, 2.5, loc))
    assert not diagnostics.collapse(model)["first/kernel"].units[0]
    assert diagnostics.collapse(model, 1e-6)["first/kernel"].num_units == 0


def fits(model, **kwargs):
    x = np.random.default_rng(0).normal(size=(8, 20)).astype("float32")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(x, x[:, 0], epochs=1, verbose=0, **kwargs)
    return [str(w.message) for w in caught if "at the prior" in str(w.message)]


def test_fit_warns_once_of_most_of_a_layer():
    model = two_layers()
    at_prior(model, 5)
    assert not fits(model)
    at_prior(model, 6)
    (text,) = fits(model)
    assert "6 of 10 units of `first/kernel`" in text
    assert not fits(model)


@pytest.mark.parametrize(
    "prior",
    [
        tfpbnn.priors.MOPED(),
        tfpbnn.priors.Normal(0.1),
        tfpbnn.priors.Normal(learnable_scale=True),
        tfpbnn.priors.HierarchicalNormal(),
        tfpbnn.priors.LogUniform(),
    ],
    ids=["moped", "mean", "learned", "hierarchical", "log_uniform"],
)
def test_fit_says_nothing_of_priors_that_are_no_noise(prior):
    model = two_layers(kernel_prior=prior)
    at_prior(model, 10)
    loc = model.layers[0].kernel_posterior.loc
    if isinstance(prior, tfpbnn.priors.MOPED):
        model.layers[0].kernel_prior.loc.assign(loc)
    assert not kl_parts.collapsed(model)


def test_fit_says_nothing_of_failures_and_frozen_layers():
    model = two_layers()
    at_prior(model, 10)
    assert kl_parts.collapsed(model)
    model.layers[0].trainable = False
    assert not kl_parts.collapsed(model)
    model.layers[0].trainable = True
    model.layers[0].kernel_posterior.loc.assign(np.full((20, 10), np.nan))
    assert not kl_parts.collapsed(model)
    for function in (diagnostics.kl_by_layer, diagnostics.collapse):
        with pytest.raises(ValueError, match="KL of NaN"):
            function(model)


def test_bad_input():
    plain = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="must have layers with a KL"):
        diagnostics.kl_by_layer(plain)
    with pytest.raises(ValueError, match="never built"):
        diagnostics.kl_by_unit(keras.Sequential([keras.layers.Dense(1)]))
    with pytest.raises(ValueError, match="`threshold` must be"):
        diagnostics.collapse(two_layers(), threshold=0.0)
    full = keras.Sequential(
        [
            keras.Input((2,)),
            layers.DenseReparameterization(
                1, kernel_posterior="full_covariance_normal"
            ),
        ]
    )
    with pytest.raises(ValueError, match="kl_by_layer"):
        diagnostics.collapse(full)
    ensemble = tfpbnn.ensembles.DeepEnsemble.from_models(
        [two_layers(), two_layers()]
    )
    with pytest.raises(TypeError, match="one of its members"):
        diagnostics.kl_by_layer(ensemble)
