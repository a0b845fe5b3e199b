"""Models as people bring them: words, lookups, quantized layers, masks.

To add one: a function here, and its name in `ALL`; `test_brought` does the
rest.
"""

import keras
import numpy as np
import tensorflow as tf

import tfpbnn
from tests.exporting.table import NOISY, Served, compiled
from tests.layers.table import normal
from tfpbnn import ensembles, layers, likelihoods

L = keras.layers
TEXT = np.array(["red car", "blue bus", "a red bus", "grey"])
COLOURS = np.array([["red"], ["blue"], ["green"], ["red"]])


def bayes(units=2, **kwargs):
    return layers.DenseFlipout(units, **NOISY | kwargs)


def of_words(*chain, x=COLOURS, dtype="string", **kwargs):
    given = keras.Input(x.shape[1:], dtype=dtype, name="words")
    model = compiled(keras.Sequential([given, *chain]))
    return Served(model, x, {"words": x}, **kwargs)


def vectorized(mode, **kwargs):
    layer = L.TextVectorization(output_mode=mode, **kwargs)
    layer.adapt(TEXT)
    return layer


def text_of_numbers():
    words = vectorized("int", output_sequence_length=3)
    chain = [words, L.Embedding(20, 3), L.Flatten(), bayes()]
    return of_words(*chain, x=TEXT[:, None], has_apart=True)


def text_of_counts():
    """Where Keras is wrong about the shape: it has one axis less."""
    return of_words(vectorized("multi_hot"), bayes(), x=TEXT[:, None])


def text_of_weights():
    """Of pairs of words, from rows that have no axis of their own."""
    words = vectorized("tf_idf", ngrams=2)
    return of_words(words, bayes(), x=TEXT, has_apart=True)


class Holds(L.Layer):
    """A user's, with its lookup deep in what it holds."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        look = L.StringLookup(vocabulary=["red"], output_mode="one_hot")
        self.parts = {"one": [look]}

    def call(self, x):
        return self.parts["one"][0](x)

    def compute_output_shape(self, shape):
        return (shape[0], 2)


def lookup_in_a_layer():
    return of_words(Holds(), bayes())


class Ranks(L.Layer):
    """A user's, with a table of TensorFlow's."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        pairs = tf.lookup.KeyValueTensorInitializer(["red", "blue"], [1.0, 2.0])
        self.table = tf.lookup.StaticHashTable(pairs, -1.0)

    def call(self, x):
        return self.table.lookup(x)

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, "float32")


def table_of_ones_own():
    return of_words(Ranks(), bayes())


def adapted_lookup():
    look = L.StringLookup(output_mode="multi_hot", num_oov_indices=2)
    look.adapt(COLOURS)
    return of_words(look, L.Dense(4, "tanh"), bayes(), has_apart=True)


def numbers_looked_up():
    x = np.array([[7, 7], [3, 9], [2**40, 3]])
    look = L.IntegerLookup(vocabulary=[7, 2**40], output_mode="count")
    return of_words(look, bayes(), x=x, dtype="int64", has_apart=True)


def hashed():
    chain = [L.Hashing(8), L.Embedding(8, 2), L.Flatten()]
    return of_words(*chain, bayes(), has_apart=True)


def binned():
    x = normal(4, 2)
    bins = L.Discretization([-0.5, 0.5], output_mode="multi_hot")
    given = keras.Input((2,), name="features")
    model = compiled(keras.Sequential([given, bins, bayes()]))
    return Served(model, x, {"features": x}, has_apart=True)


def looking(vocabulary, *chain):
    look = L.StringLookup(vocabulary=vocabulary, output_mode="one_hot")
    given = keras.Input((1,), dtype="string", name="words")
    return keras.Sequential([given, look, *chain, L.Dense(2)])


def dropped():
    plain = looking(["red", "blue"], L.Dense(16, "relu"), L.Dropout(0.5))
    model = tfpbnn.mc_dropout(compiled(plain))
    return Served(model, COLOURS, {"words": COLOURS}, has_apart=True)


def deep_of_lookups():
    """With the networks that its draws are."""
    model = ensembles.DeepEnsemble(lambda: looking(["red", "blue"]), 3)
    return compiled(model), model.members


def members_with_words_of_their_own():
    members = [looking(words) for words in (["red", "blue"], ["green", "red"])]
    model = ensembles.DeepEnsemble.from_models(members)
    return compiled(model), members


def swag_of_lookups():
    """With what it is at its mean."""
    model = looking(["red", "blue"])
    model.compile(keras.optimizers.SGD(0.1), loss=likelihoods.Normal())
    collect = ensembles.SWAG(start_epoch=0, rank=3)
    y = np.arange(4.0, dtype="float32")
    x = tf.constant(COLOURS)
    model.fit(x, y, epochs=5, callbacks=[collect], verbose=0)
    posterior = collect.posterior
    return posterior, [posterior]


class Force(L.Layer):
    """A user's: minus the slope of an energy, by a tape of its own."""

    def build(self, shape):
        self.energy = L.Dense(1, "tanh")
        self.energy.build(shape)
        super().build(shape)

    def call(self, x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            energy = self.energy(x)
        return -tape.gradient(energy, x)


def slopes():
    x = normal(4, 3)
    given = keras.Input((3,), name="places")
    model = compiled(keras.Sequential([given, Force(), bayes()]))
    return Served(model, x, {"places": x})


def quantized(mode):
    x = normal(4, 4)
    given = keras.Input((4,), name="features")
    chain = [L.Dense(16, "relu"), L.EinsumDense("ab,bc->ac", 6), bayes()]
    model = keras.Sequential([given, *chain])
    for layer in chain[:2]:
        layer.quantize(mode)
    return Served(compiled(model), x, {"features": x}, has_apart=True)


def int8():
    return quantized("int8")


def int4():
    return quantized("int4")


def float8():
    return quantized("float8")


def masked():
    """An output for each step, some of which are padded."""
    x = np.array([[1, 2, 0], [3, 0, 0], [1, 1, 1]])
    steps = keras.Input((3,), dtype="int64", name="steps")
    h = L.Embedding(5, 4, mask_zero=True)(steps)
    h = L.LSTM(4, return_sequences=True)(h)
    y = L.TimeDistributed(bayes())(h)
    model = compiled(keras.Model(steps, y))
    return Served(model, x, {"steps": x})


def nested_inputs():
    a, b, c = (keras.Input((n,), name=name) for n, name in enumerate("abc", 1))
    h = L.Concatenate()([2.0 * a, b, c])
    model = keras.Model({"left": [a, b], "right": {"x": c}}, bayes()(h))
    named = {"a": normal(3, 1), "b": normal(3, 2), "c": normal(3, 3)}
    x = {"left": [named["a"], named["b"]], "right": {"x": named["c"]}}
    return Served(compiled(model), x, named, has_apart=True)


def tuple_of_outputs():
    """By the names of their layers, one of which is a digit first."""
    x = keras.Input((3,), name="1st")
    y = (bayes(name="2nd-one")(x), bayes(1, name="label")(x))
    losses = [likelihoods.Normal(), likelihoods.Bernoulli()]
    rows = normal(3, 3)
    model = compiled(keras.Model(x, y), losses)
    return Served(model, rows, {"arg_1st": rows}, has_apart=True)


def one_after_another():
    """A model in a model, which has the words."""
    inner = looking(["red", "blue"])
    given = keras.Input((1,), dtype="string", name="words")
    model = compiled(keras.Model(given, bayes()(inner(given))))
    return Served(model, COLOURS, {"words": COLOURS}, has_apart=True)


def of_steps(*chain, wrap=lambda model: model):
    """With dropout in recurrent layers, of which Keras always makes masks."""
    x = normal(4, 3, 2)
    given = keras.Input((3, 2), name="steps")
    model = wrap(compiled(keras.Sequential([given, *chain])))
    return Served(model, x, {"steps": x})


def recurrent_dropout():
    both = L.Bidirectional(L.GRU(2, dropout=0.3, recurrent_dropout=0.2))
    return of_steps(both, L.Dense(2), wrap=tfpbnn.mc_dropout)


def recurrent_dropout_that_is_off():
    lstm = L.LSTM(2, dropout=0.3, return_sequences=True)
    return of_steps(lstm, bayes(3), L.GRU(2, recurrent_dropout=0.3), bayes())


ALL = (
    text_of_numbers,
    text_of_counts,
    text_of_weights,
    lookup_in_a_layer,
    table_of_ones_own,
    adapted_lookup,
    numbers_looked_up,
    hashed,
    binned,
    dropped,
    slopes,
    recurrent_dropout,
    recurrent_dropout_that_is_off,
    int8,
    int4,
    float8,
    masked,
    nested_inputs,
    tuple_of_outputs,
    one_after_another,
)
ENSEMBLES = (deep_of_lookups, members_with_words_of_their_own, swag_of_lookups)
