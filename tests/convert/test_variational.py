"""Plain models to variational ones."""

import keras
import numpy as np
import pytest

import tfpbnn
from tests.checks import draws
from tests.layers.table import CASES
from tests.statistics import assert_moments
from tfpbnn import families, priors, random
from tfpbnn.layers.kl import kl_terms
from tfpbnn.layers.random_layer import RandomLayer
from tfpbnn.networks import reading

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


def randomize(model):
    """Weights that no initializer gives; variances stay positive."""
    model.set_weights(
        [w + np.abs(normal(*w.shape)) for w in model.get_weights()]
    )
    return model


def graph_model():
    """Shared layers, inner models, two inputs and outputs, operations."""
    image = keras.Input((6, 6, 2), name="image")
    extra = keras.Input((4,), name="extra")
    conv = keras.layers.Conv2D(2, 3, padding="same", name="conv")
    h = keras.layers.BatchNormalization(name="norm")(conv(conv(image)))
    h = keras.layers.GlobalAveragePooling2D()(h)
    inner = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(2, activation="tanh", name="dense"),
            keras.layers.Lambda(lambda x: 2 * x),
        ],
        name="inner",
    )
    h = h * 2.0 + inner(extra)
    h = keras.layers.Concatenate()([h, inner(extra)])
    outputs = {
        "a": keras.layers.Dense(3, name="a", kernel_regularizer="l2")(h),
        "b": keras.layers.Dense(1, name="b", use_bias=False)(h),
    }
    return randomize(keras.Model({"image": image, "extra": extra}, outputs))


X = {"image": normal(5, 6, 6, 2), "extra": normal(5, 4)}


def variational_names(model):
    return {x.name for x in reading.leaves(model) if isinstance(x, RandomLayer)}


def at_mean(model, x):
    with random.draw_scope(None):
        return model(x, training=False)


def shrink_scales(model):
    for term in kl_terms(model):
        raw = term.posterior.untransformed_scale
        raw.assign(np.full(raw.shape, -100.0))


def test_without_scales_it_is_the_original():
    model = graph_model()
    bayes = tfpbnn.to_variational(model)
    assert variational_names(bayes) == {"conv", "dense", "a", "b"}
    expected, random_ = model(X), bayes(X)
    shrink_scales(bayes)
    found = bayes(X)
    for name, y in expected.items():
        assert np.abs(random_[name] - y).max() > 1e-3
        np.testing.assert_allclose(found[name], y, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(at_mean(bayes, X)[name], y)


def test_there_and_back_is_exactly_the_original():
    model = graph_model()
    before = [np.copy(w) for w in model.get_weights()]
    plain = tfpbnn.to_deterministic(tfpbnn.to_variational(model, moped=True))
    assert [type(x) for x in plain.layers] == [type(x) for x in model.layers]
    assert [x.name for x in plain.layers] == [x.name for x in model.layers]
    for old, new in zip(model.layers, plain.layers, strict=True):
        if isinstance(old, keras.layers.Dense):
            assert new.get_config() == old.get_config()
    for name, y in model(X).items():
        np.testing.assert_array_equal(plain(X)[name], y)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)  # the original is not touched


def test_shared_layers_stay_shared():
    bayes = tfpbnn.to_variational(graph_model())
    assert len(kl_terms(bayes)) == 4
    assert isinstance(bayes.get_layer("inner"), keras.Sequential)


@pytest.mark.parametrize("estimator", ["flipout", "local_reparameterization"])
@pytest.mark.parametrize(
    "case", CASES, ids=[f"{i}-{c}" for i, c in enumerate(CASES)]
)
def test_every_layer_that_has_a_counterpart(case, estimator):
    dtype = case.x.dtype
    inputs = keras.Input(case.x.shape[1:], dtype=dtype)
    model = keras.Model(inputs, case.keras(**case.kwargs)(inputs))
    randomize(model)
    bayes = tfpbnn.to_variational(model, estimator=estimator)
    suffix = {"flipout": "Flipout"}.get(estimator, "LocalReparameterization")
    assert type(bayes.layers[-1]).__name__ == case.op + suffix
    np.testing.assert_allclose(
        at_mean(bayes, case.x), model(case.x), rtol=1e-4, atol=1e-5
    )
    assert np.any(bayes(case.x) != model(case.x))
    plain = tfpbnn.to_deterministic(bayes)
    np.testing.assert_array_equal(plain(case.x), model(case.x))


def sequential(activation="relu"):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(6, activation=activation, name="first"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dense(3, name="last_one"),
        ]
    )
    return randomize(model)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("all", {"first", "last_one"}),
        ("last", {"last_one"}),
        ("first", {"first"}),
        (["first", "last_one"], {"first", "last_one"}),
        (keras.layers.Dense, {"first", "last_one"}),
        (lambda layer: layer.units == 6, {"first"}),
    ],
)
def test_layers_are_chosen(layers, expected):
    bayes = tfpbnn.to_variational(sequential(), layers)
    assert isinstance(bayes, tfpbnn.Sequential)
    assert variational_names(bayes) == expected
    again = (
        tfpbnn.to_variational(bayes, estimator="reparameterization")
        if (len(expected) == 1)
        else bayes
    )
    assert variational_names(again) == {"first", "last_one"}


def test_an_inner_model_is_chosen_by_name_or_object():
    model = graph_model()
    for item in ("inner", model.get_layer("inner")):
        bayes = tfpbnn.to_variational(model, item)
        assert variational_names(bayes) == {"dense"}


def test_default_scales_are_small_beside_the_weights():
    model = sequential()
    layer = tfpbnn.to_variational(model, delta=0.2).layers[0]
    kernel = model.layers[0].get_weights()[0]
    np.testing.assert_allclose(
        layer.kernel_posterior.scale,
        np.full(kernel.shape, 0.2 * np.sqrt(np.mean(kernel**2))),
        rtol=1e-5,
    )


def test_posterior_and_prior_are_those_given():
    posterior = families.MeanFieldNormal(
        untransformed_scale_initializer=keras.initializers.Constant(0.0)
    )
    bayes = tfpbnn.to_variational(
        sequential(),
        posterior=posterior,
        prior=priors.Normal(scale=2.0),
        bias_posterior="mean_field_normal",
        bias_prior="normal",
        kl_weight=0.25,
        layers="first",
    )
    layer = bayes.layers[0]
    np.testing.assert_allclose(layer.kernel_posterior.scale, np.log(2.0), 1e-5)
    assert layer.kernel_prior.initial_scale == 2.0
    assert layer.bias_posterior.is_random
    assert layer.initial_kl_weight == 0.25


def test_moped_moves_the_prior_and_scales_with_the_weights():
    model = sequential()
    bayes = tfpbnn.to_variational(
        model, moped=True, delta=0.05, prior=priors.Normal(scale=0.5)
    )
    kernel = model.layers[0].get_weights()[0].astype("float64")
    layer = bayes.layers[0]
    np.testing.assert_allclose(
        layer.kernel_posterior.scale, 0.05 * np.abs(kernel), rtol=1e-4
    )
    np.testing.assert_array_equal(layer.kernel_prior.loc, kernel)
    ratio = (0.05 * np.abs(kernel) / 0.5) ** 2  # KL of Normals of one mean
    expected = np.sum(0.5 * (ratio - 1 - np.log(ratio)))
    term = kl_terms(bayes)[0]
    np.testing.assert_allclose(term.divergence(), expected, rtol=1e-4)


def test_moments_of_a_converted_layer():
    """A linear layer's outputs are Normal with known moments."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    randomize(model)
    bayes = tfpbnn.to_variational(model, moped=True, delta=0.3)
    x, (kernel, bias) = normal(2, 4), model.get_weights()
    found = draws(bayes, x, 20_000)
    sd = np.sqrt(x**2 @ (0.3 * kernel) ** 2)
    assert_moments(found, x @ kernel + bias, sd)


def test_frozen_layers_stay_as_they_are_unless_named():
    model = graph_model()
    model.get_layer("inner").trainable = False
    model.get_layer("norm").trainable = False
    bayes = tfpbnn.to_variational(model)
    assert variational_names(bayes) == {"conv", "a", "b"}
    assert not bayes.get_layer("inner").trainable
    assert not bayes.get_layer("norm").trainable
    assert bayes.get_layer("a").trainable
    bayes = tfpbnn.to_variational(model, "dense")
    assert variational_names(bayes) == {"dense"}
    model.trainable = False
    with pytest.raises(ValueError, match=r"'a'.*are frozen: name them"):
        tfpbnn.to_variational(model)


def test_other_layers_are_shared_if_asked():
    model = sequential()
    bayes = tfpbnn.to_variational(model, "last", copy=False)
    assert bayes.layers[0] is model.layers[0]
    assert tfpbnn.to_variational(model, "last").layers[0] is not model.layers[0]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (
            {"layers": "nowhere"},
            "'nowhere'; the model has .'first', 'last_one'",
        ),
        ({"layers": "norm"}, "'norm' can't be chosen: it has vectors only"),
        ({"layers": []}, r"`layers` chose no layer.*'first', 'last_one'"),
        ({"layers": keras.layers.Conv2D}, "`layers` chose no layer"),
        ({"estimator": "magic"}, "`estimator` must be one of .'flipout'"),
        ({"delta": 0}, "`delta` must be a positive, finite number.*delta=0"),
        (
            {"moped": True, "prior": "scale_mixture"},
            "`moped=True` moves a Normal prior.*prior='scale_mixture'",
        ),
        (
            {"moped": True, "posterior": "point_estimate"},
            "`moped=True` sets the scales.*PointEstimate",
        ),
        (
            {"posterior": "nothing"},
            "The layer 'first' of `model`: `kernel_posterior` must be a known",
        ),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        tfpbnn.to_variational(sequential(), **kwargs)


class Subclassed(keras.Model):
    """A model of which Keras knows no graph."""


class Shapeless(keras.layers.Layer):
    """A layer whose outputs' shape Keras can't tell inside a wrapper."""

    def call(self, x):
        return x


def test_bad_models():
    steps = keras.layers.TimeDistributed(Shapeless())
    unknown = keras.Sequential([keras.Input((2, 3)), steps])
    unknown.build((None, 2, 3))
    unknown(np.ones((1, 2, 3)))
    with pytest.raises(ValueError, match="compute_output_shape"):
        tfpbnn.to_variational(unknown)
    with pytest.raises(
        TypeError, match=r"Functional or Sequential.*Subclassed"
    ):
        tfpbnn.to_variational(Subclassed())
    with pytest.raises(
        TypeError, match=r"Functional or Sequential.*Subclassed"
    ):
        tfpbnn.to_deterministic(Subclassed())
    with pytest.raises(ValueError, match=r"`model` must be built"):
        tfpbnn.to_variational(keras.Sequential([keras.layers.Dense(2)]))
    with pytest.raises(TypeError, match=r"`layers` must be .* type int"):
        tfpbnn.to_variational(sequential(), 3)
    with pytest.raises(ValueError, match=r"needs a model with one output"):
        tfpbnn.to_variational(graph_model(), "last")
    bayes = tfpbnn.to_variational(sequential())
    with pytest.raises(ValueError, match=r"'first' can't be .* already"):
        tfpbnn.to_variational(bayes, "first")
    with pytest.raises(ValueError, match=r"are variational already"):
        tfpbnn.to_variational(bayes)


class NoConfig(keras.layers.Layer):
    """A layer whose config does not make it."""

    def __init__(self, units):
        super().__init__(name="no_config")
        self.units = units

    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], self.units), name="w")

    def call(self, x):
        return x @ self.w


def test_a_layer_that_cannot_be_copied_is_named():
    model = keras.Sequential(
        [keras.Input((4,)), NoConfig(2), keras.layers.Dense(1)]
    )
    with pytest.raises(ValueError, match=r"'no_config'.*can't be copied"):
        tfpbnn.to_variational(model, "last")
    bayes = tfpbnn.to_variational(model, "last", copy=False)
    assert len(variational_names(bayes)) == 1


@pytest.mark.parametrize("use_bias", [True, False])
def test_attention_layers_have_counterparts(use_bias):
    query, value = keras.Input((3, 4)), keras.Input((5, 4))
    attention = keras.layers.MultiHeadAttention(2, 3, use_bias=use_bias)
    grouped = keras.layers.GroupQueryAttention(3, 4, 2, use_bias=use_bias)
    outputs = grouped(attention(query, value), value)
    model = randomize(keras.Model([query, value], outputs))
    x = [normal(2, 3, 4), normal(2, 5, 4)]
    bayes = tfpbnn.to_variational(model, moped=True)
    assert [type(layer).__name__ for layer in bayes.layers[2:]] == [
        "MultiHeadAttentionFlipout",
        "GroupQueryAttentionFlipout",
    ]
    layer = bayes.layers[2].query_dense
    kernel = layer.kernel_posterior.loc.numpy()
    np.testing.assert_array_equal(layer.kernel_prior.loc, kernel)
    scale = np.maximum(0.1 * np.abs(kernel), 1e-5)
    np.testing.assert_allclose(layer.kernel_posterior.scale, scale, rtol=1e-4)
    assert np.any(bayes(x) != model(x))
    plain = tfpbnn.to_deterministic(bayes)
    np.testing.assert_array_equal(plain(x), model(x))


def test_adapted_and_quantized_layers():
    model = sequential()
    first, _, last = model.layers
    first.enable_lora(2)
    first.lora_kernel_b.assign(normal(2, 6))
    x = normal(3, 4)
    bayes = tfpbnn.to_variational(model)
    np.testing.assert_allclose(at_mean(bayes, x), model(x), rtol=1e-4)
    last.quantize("int8")
    with pytest.raises(ValueError, match=r"'last_one' of `model` is quantized"):
        tfpbnn.to_variational(model)


@pytest.mark.parametrize("policy", ["mixed_float16", "bfloat16", "float64"])
def test_precision(policy):
    keras.config.set_dtype_policy(policy)
    model, x = sequential(), normal(3, 4)
    bayes = tfpbnn.to_variational(model, moped=True)
    dtype = "float64" if policy == "float64" else "float32"
    assert bayes.layers[0].kernel_posterior.loc.dtype == dtype
    np.testing.assert_array_equal(at_mean(bayes, x), model(x))
    np.testing.assert_array_equal(tfpbnn.to_deterministic(bayes)(x), model(x))
