"""One network by eight methods: digits it knows, and letters it doesn't.

    TFPBNN_DATA=... python benchmarks/out_of_distribution.py [--seeds 3]

A small convolutional network learns 8,000 digits of MNIST. The other 2,000 say
how good its probabilities are, and 2,000 letters of notMNIST whether its
entropy tells that they are no digits. Prints a table in Markdown: means over
trainings by other seeds, with their mean 95 % intervals over test rows, and the
seconds of processor time that `fit` took, tracing included.
"""

import argparse
import contextlib
import gzip
import os
import pathlib
import sys
import time
import warnings

import keras
import numpy as np

import tfpbnn
from tfpbnn import ensembles, layers, metrics

NUM_TRAIN, NUM_TEST = 8_000, 2_000
BATCH_SIZE, RATE = 64, 0.05
COLUMNS = ("accuracy", "NLL", "ECE", "OOD AUROC", "s")


def images(folder, num_rows):
    path = folder / "t10k-images-idx3-ubyte.gz"
    pixels = np.frombuffer(gzip.decompress(path.read_bytes()), "uint8", -1, 16)
    return pixels.reshape(-1, 28, 28, 1)[:num_rows].astype("float32") / 255


def load(folder, smoke):
    """Digits and labels to train and to test on, and letters."""
    x = images(folder / "mnist", NUM_TRAIN + NUM_TEST)
    path = folder / "mnist" / "t10k-labels-idx1-ubyte.gz"
    y = np.frombuffer(gzip.decompress(path.read_bytes()), "uint8", -1, 8)
    letters = images(folder / "notmnist", NUM_TEST)
    num, test = (256, 200) if smoke else (NUM_TRAIN, NUM_TEST)
    last = slice(NUM_TRAIN, NUM_TRAIN + test)
    return (
        (x[:num], y[:num].astype("int32")),
        (x[last], y[last]),
        letters[:test],
    )


def network(rate=0.0):
    """The network, with MC dropout after its pooling if it has a rate."""

    def noise():
        return [layers.MCDropout(rate)] if rate else []

    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            *noise(),
            keras.layers.Dense(128, activation="relu"),
            *noise(),
            keras.layers.Dense(10),
        ]
    )


METHODS = {
    "deterministic": network,
    "MC dropout": lambda: network(0.25),
    "deep ensemble, 5": lambda: ensembles.DeepEnsemble(network, 5),
    "Flipout": lambda: tfpbnn.to_variational(network()),
    "local reparameterization": lambda: tfpbnn.to_variational(
        network(), estimator="local_reparameterization"
    ),
    "last layer": lambda: tfpbnn.to_variational(network(), "last"),
    "SWAG": network,
    "Rank-1, 4": lambda: ensembles.to_rank1(network(), 4),
}


def trained(name, x, y, epochs):
    """The posterior of a method, and the seconds of `fit`.

    SWAG needs a rate that stays, and takes five sets of weights an epoch; the
    rate of all others falls to 0.
    """
    model = METHODS[name]()
    steps = len(x) // BATCH_SIZE
    swag = []
    rate = keras.optimizers.schedules.CosineDecay(RATE, epochs * steps)
    if name == "SWAG":
        often = max(1, steps // 5)
        rate, swag = RATE, [ensembles.SWAG(epochs // 2, 20, often, "step")]
    loss = tfpbnn.likelihoods.Categorical()
    model.compile(keras.optimizers.SGD(rate, momentum=0.9), loss)
    start = time.process_time()
    model.fit(x, y, BATCH_SIZE, epochs, verbose=0, callbacks=swag)
    seconds = time.process_time() - start
    return (swag[0].posterior if swag else model), seconds


def scores(name, data, epochs, seed, n_boot):
    """Accuracy, NLL, ECE, AUROC and seconds, as in `COLUMNS`."""
    train, (x, y), letters = data
    keras.utils.set_random_seed(seed)
    posterior, seconds = trained(name, *train, epochs)
    draws = "mean" if name == "deterministic" else "auto"
    inside, outside = (
        tfpbnn.predict(posterior, rows, 50, draws=draws, seed=0, verbose=0)
        for rows in (x, letters)
    )
    pair = metrics.in_and_out(inside, outside, by="predictive_entropy")
    boot = {"n_boot": n_boot, "seed": 0}
    return [
        metrics.accuracy(y, inside, **boot),
        metrics.nll(y, inside, **boot),
        metrics.ece(y, inside, **boot),
        metrics.auroc(*pair, **boot),
        seconds,
    ]


def cell(values):
    """The mean over seeds, and their mean interval, if there is one."""
    if not isinstance(values[0], metrics.Estimate):
        return f"{np.mean(values):.0f}"
    low, high = np.mean([(v.lower, v.upper) for v in values], axis=0)
    return f"{np.mean(values):.3f} ({low:.3f}-{high:.3f})"


def line(name, runs):
    cells = [cell(values) for values in zip(*runs, strict=True)]
    return f"| {name} | " + " | ".join(cells) + " |"


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="train briefly")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    args = parser.parse_args(argv)
    if "TFPBNN_DATA" not in os.environ:
        sys.exit("TFPBNN_DATA must name the folder of mnist/ and notmnist/")
    data = load(pathlib.Path(os.environ["TFPBNN_DATA"]), args.smoke)
    seeds, epochs = (1, 4) if args.smoke else (args.seeds, args.epochs)
    runs = {name: [] for name in args.methods}
    for seed in range(seeds):
        for name, found in runs.items():
            # Progress goes where the table does not.
            with contextlib.redirect_stdout(sys.stderr):
                found.append(scores(name, data, epochs, seed, 500))
            print(seed, line(name, found[-1:]), file=sys.stderr, flush=True)
    print("| | " + " | ".join(COLUMNS) + " |")
    print("| --- " * (len(COLUMNS) + 1) + "|")
    for name, found in runs.items():
        print(line(name, found))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
