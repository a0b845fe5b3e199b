"""This checkout against another one, side by side: what a change costs.

A process for each, with the same cases, of public names alone; they take turns,
so that both see the same moods of the machine. Reported is the median over
rounds of the ratio of processor times in a round, and of the clock's.

    git worktree add /tmp/before HEAD~1
    python benchmarks/against.py /tmp/before [--rounds 9] [--only fit,export]
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

HERE = pathlib.Path(__file__).resolve()
STEPS, BATCH = 40, 128


def dense_network(kind: str) -> Any:
    import keras

    import tfpbnn

    layer = getattr(tfpbnn.layers, f"Dense{kind}")
    return tfpbnn.Sequential(
        [
            keras.Input((784,)),
            layer(512, activation="relu"),
            layer(512, activation="relu"),
            layer(10),
        ]
    )


def conv_network(kind: str) -> Any:
    import keras

    import tfpbnn

    conv = getattr(tfpbnn.layers, f"Conv2D{kind}")
    return tfpbnn.Sequential(
        [
            keras.Input((28, 28, 1)),
            conv(16, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            conv(32, 3, activation="relu"),
            keras.layers.Flatten(),
            getattr(tfpbnn.layers, f"Dense{kind}")(10),
        ]
    )


def data(*shape: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape).astype("float32")
    return x, rng.integers(0, 10, shape[0])


def fitting(make: Callable[[str], Any], kind: str, shape: Any) -> Any:
    import tfpbnn

    model = make(kind)
    model.compile("adam", loss=tfpbnn.likelihoods.Categorical())
    x, y = data(STEPS * BATCH, *shape)
    return lambda: model.fit(x, y, batch_size=BATCH, verbose=0)


def predicting(model: Any, shape: Any, rows: int, **how: Any) -> Any:
    import tfpbnn

    x, _ = data(rows, *shape)
    likelihood = tfpbnn.likelihoods.Categorical()

    def run() -> None:
        tfpbnn.predict(
            model, x, 100, verbose=0, seed=1, likelihood=likelihood, **how
        )

    return run


def head(inputs: Any) -> Any:
    """A plain network with a last layer that is variational."""
    import keras

    import tfpbnn

    body = [
        keras.layers.Dense(512, activation="relu"),
        keras.layers.Dense(512, activation="relu"),
    ]
    return keras.Sequential(
        [keras.Input(inputs), *body, tfpbnn.layers.DenseFlipout(10)]
    )


def dropout() -> Any:
    import keras

    import tfpbnn

    model = keras.Sequential([keras.Input((784,))])
    for width in (512, 512):
        model.add(keras.layers.Dense(width, activation="relu"))
        model.add(tfpbnn.layers.MCDropout(0.5))
    model.add(keras.layers.Dense(10))
    return model


def ensemble() -> Any:
    import keras

    import tfpbnn

    def build() -> Any:
        return keras.Sequential(
            [
                keras.Input((784,)),
                keras.layers.Dense(64, activation="relu"),
                keras.layers.Dense(10),
            ]
        )

    model = tfpbnn.ensembles.DeepEnsemble(build, num_members=8)
    model.compile("adam", loss=tfpbnn.likelihoods.Categorical())
    x, y = data(STEPS * BATCH, 784)
    return lambda: model.fit(x, y, batch_size=BATCH, verbose=0)


def exporting() -> Any:
    import tfpbnn

    model = dense_network("Flipout")
    model.compile("adam", loss=tfpbnn.likelihoods.Categorical())

    def run() -> None:
        folder = tempfile.mkdtemp()
        try:
            tfpbnn.export(model, f"{folder}/1", num_samples=8)
        finally:
            shutil.rmtree(folder)

    return run


def cases() -> dict[str, Callable[[], Any]]:
    """What makes each case; it is made when first asked for."""
    found: dict[str, Callable[[], Any]] = {}
    for kind in ("Reparameterization", "LocalReparameterization", "Flipout"):
        found[f"fit, dense, {kind}"] = lambda kind=kind: fitting(
            dense_network, kind, (784,)
        )
        found[f"fit, convolutional, {kind}"] = lambda kind=kind: fitting(
            conv_network, kind, (28, 28, 1)
        )
    for draws in ("coherent", "auto"):
        found[f"predict, all layers, {draws}"] = lambda draws=draws: predicting(
            dense_network("Flipout"), (784,), 1000, draws=draws
        )
        found[f"predict, last layer, {draws}"] = lambda draws=draws: predicting(
            head((784,)), (784,), 1000, draws=draws
        )
    found["predict, one row"] = lambda: predicting(
        dense_network("Flipout"), (784,), 1
    )
    found["predict, small last layer, 5000 rows"] = lambda: predicting(
        head((8,)), (8,), 5000, draws="coherent"
    )
    found["predict, MC dropout"] = lambda: predicting(dropout(), (784,), 1000)
    found["predict, convolutional"] = lambda: predicting(
        conv_network("Flipout"), (28, 28, 1), 100
    )
    found["fit, 8 members"] = ensemble
    found["export"] = exporting
    return found


def serve() -> None:
    """Runs the cases whose names come in, and tells their times."""
    made: dict[str, Any] = {}
    every = cases()
    for line in sys.stdin:
        name = json.loads(line)
        if name not in made:
            made[name] = every[name]()
            made[name]()  # compiles
        start = time.process_time(), time.perf_counter()
        made[name]()
        end = time.process_time(), time.perf_counter()
        found = [b - a for a, b in zip(start, end, strict=True)]
        print(f"\ntime {json.dumps(found)}", flush=True)


class Checkout:
    """A process that runs cases with the package of one checkout."""

    def __init__(self, path: str):
        env = os.environ | {"PYTHONPATH": path, "KERAS_BACKEND": "tensorflow"}
        self._process = subprocess.Popen(
            [sys.executable, str(HERE), "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=env,
        )

    def run(self, name: str) -> list[float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(name) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("time "):
                return json.loads(line.removeprefix("time "))
        raise RuntimeError(f"The process ended in the case {name!r}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("other", nargs="?", help="the other checkout's folder")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", help="parts of names, by commas")
    parser.add_argument("--serve", action="store_true")
    given = parser.parse_args()
    if given.serve:
        serve()
        return
    both = [Checkout(str(HERE.parents[1])), Checkout(given.other)]
    print(f"{'this over the other':40}{'processor':>11}{'25-75 %':>14}", end="")
    print(f"{'clock':>8}{'ms':>10}")
    for name in cases():
        if not any(part in name for part in given.only.split(",")):
            continue
        times = np.array(
            [[side.run(name) for side in both] for _ in range(given.rounds)]
        )
        ratios = times[:, 0] / times[:, 1]
        low, middle, high = np.quantile(ratios[:, 0], [0.25, 0.5, 0.75])
        clock, ms = np.median(ratios[:, 1]), 1e3 * np.median(times[:, 0, 1])
        spread = f"{low:.2f}-{high:.2f}"
        print(
            f"{name:40}{middle:11.3f}{spread:>14}{clock:8.3f}{ms:10.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
