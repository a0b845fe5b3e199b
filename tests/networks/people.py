"""A model with the layers that people bring, an output for each of them."""

import contextlib

import keras
import numpy as np
import tensorflow as tf

from tfpbnn import random
from tfpbnn.ensembles.one_network.members import MemberModel
from tfpbnn.particles import Posterior

register = keras.saving.register_keras_serializable("people")


@register
class Shift(keras.layers.Layer):
    """Saves a number that is no weight."""

    shift = 0.0

    def call(self, x):
        return x + self.shift

    def save_own_variables(self, store):
        store["shift"] = np.asarray(self.shift)

    def load_own_variables(self, store):
        self.shift = float(np.asarray(store["shift"]))


@register
class Table(keras.layers.Layer):
    """Has a file of its own."""

    table = (0.0, 0.0, 0.0)

    def call(self, x):
        return x * keras.ops.convert_to_tensor(self.table, x.dtype)

    def save_assets(self, dir_path):
        np.save(f"{dir_path}/table.npy", self.table)

    def load_assets(self, dir_path):
        self.table = tuple(np.load(f"{dir_path}/table.npy").tolist())


@register
class Block(keras.layers.Layer):
    """Builds what it holds as it is called, and so in a graph."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = keras.layers.Normalization()
        self.dense = keras.layers.Dense(3)

    def call(self, x):
        return self.dense(self.norm(x))


@register
class Constant(keras.layers.Layer):
    """Has an array of which Keras knows nothing, and so doesn't save it."""

    factor = None

    def call(self, x):
        return x if self.factor is None else x * self.factor


NUMBERS = np.random.default_rng(0).normal(5, 3, (8, 3)).astype("float32")
COUNTS = np.random.default_rng(1).integers(3, 9, (8, 2))
WORDS = np.random.default_rng(2).choice(["red", "green", "blue"], (8, 1))
DATA = {
    "numbers": tf.constant(NUMBERS),
    "counts": tf.constant(COUNTS, "int32"),
    "words": tf.constant(WORDS),
}
_UNSAVED = ("constant",)


def fronts(shift=0.0):
    """Layers adapted to data that are moved, and the data that each takes."""
    one_hot = {"output_mode": "multi_hot"}
    layers = {
        "normalization": (keras.layers.Normalization(), "numbers"),
        "discretization": (
            keras.layers.Discretization(num_bins=3, **one_hot),
            "numbers",
        ),
        "integer_lookup": (keras.layers.IntegerLookup(**one_hot), "counts"),
        "string_lookup": (keras.layers.StringLookup(**one_hot), "words"),
        "text": (keras.layers.TextVectorization(**one_hot), "words"),
    }
    data = {**DATA, "numbers": NUMBERS + np.float32(shift)}
    if shift:
        data["words"] = tf.constant(np.where(WORDS == "red", "grey", WORDS))
        data["counts"] = data["counts"] + 1
    for layer, name in layers.values():
        layer.adapt(data[name])
    norm = keras.layers.BatchNormalization(trainable=False)
    norm.build((None, 3))
    norm.moving_mean.assign(NUMBERS.mean(axis=0) + shift)
    moved, table, constant, block = Shift(), Table(), Constant(), Block()
    block.norm.adapt(data["numbers"])
    moved.shift = 1.5 + shift
    table.table = (1.0, 2.0 + shift, 3.0)
    constant.factor = np.array([1.0, -1.0, 2.0], "float32") + shift
    return layers | {
        "hashing": (keras.layers.Hashing(5, **one_hot), "words"),
        "category": (keras.layers.CategoryEncoding(9, **one_hot), "counts"),
        "batch_norm": (norm, "numbers"),
        "own_variables": (moved, "numbers"),
        "own_assets": (table, "numbers"),
        "own_block": (block, "numbers"),
        "constant": (constant, "numbers"),
    }


def model(shift=0.0, names=None):
    """Each of the layers, and a small network behind it."""
    inputs = {
        name: keras.Input(x.shape[1:], dtype=x.dtype, name=name)
        for name, x in DATA.items()
    }
    outputs = {}
    for name, (layer, source) in fronts(shift).items():
        if names is None or name in names:
            x = keras.ops.cast(layer(inputs[source]), "float32")
            hidden = keras.layers.Dense(4, "tanh", name=f"{name}_in")(x)
            hidden = keras.layers.Dropout(0.1, name=f"{name}_drop")(hidden)
            outputs[name] = keras.layers.Dense(2, name=f"{name}_out")(hidden)
    return keras.Model(inputs, outputs)


def outputs_of(model, unsaved=True):
    """At the mean of a posterior; of an ensemble the mean of the outputs."""
    # Members have no mean of their own, and posteriors in a scope draw.
    has_mean = not isinstance(model, MemberModel | Posterior)
    scope = random.draw_scope(None) if has_mean else contextlib.nullcontext()
    with scope:
        found = model(DATA, training=False)
    return {
        name: np.asarray(y)[: len(NUMBERS)]
        for name, y in found.items()
        if unsaved or name not in _UNSAVED
    }
