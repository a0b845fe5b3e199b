"""Attention layers as layers: weights, configs, training and saving."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.checks import check_save
from tests.layers.attention.table import (
    EVERY,
    SOME,
    B,
    Q,
    S,
    T,
    V,
    make,
    projections,
)
from tests.layers.table import ALL
from tfpbnn import layers
from tfpbnn.layers.kl import managed_weights


@pytest.mark.parametrize(("op", "estimator"), SOME)
def test_kl_is_that_of_each_projection_once(op, estimator):
    layer = make(op, estimator, kl_weight=0.5, use_gate=True)
    inputs = keras.Input((None, 6))
    model = keras.Model(inputs, layer(inputs, inputs) + layer(inputs, inputs))
    model(Q)
    expected = 0.0
    for projection in projections(layer).values():
        loc = projection.kernel_posterior.loc.numpy()
        scale = projection.kernel_posterior.scale.numpy()
        expected += np.sum((loc**2 + scale**2 - 1) / 2 - np.log(scale))
    assert len(model.losses) == 5
    np.testing.assert_allclose(sum(model.losses), expected / 2, rtol=1e-5)
    layer.trainable = False
    assert model.losses == []


@pytest.mark.parametrize(("op", "estimator"), SOME[1:])
def test_fit(op, estimator):
    """All weights train, at a KL weight that the callback has set."""
    layer = make(op, estimator, dropout=0.2, name="attention")
    inputs = keras.Input(Q.shape[1:])
    model = keras.Model(inputs, layer(inputs, inputs, use_causal_mask=True))
    weights = managed_weights(model)
    assert len(weights) == 4
    assert weights[0].path == "attention/query/kl_weight"
    before = [np.array(v) for v in model.trainable_variables]
    model.compile("adam", "mse", jit_compile=estimator == "Flipout")
    callback = tfpbnn.callbacks.KLWeight(num_examples=8)
    history = model.fit(
        Q, Q, batch_size=3, epochs=2, verbose=0, callbacks=[callback]
    )
    assert np.all(np.isfinite(history.history["loss"]))
    for weight in weights:
        # The loss averages over the steps too.
        np.testing.assert_allclose(weight, 1 / (8 * Q.shape[1]))
    for a, b in zip(before, model.trainable_variables, strict=True):
        if b.path != "attention/key/bias_posterior/loc":  # softmax ignores it
            assert np.any(a != b.numpy()), f"{b.path} was not trained"


def test_kl_weights_are_there_before_the_layer_is_built():
    model = keras.Sequential([make("GroupQueryAttention", "Flipout")])
    assert len(managed_weights(model)) == 4


@pytest.mark.parametrize(("op", "estimator"), SOME)
def test_mixed_precision(op, estimator):
    layer = make(op, estimator, dtype="mixed_float16", dropout=0.1)
    outputs, scores = layer(
        Q, Q, use_causal_mask=True, return_attention_scores=True, training=True
    )
    assert outputs.dtype == scores.dtype == "float16"
    assert np.all(np.isfinite(outputs))
    np.testing.assert_allclose(np.sum(scores, -1), 1, rtol=1e-2)
    assert {loss.dtype for loss in layer.losses} == {tf.float32}
    assert {v.dtype for v in layer.trainable_variables} == {"float32"}


@pytest.mark.parametrize(("op", "estimator"), SOME)
def test_shapes(op, estimator):
    layer = make(op, estimator)
    query, value = keras.Input((None, 6)), keras.Input((None, 4))
    outputs, scores = layer(query, value, return_attention_scores=True)
    heads = 2 if op == "MultiHeadAttention" else 4
    assert scores.shape == (None, heads, None, None)
    expected = layer.compute_output_shape(query.shape, value.shape)
    assert outputs.shape == expected == (None, None, 6)
    outputs, scores = keras.Model([query, value], [outputs, scores])([Q, V])
    assert (outputs.shape, scores.shape) == ((B, T, 6), (B, heads, T, S))
    layer = make("MultiHeadAttention", estimator, output_shape=(2, 3))
    assert layer(query, value).shape == (None, None, 2, 3)
    assert layer.compute_output_shape(Q.shape, V.shape) == (B, T, 2, 3)


# What a layer without an activation takes of all arguments.
FULL = {k: v for k, v in ALL.items() if k != "activation"} | {
    "dropout": 0.1,
    "sliding_window": 2,
    "use_gate": True,
    "kl_weight": 0.1,
    "free_bits": 0.5,
}


OF_MHA = {"value_dim": 4, "attention_axes": 1, "output_shape": (6, 2)}


@pytest.mark.parametrize(("op", "estimator"), EVERY)
def test_config(op, estimator):
    more = OF_MHA if op == "MultiHeadAttention" else {}
    for kwargs in ({}, FULL | more, {"use_bias": False}):
        layer = make(op, estimator, **kwargs)
        config = keras.saving.serialize_keras_object(layer)
        assert config["registered_name"] == f"tfpbnn>layers.{op}{estimator}"
        again = keras.saving.deserialize_keras_object(config, safe_mode=True)
        assert again.get_config() == layer.get_config()
        layer(Q, Q)
        assert again.get_config() == layer.get_config(), "building changed it"
        for name, value in kwargs.items():
            if isinstance(value, float | bool):
                assert layer.get_config()[name] == value


def test_layers_load_in_a_fresh_process(tmp_path):
    inputs = keras.Input((None, 6))
    found = [
        make("MultiHeadAttention", "LocalReparameterization"),
        make("MultiHeadAttention", "Flipout", **FULL | OF_MHA),
        make("GroupQueryAttention", "Reparameterization", **FULL),
    ]
    models = [keras.Model(inputs, layer(inputs, inputs)) for layer in found]
    check_save([(model, Q) for model in models], tmp_path)


def test_seed_decides_the_noise():
    def seeds(seed):
        layer = make("MultiHeadAttention", "Flipout", seed=seed, use_gate=True)
        layer.build(Q.shape, Q.shape)
        return [int(p.noise_state[0]) for p in projections(layer).values()]

    assert seeds(1) == seeds(1)
    assert len({*seeds(-1), *seeds(0), *seeds(1)}) == 15
    assert len({*seeds(None), *seeds(None)}) == 10


@pytest.mark.parametrize(("op", "estimator"), EVERY)
def test_arguments_are_those_of_keras(op, estimator):
    ours, theirs = getattr(layers, op + estimator), getattr(keras.layers, op)
    for method in ("__init__", "call"):
        found = inspect.signature(getattr(ours, method)).parameters.values()
        names = [p.name for p in found if p.kind is not p.KEYWORD_ONLY]
        known = list(inspect.signature(getattr(theirs, method)).parameters)
        newer = {"sliding_window", "use_gate", "flash_attention"} - set(known)
        assert [name for name in names if name not in newer] == known
