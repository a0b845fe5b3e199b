"""One script for one CPU, several GPUs of a machine, and several machines.

It trains a small Bayesian network on scikit-learn's digits, and goes on from
its last backup if it was stopped. Nothing in it depends on where it runs:

    python train.py                # one CPU, or all GPUs of this machine
    python train.py --devices 2    # two logical devices of this CPU
    TF_CONFIG='{"cluster": {"worker": ["host1:2222", "host2:2222"]},
        "task": {"type": "worker", "index": 0}}' python train.py   # on host1

Start it on each machine with the `index` of that machine; launchers set
TF_CONFIG by themselves. All must reach the folder of `--backup`.
"""

import argparse
import pathlib
import tempfile

import keras
import numpy as np
import tensorflow as tf
from sklearn import datasets

import tfpbnn


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=64, help="of all")
    parser.add_argument("--backup", help="a folder that all workers reach")
    parser.add_argument("--weights", help="a file for the trained weights")
    parser.add_argument("--smoke", action="store_true", help="a quick run")
    return parser.parse_args()


def network():
    """Makes and compiles the model; it is called in the strategy's scope."""
    model = tfpbnn.Sequential(
        [
            keras.Input((64,)),
            tfpbnn.layers.DenseFlipout(64, activation="relu"),
            tfpbnn.layers.DenseFlipout(10),
        ]
    )
    optimizer = keras.optimizers.Adam(0.005)
    model.compile(
        optimizer, loss=tfpbnn.likelihoods.Categorical(), metrics=["accuracy"]
    )
    return model


def logical_devices(count):
    """Splits the CPU, to try several replicas where there is no GPU."""
    (cpu,) = tf.config.list_physical_devices("CPU")
    devices = [tf.config.LogicalDeviceConfiguration()] * count
    tf.config.set_logical_device_configuration(cpu, devices)


def main(options, folder):
    if options.devices > 1:
        logical_devices(options.devices)
    # The same seed in all workers: they shuffle the rows together.
    keras.utils.set_random_seed(1)
    strategy = tfpbnn.distribute.strategy()
    x, y = datasets.load_digits(return_X_y=True)
    x = (x / 16).astype("float32")
    order = np.random.default_rng(0).permutation(len(x))
    train, test = order[:1500], order[1500:]

    with strategy.scope():
        model = network()
    backup = tfpbnn.callbacks.BackupAndRestore(options.backup or folder)
    model.fit(
        x[train],
        y[train],
        batch_size=options.batch_size,
        epochs=2 if options.smoke else options.epochs,
        verbose=0,
        callbacks=[backup],
    )
    loss, accuracy = model.evaluate(x[test], y[test], verbose=0)
    replicas = strategy.num_replicas_in_sync
    print(f"{replicas} replicas: loss {loss:.6f}, accuracy {accuracy:.4f}")
    if options.weights:
        # Each worker has all weights; each writes where only it looks.
        model.save_weights(pathlib.Path(options.weights))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(arguments(), pathlib.Path(folder) / "backup")
