"""What processes with several devices run; they write JSON to a file."""

import contextlib
import json
import pathlib

import numpy as np
import tensorflow as tf

import tfpbnn

CPUS = [f"CPU:{index}" for index in range(4)]


def devices(count):
    """Makes logical devices of the CPU, before TensorFlow starts."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * count
    )


def write(path, results):
    pathlib.Path(path).write_text(json.dumps(results, default=plain))


def plain(value):
    return np.asarray(value).tolist()


def share_noise():
    """Gives all replicas the draws of one device."""
    tfpbnn.random.fold_replica = lambda key: key


def parity(path, *names):
    """Trains on one device, in the scope of one, and on two and four."""
    devices(4)
    share_noise()
    from tests.distribute import cases

    mirrored = tf.distribute.MirroredStrategy
    # Of strategies in one process only one may sum by collectives.
    simple = tf.distribute.ReductionToOneDevice()
    every = names or list(cases.CASES)
    found = {name: {} for name in every}
    for key, strategy, chosen in (
        ("plain", None, every),
        ("1", tf.distribute.OneDeviceStrategy(CPUS[0]), ["even"]),
        ("2", mirrored(CPUS[:2]), [n for n in every if n != "even"]),
        ("4", mirrored(CPUS, simple), ["deferred"]),
    ):
        scope = (
            contextlib.nullcontext() if strategy is None else strategy.scope()
        )
        with scope:
            for name in [name for name in chosen if name in found]:
                found[name][key] = attempt(cases.train, name)
                write(path, found)


def noise(path):
    """Draws, gradients and a restored training of several replicas."""
    devices(4)
    from tests.distribute import noises

    two = tf.distribute.MirroredStrategy(CPUS[:2])
    simple = tf.distribute.ReductionToOneDevice()
    four = tf.distribute.MirroredStrategy(CPUS, simple)
    found = {name: noises.draws(two, name) for name in noises.LAYERS}
    found["gradients"] = {
        "1": noises.gradients(tf.distribute.OneDeviceStrategy(CPUS[0])),
        "4": noises.gradients(four),
    }
    folder = pathlib.Path(path).parent
    for restarts in (0, 1):
        with two.scope():
            found[f"restarted {restarts}"] = noises.train(folder, restarts)
    write(path, found)


def errors(path):
    """What is refused, or warned of, on two replicas."""
    devices(2)
    from tests.distribute import refused

    strategy = tf.distribute.MirroredStrategy(CPUS[:2])
    write(path, {n: refused.message(strategy, n) for n in refused.CASES})


def attempt(function, *arguments, **kwargs):
    """The result, or the words of the error, for the test to show."""
    try:
        return function(*arguments, **kwargs)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
