"""Two workers, forked from a process that has made nothing yet."""

import json
import os
import pathlib
import signal
import socket
import sys
import time
import traceback

import keras
import numpy as np
import tensorflow as tf

import tfpbnn
from tests.distribute import programs

SECONDS = 500  # of a loaded machine


def run(folder):
    """Everything that takes two workers, in `folder`."""
    folder = pathlib.Path(folder)
    together(folder, "whole", whole)
    for victim, epoch in enumerate((2, 3)):
        killed = f"killed {victim}"
        together(folder, killed, interrupted, "backup", victim, epoch)
    together(folder, "again", interrupted, "backup")


def together(folder, name, program, *arguments):
    """Runs a program in two workers; ends both when one was killed."""
    ports = [free_port(), free_port()]
    children = {}
    for index in (0, 1):
        child = os.fork()
        if not child:
            alone(
                folder / f"{name} {index}.json",
                ports,
                index,
                program,
                folder,
                *arguments,
            )
        children[child] = index
    deadline = time.monotonic() + SECONDS
    try:
        while children and time.monotonic() < deadline:
            child, status = os.waitpid(-1, os.WNOHANG)
            if child:
                del children[child]
                if os.WIFSIGNALED(status):  # as launchers do
                    break
            time.sleep(0.05)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def alone(path, ports, index, program, folder, *arguments):
    """Runs a program as one worker, and never returns."""
    hosts = [f"127.0.0.1:{port}" for port in ports]
    os.environ["TF_CONFIG"] = json.dumps(
        {
            "cluster": {"worker": hosts},
            "task": {"type": "worker", "index": index},
        }
    )
    status = 1
    try:
        strategy = tfpbnn.distribute.strategy()
        found = program(strategy, index, folder, *arguments)
        programs.write(path, found)
        status = 0
    except BaseException:
        path.with_suffix(".error").write_text(traceback.format_exc())
    finally:
        sys.stderr.flush()
        os._exit(status)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def whole(strategy, index, folder):
    """Parity with one device, errors, and a training that nothing stops."""
    from tests.distribute import cases

    found = {"alone": {}, "shared": {}, "errors": {}}
    found["weights"] = interrupted(strategy, index, folder, "whole")
    programs.share_noise()
    for name in ("masked", "normalized"):
        if not index:  # one device need not be asked twice
            found["alone"][name] = programs.attempt(cases.train, name)
        with strategy.scope():
            found["shared"][name] = programs.attempt(cases.train, name)
    found["mean of y"] = shuffled(strategy)
    for name, change in DISAGREE.items():
        with strategy.scope():
            model = cases.mlp()
            model.compile("sgd", "mse")
        keras.utils.set_random_seed(1)
        x = cases.X[: len(cases.X) - change(model, index)]
        found["errors"][name] = programs.attempt(
            model.fit, x, cases.Y[: len(x)], 16, verbose=0
        )
    return found


def reseeded(model, index):
    keras.utils.set_random_seed(index)
    return 0


def unseeded(model, index):
    tf.random.set_seed(None)
    return 0


def other_rate(model, index):
    model.optimizer.learning_rate = 0.1 + index
    return 0


def fewer_rows(model, index):
    return index


def other_version(model, index):
    from tfpbnn.distribute import agreement

    agreement._version = lambda package: f"{package}-{index}"
    return 0


DISAGREE = {
    "seed": reseeded,
    "no seed": unseeded,
    "optimizer": other_rate,
    "rows": fewer_rows,
    "versions": other_version,
}


def shuffled(strategy):
    """The mean of the targets that two workers see in an epoch."""
    from tests.distribute import cases

    keras.utils.set_random_seed(3)
    with strategy.scope():
        model = cases.mlp()
        mean = keras.metrics.MeanMetricWrapper(lambda y, _: y, "seen")
        model.compile("sgd", "mse", metrics=[mean])
    history = model.fit(cases.X, cases.Y, batch_size=16, epochs=2, verbose=0)
    return history.history["seen"]


class Kill(keras.callbacks.Callback):
    """Kills its worker in the middle of an epoch; None for never."""

    def __init__(self, last):
        super().__init__()
        self.last, self.epoch = last, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch == self.last and batch == 1:
            os.kill(os.getpid(), signal.SIGKILL)


def interrupted(strategy, index, folder, name, victim=None, epoch=None):
    """The weights of a training, unless a worker is killed in an epoch."""
    from tests.distribute import cases

    keras.utils.set_random_seed(5)
    with strategy.scope():
        model = noisy()
    backup = tfpbnn.callbacks.BackupAndRestore(folder / name)
    kill = Kill(epoch if index == victim else None)
    model.fit(
        cases.X,
        cases.Y,
        batch_size=16,
        epochs=4,
        shuffle=False,
        verbose=0,
        callbacks=[backup, kill],
    )
    return [np.asarray(v).tolist() for v in model.variables]


def noisy():
    """A compiled network with all kinds of noise."""
    layers = [
        keras.Input((3,)),
        tfpbnn.layers.DenseFlipout(4, activation="tanh"),
        tfpbnn.layers.MCDropout(0.5),
        keras.layers.Dropout(0.2, seed=3),
        tfpbnn.layers.DenseReparameterization(1),
    ]
    model = tfpbnn.Sequential(layers)
    model.compile("adam", "mse")
    return model
