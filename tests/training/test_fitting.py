"""The training step of models, beside Keras's."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tfpbnn.training import optimizer_step


def compiled(base):
    """A model with a loss, metrics and added losses of a user's."""

    class Own(base):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(
                400, kernel_regularizer=keras.regularizers.L2(0.01)
            )
            self.drop = keras.layers.Dropout(0.5, seed=1)
            self.last = keras.layers.Dense(1)
            self.own = keras.metrics.Mean("own")

        def call(self, x, training=False):
            h = self.drop(self.dense(x), training=training)
            self.add_loss(tf.reduce_mean(h**2))
            return self.last(h)

        def compute_loss(self, x, y, y_pred, sample_weight):
            loss = super().compute_loss(x, y, y_pred, sample_weight)
            self.own.update_state(loss)
            return 2 * loss

        @property
        def metrics(self):
            return [self.own]

    keras.utils.set_random_seed(0)
    model = Own()
    model.compile("adam", "mse", weighted_metrics=["mae"])
    return model


def test_a_step_is_that_of_keras():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 400)), rng.normal(size=(50, 1))
    weights = rng.uniform(size=50)
    results = []
    for base in (keras.Model, tfpbnn.Model):
        model = compiled(base)
        logs = model.fit(
            x, y, 20, 2, sample_weight=weights, verbose=0, shuffle=False
        ).history
        results.append((logs, model.get_weights(), model))
    (logs, expected, _), (found, got, ours) = results
    kl = found.pop("kl", None)
    assert kl is None or not np.any(kl)
    assert found.keys() == logs.keys()
    for name, values in logs.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    assert "apply_gradients" not in vars(ours.optimizer)


X = np.random.default_rng(1).normal(3, 2, size=(50, 64)).astype("float32")
Y = np.random.default_rng(2).normal(size=(50, 1)).astype("float32")
WEIGHTS = np.random.default_rng(3).uniform(0, 2, size=50).astype("float32")
WORDS = np.random.default_rng(4).integers(0, 30, size=(50, 7))


class Scaled(keras.layers.Layer):
    """A user's layer with a weight and a loss of its own."""

    def build(self, input_shape):
        self.scale = self.add_weight((input_shape[-1],), "ones")

    def call(self, inputs):
        self.add_loss(1e-3 * keras.ops.sum(self.scale**2))
        return inputs * self.scale


def preprocessed(cls):
    normalization = keras.layers.Normalization()
    normalization.adapt(X)
    x = keras.Input((64,))
    h = keras.layers.Dense(2048, activation="relu")(Scaled()(normalization(x)))
    return cls(x, keras.layers.Dense(1)(keras.layers.BatchNormalization()(h)))


def named(cls):
    x = keras.Input((64,), name="x")
    h = keras.layers.Dense(2048, activation="relu")(x)
    names = ("a", "b")
    return cls(x, {n: keras.layers.Dense(1, name=n)(h) for n in names})


def masked(cls):
    x = keras.Input((None,), dtype="int32")
    h = keras.layers.Embedding(30, 64, mask_zero=True)(x)
    return cls(x, keras.layers.Dense(1)(keras.layers.LSTM(200)(h)))


def frozen(cls):
    x = keras.Input((64,))
    body = keras.layers.Dense(2048, trainable=False)
    h = keras.layers.Dense(64, activation="relu")(body(x))
    return cls(x, keras.layers.Dense(1)(h))


def batches():
    return tf.data.Dataset.from_tensor_slices((X, Y, WEIGHTS)).batch(16)


# A model, what it sees, and how `fit` is given data.
BROUGHT = {
    "sample weights": (
        preprocessed,
        X,
        lambda: {"x": X, "y": Y, "sample_weight": WEIGHTS},
    ),
    "a dataset": (preprocessed, X, lambda: {"x": batches()}),
    "names": (
        named,
        X,
        lambda: {
            "x": X,
            "y": {"b": Y, "a": 2 * Y},
            "sample_weight": {"a": WEIGHTS, "b": 2 * WEIGHTS},
        },
    ),
    "masks": (masked, WORDS, lambda: {"x": WORDS, "y": Y}),
    "a frozen part": (frozen, X, lambda: {"x": X, "y": Y}),
}


@pytest.mark.parametrize("case", BROUGHT)
def test_fits_are_those_of_keras_on_what_people_bring(case):
    """Logs and outputs, where there are enough weights for the fast step."""
    make, x, data = BROUGHT[case]
    logs, outputs = [], []
    for cls in (keras.Model, tfpbnn.Model):
        keras.utils.set_random_seed(3)
        model = make(cls)
        size = sum(np.prod(v.shape) for v in model.trainable_weights)
        assert size >= optimizer_step._MIN_SIZE
        # A scale of the loss cancels out; Keras can't with sparse gradients.
        scale = None if case == "masks" else 64.0
        optimizer = keras.optimizers.Adam(1e-2, loss_scale_factor=scale)
        model.compile(optimizer, "mse")
        rows = {} if case == "a dataset" else {"batch_size": 16}
        fit = model.fit(**data(), **rows, epochs=2, shuffle=False, verbose=0)
        logs.append(fit.history)
        outputs.append(keras.tree.flatten(model.predict(x, verbose=0)))
    assert logs[0].keys() == logs[1].keys()
    for name, values in logs[0].items():
        np.testing.assert_allclose(logs[1][name], values, rtol=1e-5)
    for a, b in zip(*outputs, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)
