"""The density is Keras's loss and the priors, on what people bring."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

import tfpbnn
from tfpbnn.densities import log_density
from tfpbnn.densities.problem import Problem

ROWS = 12


class Own(keras.layers.Layer):
    """A user's layer, with a weight of its own."""

    def build(self, shape):
        self.scale = self.add_weight(name="scale", shape=(shape[-1],))

    def call(self, x):
        return x * (1 + self.scale)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(2)

    def call(self, x):
        return self.dense(x)

    def get_config(self):
        return {}


def numbers(*shape):
    return (
        np.random.default_rng(0).normal(size=(ROWS, *shape)).astype("float32")
    )


def normalized():
    layer = keras.layers.Normalization()
    x = 5 + 3 * numbers(3)
    layer.adapt(x)
    model = keras.Sequential([keras.Input((3,)), layer, keras.layers.Dense(2)])
    return model, x, numbers(1), tfpbnn.likelihoods.Normal()


def words():
    lookup = keras.layers.StringLookup(vocabulary=["a", "b", "c"])
    inputs = keras.Input((2,), dtype="string")
    h = keras.layers.Embedding(5, 3)(lookup(inputs))
    outputs = keras.layers.Dense(2)(keras.layers.Flatten()(h))
    x = np.array([["a", "b"], ["c", "zz"]] * (ROWS // 2))
    y = np.arange(ROWS) % 2
    loss = tfpbnn.likelihoods.Categorical()
    return keras.Model(inputs, outputs), x, y, loss


def masked(position):
    """Padding before or inside of what is random, and labels of -1 there."""

    def make():
        steps = np.arange(4) < np.arange(ROWS)[:, None] % 3 + 1
        y = np.where(steps, np.arange(4) % 2, -1)
        if position == "embedding":
            inputs = keras.Input((4,), dtype="int32")
            h = keras.layers.Embedding(6, 3, mask_zero=True)(inputs)
            x = np.where(steps, 1 + np.arange(4), 0)
        else:
            inputs = keras.Input((4, 2))
            h = keras.layers.Masking()(inputs)
            x = numbers(4, 2) * steps[..., None]
        outputs = keras.layers.Dense(2)(
            keras.layers.LSTM(3, return_sequences=True)(h)
        )
        loss = tfpbnn.likelihoods.Categorical()
        return keras.Model(inputs, outputs), x, y, loss

    return make


def several():
    inputs = {
        "a": keras.Input((2,), name="a"),
        "b": keras.Input((3,), name="b"),
    }
    h = keras.layers.Concatenate()([inputs["a"], inputs["b"]])
    h = keras.layers.Dense(3, activation="tanh")(h)
    outputs = {
        "mean": keras.layers.Dense(2, name="mean")(h),
        "label": keras.layers.Dense(3, name="label")(h),
    }
    x = {"b": numbers(3), "a": numbers(2)}
    y = {"mean": numbers(1), "label": np.arange(ROWS) % 3}
    loss = {
        "mean": tfpbnn.likelihoods.Normal(),
        "label": tfpbnn.likelihoods.Categorical(),
    }
    return keras.Model(inputs, outputs), x, y, loss


def own_layer():
    inputs = keras.Input((3,))
    h = Own()(inputs)
    outputs = keras.layers.Dense(2)(h + keras.ops.relu(h))
    loss = tfpbnn.likelihoods.Normal()
    return keras.Model(inputs, outputs), numbers(3), numbers(1), loss


def subclassed():
    model = Subclassed()
    model(np.zeros((1, 3), "float32"))
    return model, numbers(3), numbers(1), tfpbnn.likelihoods.Normal()


def frozen():
    inputs = keras.Input((8, 8, 1))
    h = keras.layers.Conv2D(2, 3)(inputs)
    h = keras.layers.BatchNormalization()(h)
    backbone = keras.Model(inputs, keras.layers.Flatten()(h))
    backbone.trainable = False
    model = keras.Sequential([backbone, keras.layers.Dense(2)])
    model.build((None, 8, 8, 1))
    return model, numbers(8, 8, 1), numbers(1), tfpbnn.likelihoods.Normal()


def keras_loss():
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(1)]
    )
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    return model, numbers(3), (numbers(1) > 0).astype(int), loss


CASES = {
    "normalization": normalized,
    "words": words,
    "embedding's mask": masked("embedding"),
    "masking": masked("masking"),
    "several": several,
    "own layer": own_layer,
    "subclassed": subclassed,
    "frozen": frozen,
    "Keras's loss": keras_loss,
}


def density_of(model, x, y, loss, weights=None):
    """The density, and its parameters."""
    problem = Problem(model, x, y, loss, "normal", True, weights)
    return problem.density, problem.parameters


def prior(model):
    weights = model.trainable_variables
    return sum(stats.norm.logpdf(np.asarray(w)).sum() for w in weights)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_the_sum_of_keras_losses_and_of_the_priors(case, weighted):
    model, x, y, loss = CASES[case]()
    weights = np.arange(ROWS).astype("float32") / 3 if weighted else None
    density, parameters = density_of(model, x, y, loss, weights)
    vector = parameters.vector_of([np.asarray(v) for v in parameters.variables])
    found = tf.function(density)(vector[np.newaxis], density.data)[0]
    model.compile("sgd", loss=loss)
    # Keras's mean over rows; a loss of one output at a time for dicts.
    given = weights
    if weighted and isinstance(y, dict):
        given = dict.fromkeys(y, weights)
    loss_of_keras = model.evaluate(
        log_density.tensors(x),
        y,
        sample_weight=given,
        batch_size=ROWS,
        verbose=0,
    )
    total = np.ravel(loss_of_keras)[0] * ROWS
    np.testing.assert_allclose(found, prior(model) - total, rtol=2e-5)


def head(units, activation=None):
    dense = keras.layers.Dense(units, activation=activation)
    return keras.Sequential([keras.Input((3,)), dense])


def pooled():
    inputs = keras.Input((4,), dtype="int32")
    h = keras.layers.Embedding(6, 3, mask_zero=True)(inputs)
    h = keras.layers.GlobalAveragePooling1D()(h)
    return keras.Model(inputs, keras.layers.Dense(1)(h))


def used_twice():
    inputs = keras.Input((3,))
    dense = keras.layers.Dense(3, activation="tanh")
    return keras.Model(inputs, keras.layers.Dense(1)(dense(dense(inputs))))


def half():
    policy = keras.dtype_policies.DTypePolicy("mixed_float16")
    dense = keras.layers.Dense(2, dtype=policy)
    return keras.Sequential([keras.Input((3,)), dense])


LABELS = np.arange(ROWS) % 4
PADDED = np.where(np.arange(4) < np.arange(1, ROWS + 1)[:, None], 3, 0)
FAR = 100 + 50 * numbers(1)
NORMAL = tfpbnn.likelihoods.Normal
# A model, inputs, targets and the loss that it is compiled with.
COMPILED = {
    "binary, by a string": lambda: (
        *(head(1, "sigmoid"), numbers(3)),
        *(numbers(1) > 0, "binary_crossentropy"),
    ),
    "one-hot": lambda: (
        *(head(4, "softmax"), numbers(3)),
        *(np.eye(4)[LABELS], "categorical_crossentropy"),
    ),
    "sparse": lambda: (
        *(head(4, "softmax"), numbers(3)),
        *(LABELS, "sparse_categorical_crossentropy"),
    ),
    "adapted": lambda: (head(2), numbers(3), FAR, NORMAL().adapt(FAR)),
    "mixed_float16": lambda: (half(), numbers(3), numbers(1), NORMAL()),
    "a mask that is pooled": lambda: (
        *(pooled(), PADDED, numbers(1)),
        NORMAL(scale=1.0),
    ),
    "a layer used twice": lambda: (
        *(used_twice(), numbers(3), numbers(1)),
        NORMAL(scale=1.0),
    ),
}


@pytest.mark.parametrize("case", COMPILED)
def test_compiled_losses_are_read(case):
    """The likelihood is the loss of Keras, of a model that was compiled."""
    model, x, y, loss = COMPILED[case]()
    model.compile("sgd", loss=loss)
    is_bool = y.dtype == bool  # which Keras takes as numbers alone
    total = ROWS * model.evaluate(x, y * 1.0 if is_bool else y, verbose=0)
    problem = Problem(model, x, y, None, "normal", True, None)
    parameters = problem.parameters
    vector = parameters.vector_of([np.asarray(v) for v in parameters.variables])
    found = problem.density.terms(vector)["likelihood"]
    rtol = 2e-3 if case == "mixed_float16" else 2e-5
    np.testing.assert_allclose(found, -total, rtol=rtol)


def test_chunks_and_chains_change_nothing(monkeypatch):
    model, x, y, loss = normalized()
    density, parameters = density_of(model, x, y, loss)
    vectors = np.stack(
        [parameters.sample(np.random.default_rng(i)) for i in range(3)]
    )

    def value_and_slope(density, vectors):
        tensor = tf.constant(vectors)
        with tf.GradientTape() as tape:
            tape.watch(tensor)
            value = tf.function(density)(tensor, density.data)
        return value.numpy(), tape.gradient(value, tensor).numpy()

    one_by_one = [value_and_slope(density, v[np.newaxis]) for v in vectors]
    together = value_and_slope(density, vectors)
    monkeypatch.setattr(log_density, "_ROWS", 5)
    chunked, _ = density_of(model, x, y, loss)
    assert len(chunked.data[2][0]) == 3
    in_chunks = value_and_slope(chunked, vectors)
    for i, part in enumerate(zip(*one_by_one, strict=True)):
        expected = np.concatenate(part)
        np.testing.assert_allclose(together[i], expected, rtol=2e-5, atol=1e-4)
        np.testing.assert_allclose(in_chunks[i], expected, rtol=2e-5, atol=1e-4)


def test_a_weight_counts_as_so_many_rows():
    model, x, y, loss = normalized()
    weights = np.arange(ROWS).astype("float32") % 3
    density, parameters = density_of(model, x, y, loss, weights)
    repeats = weights.astype(int)
    model2 = model
    x2, y2 = np.repeat(x, repeats, 0), np.repeat(y, repeats, 0)
    repeated, _ = density_of(model2, x2, y2, loss, np.ones(len(x2), "float32"))
    vector = parameters.sample(np.random.default_rng(0))[np.newaxis]
    np.testing.assert_allclose(
        density(vector, density.data),
        repeated(vector, repeated.data),
        rtol=2e-5,
    )


def test_a_fingerprint_tells_priors_and_layers_apart():
    """Or a checkpoint would go on with another density."""

    def fingerprint(prior, activation):
        layer = keras.layers.Dense(2, activation=activation)
        model = keras.Sequential([keras.Input((3,)), layer])
        model.set_weights([np.ones((3, 2)), np.ones(2)])
        loss = tfpbnn.likelihoods.Normal()
        problem = Problem(
            model, numbers(3), numbers(1), loss, prior, True, None
        )
        return problem.fingerprint()

    found = [
        fingerprint("normal", "tanh"),
        fingerprint("normal", "relu"),
        fingerprint(tfpbnn.priors.Normal(scale=2.0), "tanh"),
    ]
    assert found[0] == fingerprint("normal", "tanh")
    assert found[0] != found[1]
    assert found[0] != found[2]
