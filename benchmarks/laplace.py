"""Laplace approximations: ours beside a plain epoch, and laplace-torch.

    python -m benchmarks.laplace --torch-python /path/to/venv/bin/python

10,000 rows, a network 784-512-512-10, batches of 128: the Kronecker factors of
the last layer (of 512 features), over an epoch of forward passes by `predict`;
and those of all layers, over an epoch of training by `fit`. Times are medians
of rounds that take turns, of everything but what a model is compiled for once:
that is in the first round, which is left out. With --torch-python (a Python
with laplace-torch) the same weights and rows are given to laplace-torch in a
process that runs in the same rounds. Processor time is that of all threads; it
counts on busy machines.
"""

import argparse
import functools
import json
import subprocess
import sys
import tempfile
import time

import numpy as np

BATCH, ROWS, WIDTHS = 128, 10_000, (784, 512, 512, 10)

_TORCH = """
import json, sys, time
import numpy as np, torch
from laplace import Laplace
from laplace.curvature import CurvlinopsGGN

data = np.load(sys.argv[1])
x, y = torch.tensor(data["x"]), torch.tensor(data["y"])
layers = []
for i in range(3):
    kernel, bias = data[f"w{2 * i}"], data[f"w{2 * i + 1}"]
    layer = torch.nn.Linear(*kernel.shape)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(kernel.T))
        layer.bias.copy_(torch.tensor(bias))
    layers += [layer, torch.nn.ReLU()]
model = torch.nn.Sequential(*layers[:-1])
rows = torch.utils.data.TensorDataset(x, y)
loader = torch.utils.data.DataLoader(rows, batch_size=int(sys.argv[2]))
for line in sys.stdin:
    start = time.perf_counter(), time.process_time()
    Laplace(
        model, "classification", subset_of_weights=line.strip(),
        hessian_structure="kron", backend=CurvlinopsGGN,
    ).fit(loader)
    stop = time.perf_counter(), time.process_time()
    print(json.dumps([stop[0] - start[0], stop[1] - start[1]]), flush=True)
"""


def network():
    import keras

    import tfpbnn

    keras.utils.set_random_seed(0)
    *hidden, last = WIDTHS[1:]
    model = keras.Sequential(
        [
            keras.Input(WIDTHS[:1]),
            *(keras.layers.Dense(n, activation="relu") for n in hidden),
            keras.layers.Dense(last),
        ]
    )
    model.compile("adam", tfpbnn.likelihoods.Categorical())
    return model


def timed(function):
    """Seconds by the clock, and of the processor."""
    start = time.perf_counter(), time.process_time()
    function()
    stop = time.perf_counter(), time.process_time()
    return [after - before for before, after in zip(start, stop, strict=True)]


def theirs(python, model, x, y, folder):
    """Functions that time laplace-torch, in a process of its own."""
    path = f"{folder}/data.npz"
    weights = {f"w{i}": w for i, w in enumerate(model.get_weights())}
    np.savez(path, x=x, y=y, **weights)
    process = subprocess.Popen(
        [python, "-c", _TORCH, path, str(BATCH)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip

    def run(subset):
        print(subset, file=process.stdin, flush=True)
        return json.loads(process.stdout.readline())

    return {
        "laplace-torch, last layer": functools.partial(run, "last_layer"),
        "laplace-torch, all": functools.partial(run, "all"),
    }


def functions(options, folder):
    """What is timed, each a function that returns its times."""
    import tfpbnn

    rows = 300 if options.smoke else ROWS
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, WIDTHS[0])).astype("float32")
    y = rng.integers(0, WIDTHS[-1], rows)
    model = network()

    def ours(subset):
        tfpbnn.laplace(model, x, y, subset, "kron", prior_precision=1.0)

    given = {"batch_size": BATCH, "verbose": 0}
    found = {
        "predict": lambda: timed(lambda: model.predict(x, **given)),
        "tfpbnn, last layer": lambda: timed(lambda: ours("last_layer")),
        "fit": lambda: timed(lambda: model.fit(x, y, **given)),
        "tfpbnn, all": lambda: timed(lambda: ours("all")),
    }
    if options.torch_python:
        found |= theirs(options.torch_python, model, x, y, folder)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--torch-python")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        each = functions(options, folder)
        times = {name: [] for name in each}
        for number in range(1 + (1 if options.smoke else options.rounds)):
            for name, function in each.items():
                found = function()
                if number:  # the first round warms up
                    times[name].append(found)
    print(f"{'':28}{'s':>8}{'epochs':>8}{'processor, s':>14}{'epochs':>8}")
    for name, found in times.items():
        is_last = "last" in name or name == "predict"
        epoch = np.array(times["predict" if is_last else "fit"])
        seconds, ratios = np.array(found), np.array(found) / epoch
        (clock, cpu), (of_clock, of_cpu) = np.median([seconds, ratios], axis=1)
        print(f"{name:28}{clock:8.2f}{of_clock:8.2f}{cpu:14.2f}{of_cpu:8.2f}")


if __name__ == "__main__":
    sys.exit(main())
