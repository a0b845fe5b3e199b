"""What processes with several devices run; they write JSON to a file."""

import json
import pathlib

import numpy as np
import tensorflow as tf

import tfpbnn


def devices(count):
    """Makes logical devices of the CPU, before TensorFlow starts."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * count
    )


def mirrored(count):
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(count)])


def write(path, results):
    pathlib.Path(path).write_text(json.dumps(results, default=plain))


def plain(value):
    return np.asarray(value).tolist()


def share_noise():
    """Gives all replicas the draws of one device."""
    tfpbnn.random.fold_replica = lambda key: key


def parity(path, count, *names):
    """Trains on one device, on one replica and on several."""
    devices(int(count))
    share_noise()
    from tests.distribute import cases

    strategy = mirrored(int(count))
    found = {}
    for name in names or cases.CASES:
        try:
            one = cases.train(name)
            with strategy.scope():
                several = cases.train(name)
            found[name] = [one, several]
        except Exception as error:  # noqa: BLE001  the test reports it
            found[name] = f"{type(error).__name__}: {error}"
    write(path, found)
