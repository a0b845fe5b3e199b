"""What can't be trained on two replicas, or is not as on one device."""

import warnings

import keras
import numpy as np
import tensorflow as tf

import tfpbnn
from tests.distribute.cases import X, Y, drawn, mlp
from tfpbnn.distribute import starting


def fit(strategy, make=mlp, *, loss="mse", scope=True, **kwargs):
    """Fits a model, made in the scope, with arguments of `compile`."""
    given = {"batch_size": kwargs.pop("batch_size", 16), "verbose": 0}
    given["callbacks"] = kwargs.pop("callbacks", None)
    with strategy.scope():
        model = make()
        if scope:
            compiled = {
                k: v() if k == "optimizer" else v for k, v in kwargs.items()
            }
            model.compile(**({"optimizer": "sgd", "loss": loss} | compiled))
    if not scope:
        model.compile("sgd", loss)
    return model.fit(X, Y, **given).history


def scalar(y, y_pred):
    return tf.reduce_mean((y - y_pred) ** 2)


def normalized():
    return mlp(keras.layers.BatchNormalization())


def penalized():
    sync = keras.layers.BatchNormalization(synchronized=True)
    return mlp(keras.layers.Dense(2, activity_regularizer="l2"), sync)


def convolved(strategy):
    with strategy.scope():
        model = tfpbnn.Sequential(
            [
                keras.Input((3, 3, 1)),
                tfpbnn.layers.Conv2DFlipout(1, 2),
                keras.layers.Flatten(),
            ]
        )
        model.compile("sgd", "mse")
    model.evaluate(np.ones((33, 3, 3, 1)), np.ones((33, 4)), verbose=0)


class OwnLoss(tfpbnn.Sequential):
    def compute_loss(self, *args, **kwargs):
        return super().compute_loss(*args, **kwargs) + 1.0


def own_loss():
    return OwnLoss([keras.Input((3,)), keras.layers.Dense(1)])


def ensemble(strategy, method):
    def member():
        return keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])

    with strategy.scope():
        model = tfpbnn.ensembles.DeepEnsemble(member, 2)
        model.compile("sgd", "mse")
    getattr(model, method)(X, Y, verbose=0)


def evaluated(strategy):
    with strategy.scope():
        model = normalized()
        model.compile("sgd", "mse")
    model.evaluate(X[:33], Y[:33], verbose=0)


def stock():
    return keras.Sequential([keras.Input((3,)), drawn(1)])


def outside(strategy):
    model = mlp()
    with strategy.scope():
        model.compile("sgd", "mse")
        model.fit(X, Y, verbose=0)


def parameter_servers(strategy):
    del strategy
    kind = tf.distribute.ParameterServerStrategy
    starting._check_kind(object.__new__(kind))


def alone(strategy):
    del strategy
    fit(tf.distribute.MultiWorkerMirroredStrategy())


def on_layout(strategy):
    devices = [f"cpu:{index}" for index in range(2)]
    layout = keras.distribution.DataParallel(devices=devices)
    keras.distribution.set_distribution(layout)
    try:
        fit(strategy)
    finally:
        keras.distribution.set_distribution(None)


def accumulating():
    return keras.optimizers.SGD(gradient_accumulation_steps=2)


def scaled():
    return keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())


def weighted():
    return [tfpbnn.callbacks.KLWeight(len(X))]


# name: what is called with the strategy, words of the error or the warning.
CASES = {
    "scalar": (lambda s: fit(s, loss=scalar), "one value for each row"),
    "no reduction": (
        lambda s: fit(
            s,
            lambda: tfpbnn.Sequential(
                [keras.Input((3,)), keras.layers.Dense(1)]
            ),
            loss=keras.losses.MeanSquaredError(reduction=None),
        ),
        "must have a reduction",
    ),
    "accumulation": (
        lambda s: fit(s, optimizer=accumulating),
        "`gradient_accumulation_steps` must be None",
    ),
    "float16": (lambda s: fit(s, optimizer=scaled), "mixed_bfloat16"),
    "jit": (lambda s: fit(s, jit_compile=True), "`jit_compile` must be"),
    "steps": (
        lambda s: fit(s, steps_per_execution=2),
        "`steps_per_execution` must be 1",
    ),
    "outside": (outside, "inside of `with strategy.scope():`"),
    "compiled outside": (
        lambda s: fit(s, scope=False),
        "inside of `with strategy.scope():`",
    ),
    "small batches": (
        lambda s: fit(s, batch_size=1),
        "batch_size=1 for 2 replicas",
    ),
    "no rows to normalize by": (
        lambda s: fit(s, normalized, batch_size=57),
        "synchronized=True",
    ),
    "normalized by what is known": (evaluated, "none"),
    "no rows to convolve": (convolved, "where images are convolved"),
    "a loss of one's own": (lambda s: fit(s, own_loss), "num_replicas_in_sync"),
    "members": (lambda s: ensemble(s, "fit"), "`executor` must be given"),
    "scores of members": (
        lambda s: ensemble(s, "evaluate"),
        "Use tfpbnn.evaluate",
    ),
    "normalized alone": (lambda s: fit(s, normalized), "synchronized=True"),
    "losses of calls": (lambda s: fit(s, penalized), "must not add losses"),
    "IVON": (
        lambda s: fit(
            s,
            lambda: tfpbnn.Sequential(
                [keras.Input((3,)), keras.layers.Dense(1)]
            ),
            optimizer=lambda: tfpbnn.optimizers.IVON(0.1, ess=58),
        ),
        "IVON trains on one device",
    ),
    "parameter servers": (parameter_servers, "ParameterServerStrategy"),
    "no workers": (alone, "`TF_CONFIG` must name the workers"),
    "layout": (on_layout, "set_distribution"),
    "stock": (
        lambda s: fit(s, stock, callbacks=weighted()),
        "tfpbnn.Model or tfpbnn.Sequential",
    ),
}


def message(strategy, name):
    """The error, or else the warnings, of a case; "none" without any."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            CASES[name][0](strategy)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return "\n".join(str(each.message) for each in caught) or "none"
