"""Small networks of several kinds, and data for them."""

import keras
import numpy as np

import tfpbnn

rng = np.random.default_rng(0)
X = rng.normal(size=(50, 4)).astype("float32")
Y = rng.normal(size=50).astype("float32")
IMAGES = rng.normal(size=(40, 6, 6, 1)).astype("float32")
LABELS = rng.integers(0, 3, 40)
SERIES = rng.normal(size=(40, 5, 2)).astype("float32")


def mlp(width=8, activation="relu"):
    return keras.Sequential(
        [
            keras.Input((4,), name="features"),
            keras.layers.Dense(width, activation=activation),
            keras.layers.Dense(2),
        ]
    )


def cnn():
    inputs = keras.Input((6, 6, 1))
    y = keras.layers.Conv2D(4, 3, padding="same")(inputs)
    y = keras.layers.BatchNormalization(momentum=0.5)(y)
    y = keras.layers.ReLU()(y)
    y = keras.layers.Add()([y, keras.layers.Conv2D(4, 1)(inputs)])
    y = keras.layers.GlobalAveragePooling2D()(y)
    return keras.Model(inputs, keras.layers.Dense(3)(y))


def lstm():
    return keras.Sequential(
        [
            keras.Input((5, 2)),
            keras.layers.LSTM(4, recurrent_dropout=0.2, seed=1),
            keras.layers.Dropout(0.3, seed=2),
            keras.layers.Dense(3),
        ]
    )


def classification():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


CASES = {
    "mlp": (mlp, X, Y, tfpbnn.likelihoods.Normal),
    "cnn": (cnn, IMAGES, LABELS, classification),
    "lstm": (lstm, SERIES, LABELS, classification),
}


def differences(network, other):
    """The largest difference of each weight."""
    pairs = zip(network.get_weights(), other.get_weights(), strict=True)
    return max(np.abs(a - b).max() for a, b in pairs)
