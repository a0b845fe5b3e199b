"""Networks and data that are trained on one device and on several replicas."""

import keras
import numpy as np
import tensorflow as tf

import tfpbnn
from tfpbnn.layers import DenseReparameterization as Dense

RNG = np.random.default_rng(0)
X = RNG.normal(size=(58, 3)).astype("float32")
Y = (X @ [[1.0], [-2.0], [0.5]] + 1).astype("float32")
W = RNG.uniform(0.1, 3, len(X)).astype("float32")
LABELS = RNG.integers(0, 3, len(X))
STEPS = RNG.normal(size=(58, 5, 3)).astype("float32")
STEPS[np.arange(5) >= RNG.integers(1, 6, 58)[:, None]] = 0.0  # padding
TOKENS = RNG.integers(0, 20, (58, 4))


def drawn(units, **kwargs):
    # A layer's own seed, else the second network would draw others.
    return Dense(units, seed=units, **kwargs)


def mlp(*middle, outputs=1, shape=(3,)):
    return tfpbnn.Sequential(
        [keras.Input(shape), drawn(4, activation="tanh"), *middle]
        + [drawn(outputs)]
    )


def sync():
    return keras.layers.BatchNormalization(synchronized=True)


def masked():
    return tfpbnn.Sequential(
        [keras.Input((5, 3)), keras.layers.Masking(), drawn(4), drawn(2)]
    )


def shared():
    x, layer = keras.Input((3,)), drawn(3, activation="tanh")
    return tfpbnn.Model(x, drawn(1)(layer(layer(x))))


def two_headed():
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    h = keras.layers.concatenate([drawn(4)(a), drawn(5)(b)])
    outputs = {"mean": drawn(1)(h), "kind": drawn(3)(h)}
    return tfpbnn.Model({"a": a, "b": b}, outputs)


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


def by_row(y, y_pred):
    return tf.reduce_mean((y - y_pred) ** 2, axis=-1)


def dataset(*arrays, size=16):
    return tf.data.Dataset.from_tensor_slices(arrays).batch(size)


KINDS = {"mean": Y, "kind": LABELS}
BOTH = {"a": X, "b": X[::-1]}
LOSSES = {
    "mean": "mse",
    "kind": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
}


def mse(reduction):
    return keras.losses.MeanSquaredError(reduction=reduction)


def ignoring():
    return keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=1
    )


# name: network, loss, arguments of `fit`, arguments of `compile`. A global batch
# of 16 leaves 10 rows; of 9 it never divides; of 14 there are 2 rows at last,
# so that some of 4 replicas have none.
NORMAL = tfpbnn.likelihoods.Normal
CASES = {
    "even": (mlp, "mse", dict(x=X[:48], y=Y[:48]), {}),
    "ragged": (mlp, "mse", dict(x=X, y=Y), {}),
    "odd_first": (mlp, "mse", dict(x=X, y=Y, batch_size=9), {}),
    "empty": (mlp, "mse", dict(x=X, y=Y, batch_size=14), {}),
    "weights": (mlp, "mse", dict(x=X, y=Y, sample_weight=W), {}),
    "likelihood": (
        lambda: mlp(outputs=2),
        NORMAL(),
        dict(x=X, y=Y, sample_weight=W),
        {},
    ),
    "by_weights": (
        mlp,
        mse("mean_with_sample_weight"),
        dict(x=X, y=Y, sample_weight=W),
        {},
    ),
    "sums": (mlp, mse("sum"), dict(x=X, y=Y), {}),
    "function": (mlp, by_row, dict(x=X, y=Y, batch_size=9), {}),
    "ignored": (
        lambda: mlp(outputs=3),
        ignoring(),
        dict(x=X, y=LABELS, batch_size=9),
        {},
    ),
    "class_weight": (
        lambda: mlp(outputs=3),
        LOSSES["kind"],
        dict(x=X, y=LABELS, class_weight={0: 1.0, 1: 2.0, 2: 0.5}),
        {},
    ),
    "masked": (masked, "mse", dict(x=STEPS, y=STEPS[..., :2]), {}),
    "masked_likelihood": (
        masked,
        NORMAL(),
        dict(x=STEPS, y=STEPS[..., 0], batch_size=9),
        {},
    ),
    "shared": (shared, "mse", dict(x=X, y=Y), {}),
    "two_headed": (
        two_headed,
        LOSSES,
        dict(x=BOTH, y=KINDS, batch_size=9),
        dict(
            loss_weights={"mean": 2.0, "kind": 0.5},
            metrics={"mean": "mae", "kind": "accuracy"},
        ),
    ),
    "sync_first": (
        lambda: tfpbnn.Sequential([keras.Input((3,)), sync(), drawn(1)]),
        "mse",
        dict(x=X, y=Y),
        {},
    ),
    "sync_between": (lambda: mlp(sync()), "mse", dict(x=X, y=Y), {}),
    "sync_last": (
        lambda: tfpbnn.Sequential([keras.Input((3,)), drawn(1), sync()]),
        "mse",
        dict(x=X, y=Y, batch_size=14),
        {},
    ),
    "clipped": (
        mlp,
        "mse",
        dict(x=X, y=Y),
        dict(optimizer=lambda: keras.optimizers.SGD(0.1, global_clipnorm=0.5)),
    ),
    "clipped_by_value": (
        embedded,
        "mse",
        dict(x=TOKENS, y=Y),
        dict(optimizer=lambda: keras.optimizers.SGD(0.1, clipvalue=0.05)),
    ),
    "embedded": (embedded, "mse", dict(x=TOKENS, y=Y), {}),
    "subclassed": (Subclassed, "mse", dict(x=X, y=Y), {}),
    "deferred": (
        lambda: tfpbnn.Sequential([drawn(4), drawn(1)]),
        "mse",
        dict(x=X, y=Y, batch_size=9),
        {},
    ),
    "dataset": (mlp, "mse", dict(x=dataset(X, Y, W)), {}),
    "pydataset": (mlp, "mse", dict(x=Batches()), {}),
    "validated": (
        mlp,
        "mse",
        dict(x=X, y=Y, validation_data=(X[:13], Y[:13], W[:13])),
        dict(metrics=["mae"], weighted_metrics=["mse"]),
    ),
    "regularized": (
        lambda: mlp(keras.layers.Dense(3, kernel_regularizer="l2")),
        "mse",
        dict(x=X, y=Y),
        {},
    ),
    "sampler": (
        lambda: tfpbnn.Sequential(
            [keras.Input((3,)), keras.layers.Dense(1)]
        ),
        "mse",
        dict(x=X, y=Y),
        dict(optimizer=lambda: tfpbnn.optimizers.SGLD(1e-3, seed=1)),
    ),
    "adam_fused": (
        lambda: mlp(drawn(160), drawn(160), outputs=1),
        "mse",
        dict(x=X, y=Y),
        dict(optimizer=lambda: keras.optimizers.Adam(1e-3)),
    ),
}


def train(name):
    """Losses, metrics and weights after two epochs, as plain lists."""
    keras.utils.set_random_seed(1)
    network, loss, given, compiled = CASES[name]
    model = network()
    compiled = dict(compiled)
    optimizer = compiled.pop("optimizer", lambda: keras.optimizers.SGD(0.05))
    model.compile(optimizer(), loss, **compiled)
    settings = dict(batch_size=16, epochs=2, shuffle=False, verbose=0)
    if not hasattr(given["x"], "shape") and not isinstance(given["x"], dict):
        del settings["batch_size"]
    history = model.fit(**(settings | given)).history
    scores = {}
    if "sample_weight" not in given:
        scores = model.evaluate(
            given["x"], given.get("y"), verbose=0, return_dict=True
        )
    weights = {
        f"{index} {v.name}": v.numpy().tolist()
        for index, v in enumerate(model.weights)
        if "noise_state" not in v.path
    }
    states = [v.numpy().tolist() for v in model.weights if "state" in v.path]
    return {
        "history": history,
        "scores": scores,
        "weights": weights,
        "states": states,
    }
