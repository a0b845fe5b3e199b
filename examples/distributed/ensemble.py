"""Trains the members of an ensemble on several machines, each in turn.

Members need nothing of each other: no strategy and no all-reduce. Worker w of W
trains the members w, w + W, ..., in one process for each device, and leaves
them in a folder that all workers reach. Whoever comes last has all of them:

    python local_workers.py 2 ensemble.py --directory /shared/members

On a machine alone, without TF_CONFIG, it trains all members.
"""

import argparse
import json
import os
import tempfile

import keras
import numpy as np

import tfpbnn


def member():
    model = keras.Sequential(
        [
            keras.Input((1,)),
            keras.layers.Dense(32, activation="tanh"),
            keras.layers.Dense(2),
        ]
    )
    loss = tfpbnn.likelihoods.Normal()
    model.compile(keras.optimizers.Adam(0.01), loss=loss)
    return model


def place():
    """Reads which worker this is, and of how many, from TF_CONFIG."""
    config = json.loads(os.environ.get("TF_CONFIG", "{}"))
    hosts = config.get("cluster", {}).get("worker", [""])
    return config.get("task", {}).get("index", 0), len(hosts)


def main(directory, epochs, num_members=4, devices=None):
    # The same seed in all workers: their members begin alike.
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (256, 1)).astype("float32")
    y = np.sin(3 * x) + rng.normal(0, 0.1, x.shape)
    ensemble = tfpbnn.ensembles.DeepEnsemble(member, num_members=num_members)
    worker, workers = place()
    with tfpbnn.ensembles.process_pool(devices=devices or ["CPU:0"]) as pool:
        ensemble.fit(
            x,
            y,
            epochs=epochs,
            verbose=0,
            executor=pool,
            directory=directory,
            members=range(worker, num_members, workers),
        )
    missing = ensemble.load_members(directory)
    if missing:
        print(f"worker {worker}: members {missing} are not there yet")
    else:
        p = tfpbnn.predict(ensemble, x[:3], verbose=0)
        print(f"worker {worker}: all members, means {p.mean.ravel().round(2)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", help="a folder that all workers reach")
    parser.add_argument("--devices", nargs="*", help="GPU:0 GPU:1 ...")
    parser.add_argument("--smoke", action="store_true", help="a quick run")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        epochs = 2 if given.smoke else 100
        main(given.directory or folder, epochs, devices=given.devices)
