"""Served answers, against the deterministic pass of the same export.

An MLP 784-512-512-10 with all layers variational, 32 draws, in TensorFlow's C
runtime without XLA, as a model server has it, in a process of its own. Rounds
are interleaved; ratios are of one round.

    PYTHONPATH=. python benchmarks/serving.py
"""

import argparse
import pathlib
import tempfile
import time

import keras
import numpy as np

import tfpbnn
from tests.exporting.runtimes import CRuntime

DRAWS = 32
ROWS = (1, 128)


def mlp() -> keras.Model:
    dense = tfpbnn.layers.DenseFlipout
    model = keras.Sequential(
        [
            keras.Input((784,), name="features"),
            dense(512, "relu"),
            dense(512, "relu"),
            dense(10),
        ]
    )
    model.compile("adam", loss=tfpbnn.likelihoods.Categorical())
    return model


def small() -> keras.Model:
    dense = tfpbnn.layers.DenseFlipout
    model = keras.Sequential(
        [keras.Input((8,), name="features"), dense(50, "relu"), dense(2)]
    )
    model.compile("adam", loss=tfpbnn.likelihoods.Normal())
    return model


def size(path: pathlib.Path) -> float:
    """In MB."""
    files = (file for file in path.rglob("*") if file.is_file())
    return sum(file.stat().st_size for file in files) / 1e6


def answers(
    runtime: CRuntime, folder: pathlib.Path, rounds: int
) -> dict[str, np.ndarray]:
    """Milliseconds of a request, the least of a few, by case and round."""
    x = np.random.default_rng(0).uniform(size=(128, 784)).astype("float32")
    cases = {}
    for rows in ROWS:
        seeds = np.arange(rows)
        for kind, signature, more in [
            ("fresh", "deterministic", {}),
            ("fresh", "serving_default", {}),
            ("fresh", "seeded", {"seed": seeds}),
            ("fixed", "serving_default", {}),
        ]:
            inputs = {"features": x[:rows]} | more
            cases[f"{rows} {kind} {signature}"] = kind, signature, inputs
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds + 1):
        for name, (kind, signature, inputs) in cases.items():
            count = 10 if name.startswith("1 ") else 3
            path = folder / kind
            found = runtime.timed(path, signature, count, **inputs)
            times[name].append(min(found) * 1e3)
    return {name: np.array(t[1:]) for name, t in times.items()}


def report(times: dict[str, np.ndarray]) -> None:
    head = f"{'ms':>8}{'ratio':>8}{'25-75 %':>14}{'of least':>10}"
    print(f"{'rows, draws, signature':34}{head}")
    for name, t in times.items():
        base = times[f"{name.split()[0]} fresh deterministic"]
        ratio = t / base
        low, high = np.quantile(ratio, [0.25, 0.75])
        line = f"{name:34}{np.median(t):8.2f}{np.median(ratio):8.1f}"
        line += f"{f'{low:.1f}-{high:.1f}':>14}"
        print(f"{line}{min(t) / min(base):10.1f}")


def exports(folder: pathlib.Path) -> None:
    model = mlp()
    tfpbnn.export(model, folder / "fresh", DRAWS)
    tfpbnn.export(model, folder / "fixed", DRAWS, draws="fixed")
    only = ["deterministic"]
    tfpbnn.export(model, folder / "deterministic", signatures=only)
    start = time.perf_counter()
    tfpbnn.export(small(), folder / "small")
    print(f"export of a small model: {time.perf_counter() - start:.1f} s")
    base = size(folder / "deterministic")
    for kind in ("fresh", "fixed"):
        found = size(folder / kind)
        print(f"{kind}: {found:.1f} MB, {found / base:.2f} of deterministic")


def requests(runtime: CRuntime, folder: pathlib.Path) -> None:
    x = np.ones([1, 784], "float32")
    for kind, signature in [
        ("fresh", "deterministic"),
        ("fresh", "serving_default"),
        ("fixed", "serving_default"),
    ]:
        _, errors, seconds = runtime.stress(
            folder / kind, signature, 8, 100, features=x
        )
        assert not errors, errors[0]
        print(f"8 threads, {kind} {signature}: {800 / seconds:.0f} requests/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    runtime = CRuntime()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        exports(folder)
        report(answers(runtime, folder, args.rounds))
        requests(runtime, folder)
    runtime.close()


if __name__ == "__main__":
    main()
