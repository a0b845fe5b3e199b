"""Architectures of Keras and KerasHub, with random weights."""

import time

import keras
import numpy as np
import pytest

import tfpbnn
from tests import hub
from tfpbnn.layers.random_layer import RandomLayer

RNG = np.random.default_rng(0)


def assert_converts(model, x, **kwargs):
    bayes = tfpbnn.to_variational(model, **kwargs)
    plain = tfpbnn.to_deterministic(bayes)
    expected = keras.tree.flatten(model(x, training=False))
    found = keras.tree.flatten(plain(x, training=False))
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(a, b)
    return bayes


def converted_names(model):
    return [x.name for x in model.layers if isinstance(x, RandomLayer)]


def names_of(model, *classes):
    return [x.name for x in model.layers if isinstance(x, classes)]


def test_resnet50_within_ten_seconds():
    model = keras.applications.ResNet50(
        weights=None, input_shape=(32, 32, 3), classes=5
    )
    # Of the processor's time: other processes are not to fail it.
    start = time.process_time()
    bayes = tfpbnn.to_variational(model, moped=True)
    assert time.process_time() - start < 10
    expected = names_of(model, keras.layers.Conv2D, keras.layers.Dense)
    assert converted_names(bayes) == expected
    for old in model.layers:
        new = bayes.get_layer(old.name)
        if old.name in expected:
            np.testing.assert_array_equal(new.kernel_posterior.loc, old.kernel)
        else:
            assert type(new) is type(old)


def test_mobilenet():
    model = keras.applications.MobileNetV3Small(
        weights=None, input_shape=(32, 32, 3), classes=5
    )
    bayes = assert_converts(model, RNG.normal(size=(2, 32, 32, 3)))
    assert converted_names(bayes) == names_of(
        model, keras.layers.Conv2D, keras.layers.DepthwiseConv2D
    )


def test_a_small_bert_of_keras_hub():
    backbone, x = hub.backbone(), hub.inputs(2)
    assert_converts(backbone, x, moped=True)
    outputs = keras.layers.Dense(3, name="head")(
        backbone(backbone.input)["pooled_output"]
    )
    model = keras.Model(backbone.input, outputs)
    bayes = assert_converts(model, x, layers="last")
    assert type(bayes.get_layer(backbone.name)) is type(backbone)


def test_a_small_vit_of_keras_hub():
    hub = pytest.importorskip("keras_hub")
    backbone = hub.models.ViTBackbone(
        image_shape=(16, 16, 3),
        patch_size=8,
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        mlp_dim=16,
    )
    assert_converts(backbone, RNG.normal(size=(2, 16, 16, 3)))


def test_layers_without_a_counterpart_are_wrapped():
    inputs = keras.Input((6, 4))
    h = keras.layers.TimeDistributed(keras.layers.Dense(3))(inputs)
    h = keras.layers.GRU(3, name="gru")(h)
    model = keras.Model(inputs, keras.layers.Dense(2)(h))
    x = RNG.normal(size=(5, 6, 4)).astype("float32")
    bayes = assert_converts(model, x, moped=True)
    assert sum(isinstance(x, RandomLayer) for x in bayes.layers) == 3
    assert np.any(bayes(x) != model(x))


@pytest.mark.parametrize("name", ["LSTM", "GRU", "SimpleRNN"])
def test_recurrent_layers_have_counterparts(name):
    cls = getattr(keras.layers, name)
    model = keras.Sequential(
        [
            keras.Input((6, 4)),
            cls(3, return_sequences=True),
            keras.layers.Bidirectional(cls(3, use_bias=False)),
        ]
    )
    x = RNG.normal(size=(5, 6, 4)).astype("float32")
    bayes = assert_converts(model, x, moped=True)
    kinds = [type(layer).__name__ for layer in bayes.layers]
    assert kinds == [f"{name}Reparameterization", "Variational"]
    assert np.any(bayes(x) != model(x))
