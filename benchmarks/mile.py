"""Microcanonical Langevin ensembles: ours beside sklearn-contrib-bde.

    TFPBNN_DATA=... python benchmarks/mile.py --bde-python PYTHON

Both begin chains at the members of a trained ensemble and go on by
microcanonical dynamics, on the same network (one hidden layer, a mean and a
scale), prior (Normal(0, 1)), split and number of members and of draws. Each has
its own tuning and number of moves. Each run is a process of its own, whose time
is that of everything, training included.
"""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

import numpy as np

SETS = ("concrete", "energy")
HIDDEN, MEMBERS, EPOCHS, RATE = 16, 8, 500, 0.01
# bde's moves in warm-up and afterwards, and draws of each chain.
WARMUP, MOVES, DRAWS = 5000, 2000, 100


def data(name):
    """Standardized x and y of the first split, and the scale of y."""
    folder = pathlib.Path(os.environ["TFPBNN_DATA"]) / "uci"
    found = np.load(folder / f"{name}.npz")
    test = found["test_index"][0]
    test = test[test >= 0]
    x, y = found["x"], found["y"][:, None]
    train = np.setdiff1d(np.arange(len(y)), test)
    x = (x - x[train].mean(0)) / x[train].std(0)
    scale = float(y[train].std())
    y = (y - y[train].mean()) / scale
    return x[train], y[train], x[test], y[test], scale


def ours(name, seed):
    """Log predictive densities of the test rows by `tfpbnn`."""
    import keras

    import tfpbnn

    x, y, x_test, y_test, _ = data(name)
    likelihood = tfpbnn.likelihoods.Normal()

    def build():
        return keras.Sequential(
            [
                keras.Input((x.shape[1],)),
                keras.layers.Dense(HIDDEN, activation="relu"),
                keras.layers.Dense(2),
            ]
        )

    keras.utils.set_random_seed(seed)
    ensemble = tfpbnn.ensembles.DeepEnsemble(build, MEMBERS)
    ensemble.compile(keras.optimizers.Adam(RATE), loss=likelihood)
    ensemble.fit(x, y, epochs=EPOCHS // 10, batch_size=len(x) // 10, verbose=0)
    posterior = tfpbnn.mcmc.sample(
        build(),
        x,
        y,
        "mclmc",
        likelihood=likelihood,
        init=ensemble,
        num_warmup=150,
        num_samples=DRAWS,
        max_tree_depth=6,
        seed=seed,
        verbose=0,
    )
    found = tfpbnn.evaluate(posterior, x_test, y_test)
    return -found["nll"]


def bde(name, seed):
    """The same by sklearn-contrib-bde."""
    flag = f"--xla_force_host_platform_device_count={os.cpu_count()}"
    os.environ["XLA_FLAGS"] = flag
    from bde import BdeRegressor
    from scipy.special import logsumexp
    from scipy.stats import norm

    x, y, x_test, y_test, _ = data(name)
    model = BdeRegressor(
        n_members=MEMBERS,
        hidden_layers=[HIDDEN],
        activation="relu",
        seed=seed,
        epochs=EPOCHS,
        lr=RATE,
        warmup_steps=WARMUP,
        n_samples=MOVES,
        n_thinning=MOVES // DRAWS,
    )
    model.fit(x, y[:, 0])
    raw = np.asarray(model.predict(x_test, raw=True))
    raw = raw.reshape((-1, *raw.shape[-2:])).astype("float64")
    scale = np.logaddexp(0, raw[..., 1]) + 1e-6
    logs = norm.logpdf(y_test[:, 0], raw[..., 0], scale)
    return float((logsumexp(logs, axis=0) - np.log(len(logs))).mean())


def run_one(name, method, seed):
    """Prints the figures of one run as JSON."""
    began = time.monotonic()
    density = (bde if method == "bde" else ours)(name, seed)
    used = resource.getrusage(resource.RUSAGE_SELF)
    figures = {
        "log_predictive_density": density - np.log(data(name)[-1]),
        "seconds": time.monotonic() - began,
        "processor_seconds": used.ru_utime + used.ru_stime,
    }
    print(json.dumps(figures))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    parser.add_argument("--methods", nargs="+", default=["ours", "bde"])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--bde-python", default=sys.executable)
    parser.add_argument("--one", nargs=3)
    arguments = parser.parse_args()
    if "TFPBNN_DATA" not in os.environ:
        sys.exit("TFPBNN_DATA must name the folder that has uci/*.npz")
    if arguments.one:
        name, method, seed = arguments.one
        run_one(name, method, int(seed))
        return
    for name in arguments.sets:
        for seed in range(arguments.repeats):
            for method in arguments.methods:
                is_ours = method == "ours"
                python = sys.executable if is_ours else arguments.bde_python
                out = subprocess.run(
                    [python, __file__, "--one", name, method, str(seed)],
                    check=True,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                ).stdout
                print(name, method, out.splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
