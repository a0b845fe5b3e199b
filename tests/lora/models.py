"""Models that adapters are added to, and data for them."""

import functools

import keras
import numpy as np

from tests import hub

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 48)
IMAGES = RNG.normal(size=(48, 6, 6, 2)).astype("float32")
LOSS = "sparse_categorical_crossentropy"


@functools.cache
def network():
    """With convolution, normalization, attention, a model within, a head."""
    K = keras.layers
    inputs = keras.Input((6, 6, 2))
    h = K.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    h = K.BatchNormalization(name="norm")(h)
    h = K.Reshape((16, 4), name="tokens")(h)
    h = K.MultiHeadAttention(2, 3, name="attention")(h, h)
    h = K.GlobalAveragePooling1D(name="pool")(h)
    inner = keras.Sequential(
        [K.Input((4,)), K.Dense(6, activation="relu", name="hidden")],
        name="inner",
    )
    outputs = K.Dense(3, activation="softmax", name="head")(inner(h))
    model = keras.Model(inputs, outputs)
    for variable in model.weights:  # so that nothing is as it starts
        shift = RNG.normal(0, 0.2, variable.shape)
        variable.assign(
            keras.ops.absolute(variable + shift) * np.sign(shift)
            if "variance" not in variable.path
            else 1 + shift**2
        )
    return model


@functools.cache
def bert():
    return hub.classifier(num_layers=1)


@functools.cache
def tokens():
    return hub.inputs(48)
