"""Layers that draw, on several replicas."""

import keras
import numpy as np
import tensorflow as tf

import tfpbnn
from tests.distribute import cases, cluster
from tfpbnn import layers

LAYERS = {
    "reparameterization": lambda: layers.DenseReparameterization(4, seed=1),
    "local": lambda: layers.DenseLocalReparameterization(4, seed=1),
    "flipout": lambda: layers.DenseFlipout(4, seed=1),
    "dropout": lambda: layers.MCDropout(0.5, seed=1),
    "gaussian": lambda: layers.MCGaussianDropout(0.5, seed=1),
    "variational": lambda: layers.Variational(keras.layers.Dense(4), seed=1),
    "fused": lambda: layers.DenseReparameterization(1024, seed=1),
}


def draws(strategy, name):
    """Two calls of each replica, twice from the start; the layer's count."""
    found = []
    for _ in range(2):
        keras.utils.set_random_seed(1)
        with strategy.scope():
            layer = LAYERS[name]()
            layer.build((None, 16))

        @tf.function
        def call(layer=layer):
            rows = tf.ones([1, 16])
            return [layer(rows, training=True) for _ in range(2)]

        both = strategy.run(call)
        calls = [strategy.experimental_local_results(rows) for rows in both]
        found.append([[row[0, :16] for row in rows] for rows in calls])
    copies = strategy.experimental_local_results(layer.noise_state.value)
    return {"draws": found, "counts": [copy[1] for copy in copies]}


def gradients(strategy, units=500, steps=8):
    """Gradients of a batch of equal rows, `[steps, units]`."""
    with strategy.scope():
        layer = layers.DenseReparameterization(
            units, seed=2, use_bias=False, kernel_prior=None
        )
        layer.build((None, 1))
        loc = layer.kernel_posterior.loc
        loc.assign(tf.zeros_like(loc))

    @tf.function
    def step():
        def gradient():
            with tf.GradientTape() as tape:
                weights = layer(tf.ones([1, 1]), training=True)
                loss = tf.reduce_sum(weights**2)
            return tape.gradient(loss, loc.value)

        # `reduce` wants the values of replicas, not variables.
        return strategy.reduce("MEAN", strategy.run(gradient), axis=None)

    return [step()[0] for _ in range(steps)]


class Stop(keras.callbacks.Callback):
    """Raises in the third epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise InterruptedError


def train(folder, restarts):
    """The variables after four epochs, with or without a restart."""
    for left in range(restarts, -1, -1):
        keras.utils.set_random_seed(4)
        model = cluster.noisy()
        backup = tfpbnn.callbacks.BackupAndRestore(folder / f"of {restarts}")
        try:
            model.fit(
                cases.X,
                cases.Y,
                batch_size=16,
                epochs=4,
                shuffle=False,
                verbose=0,
                callbacks=[backup, *[Stop()] * left],
            )
        except InterruptedError:
            continue
    assert not backup.backup_dir.exists()
    return [np.asarray(v).tolist() for v in model.variables]
