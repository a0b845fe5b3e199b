"""Networks and data that are trained on one device and on several replicas."""

import inspect

import keras
import numpy as np
import tensorflow as tf

import tfpbnn
from tfpbnn.layers import DenseReparameterization as Dense

RNG = np.random.default_rng(0)


def aligned(values, dtype="float32"):
    """An array that TensorFlow reads where it lies."""
    values = np.asarray(values, dtype)
    memory = np.zeros(values.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    array = memory[start : start + values.nbytes].view(dtype)
    array = array.reshape(values.shape)
    array[...] = values
    return array


X = aligned(RNG.normal(size=(58, 3)))
Y = aligned(X @ [[1.0], [-2.0], [0.5]] + 1)
W = aligned(RNG.uniform(0.1, 3, len(X)))
HELD_OUT = (X[:13], Y[:13], W[:13])
LABELS = RNG.integers(0, 3, len(X))
STEPS = RNG.normal(size=(58, 5, 3)).astype("float32")
STEPS[np.arange(5) >= RNG.integers(1, 6, 58)[:, None]] = 0.0  # padding
POSITIVE = (STEPS[..., 0] > 0).astype(int)
TOKENS = RNG.integers(0, 20, (58, 4))


def drawn(units, **kwargs):
    # A layer's own seed, else the second network would draw others.
    return Dense(units, seed=units, **kwargs)


def sync():
    return keras.layers.BatchNormalization(synchronized=True)


def mlp(*middle):
    layers = [keras.Input((3,)), drawn(4, activation="tanh"), *middle]
    return tfpbnn.Sequential([*layers, drawn(1)])


def by_row(y, y_pred):
    return tf.reduce_mean((y - y_pred) ** 2, axis=-1)


LOSSES = {
    "mean": keras.losses.MeanSquaredError(),
    "sum": keras.losses.MeanSquaredError(reduction="sum"),
    "weights": keras.losses.MeanSquaredError(
        reduction="mean_with_sample_weight"
    ),
    "function": by_row,
    "normal": tfpbnn.likelihoods.Normal(),
    "ignoring": keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=1
    ),
}


def many():
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    h = keras.layers.concatenate([drawn(4)(a), drawn(5)(b)])
    sizes = dict.fromkeys(LOSSES, 1) | {"normal": 2, "ignoring": 3}
    outputs = {name: drawn(size)(h) for name, size in sizes.items()}
    return tfpbnn.Model({"a": a, "b": b}, outputs)


def normalized():
    x, shared = keras.Input((3,)), drawn(3, activation="tanh")
    h = sync()(shared(shared(sync()(x))))
    h = keras.layers.Dense(4, "relu", kernel_regularizer="l2")(h)
    return tfpbnn.Model(x, sync()(drawn(1)(h)))


def masked():
    x = keras.Input((5, 3))
    h = drawn(4)(keras.layers.Masking()(x))
    return tfpbnn.Model(x, [drawn(2)(h), drawn(3)(h), drawn(2)(h)])


def embedded():
    layers = [keras.layers.Embedding(20, 3), keras.layers.Flatten(), drawn(1)]
    return tfpbnn.Sequential([keras.Input((4,), dtype="int32"), *layers])


class Subclassed(tfpbnn.Model):
    def __init__(self):
        super().__init__()
        self.hidden, self.last = drawn(4, activation="tanh"), drawn(1)

    def call(self, x):
        return self.last(self.hidden(x))


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        part = slice(16 * index, 16 * index + 16)
        return X[part], Y[part], W[part]


def batches():
    """A generator, which gives each batch once."""
    for start in range(0, len(X), 16):
        part = slice(start, start + 16)
        yield X[part], Y[part]


class Penalty(keras.layers.Layer):
    """Adds a mean over rows to the loss."""

    def call(self, x):
        self.add_loss(0.1 * tf.reduce_mean(x**2))
        return x


def penalized():
    layer = keras.layers.Dense(2, activity_regularizer="l2")
    return tfpbnn.Sequential([keras.Input((3,)), layer, Penalty(), drawn(1)])


def members():
    """Two members in one network."""
    network = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, "tanh", kernel_regularizer="l2"),
            keras.layers.Dense(1),
        ]
    )
    return tfpbnn.ensembles.to_batch_ensemble(network, 2)


def linear():
    return tfpbnn.Sequential([keras.Input((3,)), keras.layers.Dense(1)])


SGD = keras.optimizers.SGD
# name: network, arguments of `compile`, and of `fit`. Batches of 16 leave 10
# rows, of which 4 replicas have 3 or 1; of 9 they never divide; of 19 there is
# 1 at last, so that one of 2 replicas has none.
CASES = {
    "even": (mlp, {"loss": "mse"}, {"x": X[:48], "y": Y[:48]}),
    "losses": (
        many,
        {
            "loss": LOSSES,
            "loss_weights": dict.fromkeys(LOSSES, 0.5) | {"sum": 0.01},
            "metrics": {"mean": ["mae"], "ignoring": ["accuracy"]},
            "weighted_metrics": {"function": ["mse"]},
        },
        {
            "x": {"a": X, "b": X[::-1]},
            "y": dict.fromkeys(LOSSES, Y) | {"ignoring": LABELS},
            "sample_weight": dict.fromkeys(LOSSES, W) | {"mean": W**2},
            "batch_size": 9,
        },
    ),
    "masked": (
        masked,
        {
            "loss": [
                "mse",
                tfpbnn.likelihoods.Categorical(),
                keras.losses.MeanSquaredError(
                    reduction="mean_with_sample_weight"
                ),
            ]
        },
        {
            "x": STEPS,
            "y": [
                STEPS[..., :2],
                (STEPS[..., 0] > 0).astype(int),
                STEPS[..., 1:],
            ],
            "batch_size": 19,
        },
    ),
    "normalized": (
        normalized,
        {"loss": "mse", "metrics": ["mae"]},
        {
            "x": X,
            "y": Y,
            "batch_size": 16,
            "validation_data": (X[:13], Y[:13], W[:13]),
        },
    ),
    "clipped": (
        mlp,
        {"loss": "mse", "optimizer": lambda: SGD(0.1, global_clipnorm=0.5)},
        {"x": tf.data.Dataset.from_tensor_slices((X, Y, W)).batch(16)},
    ),
    "rows clipped": (
        embedded,
        {"loss": "mse", "optimizer": lambda: SGD(0.1, clipvalue=0.05)},
        {"x": TOKENS, "y": Y},
    ),
    "subclassed": (Subclassed, {"loss": "mse"}, {"x": Batches()}),
    "deferred": (
        lambda: tfpbnn.Sequential([drawn(4), drawn(1)]),
        {"loss": "mse"},
        {"x": X, "y": Y, "batch_size": 9},
    ),
    "sampler": (
        linear,
        {
            "loss": "mse",
            "optimizer": lambda: tfpbnn.optimizers.SGLD(1e-3, seed=1),
        },
        {"x": X, "y": Y},
    ),
    # The last batch has one row, so that a replica has none.
    "losses of calls": (
        penalized,
        {"loss": "mse"},
        {"x": X, "y": Y, "batch_size": 19},
    ),
    "members": (
        members,
        {"loss": "mse", "metrics": ["mae"]},
        {
            "x": X,
            "y": Y,
            "sample_weight": W,
            "batch_size": 19,
            "validation_data": (X[:17], Y[:17]),
        },
    ),
    "generator": (linear, {"loss": "mse"}, {"x": batches, "epochs": 1}),
    "fused": (
        lambda: mlp(drawn(160), drawn(160)),
        {"loss": "mse", "optimizer": lambda: keras.optimizers.Adam(1e-3)},
        {"x": X, "y": Y},
    ),
}


def train(name):
    """Logs and weights after two epochs, as plain lists."""
    keras.utils.set_random_seed(1)
    network, compiled, given = CASES[name]
    model = network()
    optimizer = compiled.get("optimizer", lambda: SGD(0.05))()
    model.compile(**(compiled | {"optimizer": optimizer}))
    settings = {"epochs": 2, "shuffle": False, "verbose": 0}
    if "y" in given:
        settings["batch_size"] = 16
    if inspect.isgeneratorfunction(given["x"]):
        given = given | {"x": given["x"]()}
    before = [array.copy() for array in (X, Y, W)]
    history = model.fit(**(settings | given)).history
    for array, old in zip((X, Y, W), before, strict=True):
        np.testing.assert_array_equal(array, old, "a step wrote into the data")
    noise = [v.numpy().tolist() for v in model.weights if "state" in v.name]
    weights = [
        v.numpy().tolist() for v in model.weights if "seed" not in v.name
    ]
    return {"logs": history, "weights": weights, "noise": noise}
