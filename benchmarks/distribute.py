"""The time of steps and predictions on two logical devices of the CPU.

A step is beside that of the same network on one device, and that of a plain
`keras.Sequential`, of which the loss is right for equal batches alone. All
train on the same batches, so each of two devices has half of the rows. Last
come predictions of 200,000 rows at 50 draws.

    python benchmarks/distribute.py
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from measure import arguments, calls, report, steps

import tfpbnn
from tfpbnn.layers import Convolution2DFlipout, DenseFlipout

ROWS, BATCH = 2048, 256


def mlp() -> tuple[tuple[int, ...], list[Any]]:
    layers = [DenseFlipout(512, activation="relu") for _ in range(2)]
    return (128,), [*layers, DenseFlipout(10)]


def conv() -> tuple[tuple[int, ...], list[Any]]:
    layers = [
        Convolution2DFlipout(16, 3, strides=2, activation="relu")
        for _ in range(2)
    ]
    layers += [keras.layers.GlobalAveragePooling2D(), DenseFlipout(10)]
    return (28, 28, 1), layers


def compiled(kind: Any, network: Any) -> Any:
    shape, layers = network()
    model = kind([keras.Input(shape), *layers])
    model.compile(
        keras.optimizers.Adam(1e-3), loss=tfpbnn.likelihoods.Categorical()
    )
    return model


def main(rounds: int) -> None:
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * 2
    )
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    rng = np.random.default_rng(0)
    for network in (mlp, conv):
        shape, _ = network()
        x = rng.normal(size=(ROWS, *shape)).astype("float32")
        y = rng.integers(0, 10, ROWS)
        with strategy.scope():
            models = {
                "keras.Sequential, two replicas": Weighted(
                    compiled(keras.Sequential, network)
                ),
                "tfpbnn.Sequential, two replicas": compiled(
                    tfpbnn.Sequential, network
                ),
            }
        models["tfpbnn.Sequential, one device"] = compiled(
            tfpbnn.Sequential, network
        )
        print(f"\n{network.__name__}, {BATCH} rows a step")
        report(steps(models, x, y, BATCH, rounds))
    report(predictions(strategy, rounds))


def predictions(strategy: Any, rounds: int) -> Any:
    """Those of a small network, by rows of two replicas and of one process."""
    x = np.random.default_rng(1).normal(size=(200_000, 16)).astype("float32")

    def network() -> tuple[tuple[int, ...], list[Any]]:
        return (16,), [DenseFlipout(64, activation="relu"), DenseFlipout(2)]

    with strategy.scope():
        shared = compiled(tfpbnn.Sequential, network)
    models = {
        "predict, one process": compiled(tfpbnn.Sequential, network),
        "predict, two replicas": shared,
    }
    print("\nprediction of 200,000 rows at 50 draws")
    return calls(
        {
            name: lambda model=model: tfpbnn.predict(model, x, 50, seed=0)
            for name, model in models.items()
        },
        rounds,
    )


class Weighted:
    """A Keras model whose `fit` is given the weight of the KL."""

    def __init__(self, model: Any):
        self.model = model

    def fit(self, x: Any, y: Any, **kwargs: Any) -> None:
        callback = tfpbnn.callbacks.KLWeight(len(y))
        self.model.fit(x, y, callbacks=[callback], **kwargs)


if __name__ == "__main__":
    main(arguments(__doc__ or "").rounds)
