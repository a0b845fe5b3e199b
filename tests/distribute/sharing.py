"""Processes with several devices, and several processes, that share work.

Each writes what it found to a file of JSON.
"""

import json
import os
import pathlib
import pickle
import socket
import sys
import time
import traceback

import numpy as np
import tensorflow as tf

CPUS = [f"CPU:{index}" for index in range(4)]


def devices(path):
    """Predicts and draws on one device, on two, and on four."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    four = [tf.config.LogicalDeviceConfiguration()] * 4
    tf.config.set_logical_device_configuration(cpu, four)
    from tests.distribute import predicting as p

    # Of strategies in one process only one may sum by collectives.
    simple = tf.distribute.ReductionToOneDevice()
    two, four = (
        tf.distribute.MirroredStrategy(CPUS[:n], simple) for n in (2, 4)
    )
    found, one_device = {}, {"scores": p.scores(), "chains": p.chains()}
    for name in p.CASES:
        one_device[name] = alone = p.predicted(name)
        # Each device of a strategy has its own trace, which takes its time.
        with (four if name in p.OF_FOUR else two).scope():
            found[name] = p.differences(p.predicted(name), alone)
    with two.scope():
        two_devices = p.predicted("coherent")
        numbers = p.numbers()
    found["numbers"] = p.differences(numbers, p.numbers())
    found["two"] = p.differences(two_devices, one_device["coherent"])
    found["used"], found["moved"] = p.places_used(four)
    found["chains"] = p.differences(p.chains(four), one_device["chains"])
    shared = p.chains(row_shards=2)
    found["rows"] = p.differences(p.chains(two, row_shards=2), shared)
    found["errors"] = p.errors(two, four)
    pathlib.Path(f"{path}.pickle").write_bytes(pickle.dumps(one_device))
    write(path, found)


def workers(folder, number, expected):
    """Predicts and draws as one of two workers."""
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    from tests.distribute import predicting as p
    from tfpbnn.distribute.workers import Workers

    known = Workers(strategy)
    found = {"worker": [known.index, known.count]}
    alone = pickle.loads(pathlib.Path(expected).read_bytes())
    with strategy.scope():
        for name in p.OF_WORKERS:
            found[name] = p.differences(p.predicted(name), alone[name])
        found["scores"] = p.differences(p.scores(), alone["scores"])
        found["seeds"] = p.means_of_any_seed()
    found["chains"] = p.differences(p.chains(strategy), alone["chains"])
    found["errors"] = p.errors_of_workers(strategy, known.index)
    found["shares"] = known.together(lambda: "x" * (1 + known.index))
    write(f"{folder}/{number}.json", found)


def fork(folder, expected):
    """Starts two workers, as forks of this process; ends with them."""
    with socket.socket() as a, socket.socket() as b:
        for one in (a, b):
            one.bind(("127.0.0.1", 0))
        ports = [one.getsockname()[1] for one in (a, b)]
    hosts = [f"127.0.0.1:{port}" for port in ports]
    children = [_worker(folder, number, expected, hosts) for number in range(2)]
    limit = time.monotonic() + 400
    while children and time.monotonic() < limit:
        ended = [pid for pid in children if os.waitpid(pid, os.WNOHANG)[0]]
        children = [pid for pid in children if pid not in ended]
        time.sleep(0.1)
    for pid in children:  # none is left over
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def _worker(folder, number, expected, hosts):
    pid = os.fork()
    if pid:
        return pid
    task = {"type": "worker", "index": number}
    cluster = {"cluster": {"worker": hosts}, "task": task}
    os.environ["TF_CONFIG"] = json.dumps(cluster)
    try:
        workers(folder, number, expected)
    except BaseException:
        write(f"{folder}/{number}.json", {"failed": traceback.format_exc()})
    finally:
        sys.stderr.flush()
        os._exit(0)


def write(path, found):
    text = json.dumps(found, default=lambda value: np.asarray(value).tolist())
    pathlib.Path(path).write_text(text)
