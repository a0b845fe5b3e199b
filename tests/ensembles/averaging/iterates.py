"""Known weights for callbacks to collect, and the moments of them in NumPy."""

import keras
import numpy as np

L = keras.layers
RNG = np.random.default_rng(5)


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


def linear(units=2, inputs=3):
    """A network whose outputs are linear in its weights."""
    model = keras.Sequential([keras.Input((inputs,)), L.Dense(units)])
    model.compile("sgd", loss="mse", metrics=["mae"])
    return model


def classifier(*more):
    model = keras.Sequential(
        [keras.Input((3,)), L.Dense(6, "relu"), *more, L.Dense(2)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, metrics=["accuracy"])
    return model


def labelled(rows=32):
    x = normal(rows, 3)
    return x, (x[:, 0] > 0).astype("int32")


def iterates(model, count, loc=0.0, scale=1.0):
    """Sets of weights that are not independent of each other."""
    mixed = [np.cumsum(normal(count, *v.shape), axis=0) for v in model.weights]
    sets = [loc + scale * values for values in mixed]
    return [list(values) for values in zip(*sets, strict=True)]


def feed(callback, model, sets, first_epoch=0, epochs=None):
    """What `fit` does with a callback, with weights of our own."""
    callback.set_model(model)
    callback.set_params({"epochs": epochs or len(sets), "steps": 1})
    callback.on_train_begin()
    for number, weights in enumerate(sets):
        callback.on_epoch_begin(first_epoch + number)
        model.set_weights(weights)
        callback.on_train_batch_end(0)
        callback.on_epoch_end(first_epoch + number)


def flat(values):
    return np.concatenate([np.ravel(np.asarray(v, "float64")) for v in values])


def closed_form(sets, rank):
    """The mean, variances and deviations `[K, P]` of sets of weights."""
    points = np.stack([flat(weights) for weights in sets])
    running = np.cumsum(points, axis=0) / np.arange(1, len(points) + 1)[:, None]
    return points.mean(0), points.var(0), (points - running)[-rank:]


def covariance(sets, rank):
    _, variances, deviations = closed_form(sets, rank)
    low_rank = deviations.T @ deviations / (len(deviations) - 1)
    return 0.5 * (np.diag(variances) + low_rank)


def columns_of(posterior):
    """The posterior's deviations as `[K, P]`."""
    return np.concatenate(
        [
            keras.ops.convert_to_numpy(v).reshape(posterior.num_columns, -1)
            for v in posterior.deviations
        ],
        axis=1,
    )
