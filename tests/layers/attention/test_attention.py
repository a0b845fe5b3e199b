"""What multi-head and grouped-query attention compute, and refuse."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import reference
from tests.checks import draws
from tests.layers.attention.table import (
    EVERY,
    GQA,
    MHA,
    Q4,
    V4,
    B,
    K,
    Q,
    S,
    T,
    V,
    booleans,
    make,
    projections,
    scale_of,
    set_weights_of,
)
from tests.layers.table import ESTIMATORS, normal
from tests.statistics import assert_correlation, assert_moments
from tfpbnn import random

# The arguments of the layer, the inputs and the arguments of the call.
CASES = {
    "self": (MHA, (Q, Q), {}),
    "causal": (MHA, (Q, Q), {"use_causal_mask": True}),
    "cross": (
        MHA | {"value_dim": 5, "use_bias": False, "output_shape": 3},
        (Q, V, K),
        {"attention_mask": booleans(B, T, S)},
    ),
    "all masks": (
        MHA | {"output_shape": (2, 3)},
        (Q, V, K),
        {
            "value_mask": booleans(B, S),
            "key_mask": booleans(B, S),
            "attention_mask": booleans(T, S).astype("float32"),
            "use_causal_mask": True,
            "return_attention_scores": True,
        },
    ),
    "mask of heads": (
        MHA | {"dropout": 0.5},
        (Q, V),
        {"attention_mask": booleans(B, 2, T, S)},
    ),
    "one axis of two": (
        MHA | {"attention_axes": 2},
        (Q4, V4),
        {"value_mask": booleans(2, 3, 2), "return_attention_scores": True},
    ),
    "both axes": (MHA, (Q4, V4), {"return_attention_scores": True}),
    "axes in another order": (
        MHA | {"attention_axes": (2, 1)},
        (Q4, V4),
        {
            "attention_mask": booleans(4, 3, 2, 3),
            "return_attention_scores": True,
        },
    ),
    "window": (
        MHA | {"sliding_window": 2, "use_gate": True},
        (Q, Q),
        {"use_causal_mask": True},
    ),
    "groups": (GQA, (Q, Q), {"use_causal_mask": True}),
    "groups and masks": (
        GQA | {"use_bias": False},
        (Q, normal(B, S, 6), K),
        {
            "query_mask": booleans(B, T),
            "value_mask": booleans(B, S),
            "key_mask": booleans(B, S),
            "attention_mask": booleans(B, T, S),
            "return_attention_scores": True,
        },
    ),
    "one group, gated": (
        GQA | {"num_key_value_heads": 1, "use_gate": True, "sliding_window": 1},
        (Q, Q),
        {},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_no_scale_is_the_keras_layer(name):
    kwargs, inputs, call = CASES[name]
    op = (
        "MultiHeadAttention" if "num_heads" in kwargs else "GroupQueryAttention"
    )
    known = inspect.signature(getattr(keras.layers, op)).parameters
    if not set(kwargs) <= set(known):
        pytest.skip("this Keras has not all of the arguments")
    plain = getattr(keras.layers, op)(**kwargs, bias_initializer="normal")
    expected = plain(*inputs, **call)
    for estimator in ESTIMATORS:
        layer = make(op, estimator, **kwargs, kernel_posterior=scale_of(0))
        layer.build(*(x.shape for x in inputs))
        set_weights_of(layer, plain)
        found = layer(*inputs, **call)
        for a, b in zip(
            keras.tree.flatten(found), keras.tree.flatten(expected), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_axes_count_from_the_end_too():
    a, b = (
        make(
            "MultiHeadAttention",
            "Flipout",
            attention_axes=axes,
            kernel_initializer="ones",
            kernel_posterior=scale_of(0),
        )(Q4, V4)
        for axes in (2, -2)
    )
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_masks_that_inputs_carry_are_used_and_passed_on():
    ids = np.array([[1, 2, 3, 0], [4, 0, 0, 0]])
    embed = keras.layers.Embedding(5, 6, mask_zero=True)
    plain = keras.layers.MultiHeadAttention(**MHA)
    expected, _ = plain(embed(ids), embed(ids), return_attention_scores=True)
    layer = make("MultiHeadAttention", "Flipout", kernel_posterior=scale_of(0))
    layer(embed(ids), embed(ids))
    set_weights_of(layer, plain)
    found = layer(embed(ids), embed(ids))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    unmasked = layer(embed(ids) * 1, embed(ids) * 1)
    assert np.any(np.abs(unmasked - found)[ids > 0] > 1e-3)
    inputs = keras.Input((None,), dtype="int32")
    symbolic = layer(embed(inputs), embed(inputs))
    pooled = keras.layers.GlobalAveragePooling1D()(symbolic)
    mean = [
        np.mean(row[keep], 0) for row, keep in zip(found, ids > 0, strict=True)
    ]
    np.testing.assert_allclose(
        keras.Model(inputs, pooled)(ids), mean, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(("op", "estimator"), EVERY)
def test_a_draw_is_the_layer_with_the_drawn_weights(op, estimator):
    layer = make(
        op,
        estimator,
        use_gate=True,
        sliding_window=3,
        bias_posterior="mean_field_normal",
        bias_prior="normal",
        kernel_posterior=scale_of(0.3),
    )
    before = np.arange(T)[:, None] - np.arange(S)
    mask = booleans(B, T, S) | (before == 1)
    with random.draw_scope(random.as_key(3)) as scope:
        found = layer(Q, V, K, attention_mask=mask)
        keys = {n: scope.key_for(p) for n, p in projections(layer).items()}
    kernels, biases = {}, {}
    for name, projection in projections(layer).items():
        key = keys[name]
        (kernel,) = projection.kernel_posterior.draws(random.fold(key, 0)[None])
        (bias,) = projection.bias_posterior.draws(random.fold(key, 1)[None])
        kernels[name], biases[name] = kernel.numpy(), bias.numpy()
    allowed = mask & (np.abs(before) < 3)
    expected = reference.attention(Q, V, K, kernels, biases, allowed)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_draws_are_functions():
    """Rows share a draw, draws differ, and a seed gives them again."""
    inputs = keras.Input((None, 6))
    layer = make("MultiHeadAttention", "Flipout", kernel_posterior=scale_of(1))
    model = keras.Model(inputs, layer(inputs, inputs))
    found = draws(model, np.repeat(Q[:1], 2, axis=0), 3)
    np.testing.assert_allclose(found[:, 0], found[:, 1], rtol=1e-5)
    assert np.min(np.abs(found[1:] - found[:-1]).max((1, 2, 3))) > 0.1
    np.testing.assert_array_equal(draws(model, Q, 2), draws(model, Q, 2))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_moments_and_correlation(estimator):
    """With one key to attend to, outputs are `x @ value @ output`.

    That is a sum of products of independent Normals, nearly a Normal.
    """
    layer = make(
        "MultiHeadAttention",
        estimator,
        kernel_posterior=scale_of(0.1),
        kernel_initializer=keras.initializers.RandomNormal(stddev=1.0),
    )
    x = np.tile(normal(1, 1, 4), (2, 2, 1))
    first = np.array([[True, False]])
    layer.build(x.shape, x.shape)

    @tf.function(autograph=False)
    def run():
        return tf.map_fn(
            lambda _: layer(x[:, :1], x, attention_mask=first)[:, 0],
            tf.range(2500),
            parallel_iterations=1,
            fn_output_signature=tf.float32,
        )

    found = run().numpy()  # [S, 2, O]
    locs = [p.kernel_posterior.loc for p in projections(layer).values()]
    value = np.einsum("i,ihd->hd", x[0, 0], locs[2])[..., None]
    of_value = np.sum(x[0, 0] ** 2) * 0.1**2
    variance = value**2 * 0.1**2 + of_value * (np.square(locs[3]) + 0.1**2)
    mean = np.sum(value * locs[3], (0, 1))
    sd = np.sqrt(np.sum(variance, (0, 1)))
    assert_moments(found[:, 0], mean, sd, detects=0.3)
    correlation = 1 if estimator == "Reparameterization" else 0
    for k in range(4):
        assert_correlation(found[:, 0, k], found[:, 1, k], correlation)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_gradients_are_finite_where_all_is_masked(estimator):
    layer = make("MultiHeadAttention", estimator)
    with tf.GradientTape() as tape:
        outputs = layer(
            np.zeros_like(Q), np.zeros_like(Q), query_mask=np.zeros((B, T))
        )
        loss = tf.reduce_sum(outputs)
    for gradient in tape.gradient(loss, layer.trainable_variables):
        assert np.all(np.isfinite(gradient))


BAD = [
    ({"num_heads": 0}, "`num_heads` must be a positive integer.*num_heads=0"),
    ({"key_dim": 2.5}, "`key_dim` must be a positive"),
    ({"value_dim": 0}, "`value_dim` must be a positive"),
    ({"output_shape": (2, 0)}, r"`output_shape` must.*\(2, 0\)"),
    ({"attention_axes": "1"}, "`attention_axes` must be None, an int"),
    ({"attention_axes": ()}, "`attention_axes` must be None, an int"),
    ({"sliding_window": 0}, "`sliding_window` must be a positive"),
    ({"flash_attention": True}, "`flash_attention` must be None or False"),
    ({"dropout": 1.5}, "1.5"),
    ({"kernel_posterior": "gauss"}, "`kernel_posterior`.*mean_field"),
]


@pytest.mark.parametrize(("kwargs", "message"), BAD)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make("MultiHeadAttention", "Flipout", **kwargs)


def test_bad_groups_and_seeds():
    with pytest.raises(ValueError, match=r"must divide.*heads=3,.*heads=4"):
        make("GroupQueryAttention", "Flipout", num_key_value_heads=3)
    with pytest.raises(TypeError, match="`seed` must be None or an integer"):
        make("MultiHeadAttention", "Flipout", seed="x")


@pytest.mark.parametrize(
    ("kwargs", "inputs", "call", "message"),
    [
        ({}, (Q, Q4), {}, r"must have one rank.*\(3, 5, 6\)"),
        ({}, (Q, V, Q), {}, r"`key` and `value` must have equal axes"),
        ({"attention_axes": 1}, (Q4, V4), {}, r"except for \(1,\)"),
        ({}, (Q[0], Q[0]), {}, "`attention_axes`.*inputs of rank 2"),
        ({"attention_axes": 2}, (Q, Q), {}, r"`attention_axes`.*\(2,\)"),
        ({"attention_axes": (1, 1)}, (Q4, V4), {}, "must be different"),
        ({}, (Q4, V4), {"use_causal_mask": True}, "need one attended axis"),
        ({}, (Q, V), {"query_mask": booleans(B, S)}, r"`query_mask`.*\(3, 5\)"),
        ({}, (Q, V), {"value_mask": booleans(B, T)}, r"`value_mask`.*\(3, 4\)"),
        ({}, (Q, V, K), {"key_mask": booleans(S)}, r"`key_mask`.*shape \(4,\)"),
        ({}, (Q, V), {"attention_mask": booleans(B, S, T)}, "`attention_mask`"),
        ({}, (Q, V), {"attention_mask": booleans(S)}, r"shape \(4,\)"),
        (
            {},
            (Q, V),
            {"attention_mask": booleans(1, B, 2, T, S)},
            r"broadcast to .*\(3, 2, 5, 4\)",
        ),
    ],
)
def test_bad_inputs(kwargs, inputs, call, message):
    layer = make("MultiHeadAttention", "Flipout", **kwargs)
    with pytest.raises(ValueError, match=message):
        layer(*inputs, **call)
