"""A trained network made Bayesian in one call, by a Laplace approximation.

A curve with a gap in its data: the network is as sure there as anywhere, until
the curvature of its posterior says that it isn't.

    python examples/laplace.py
"""

import argparse

import keras
import matplotlib
import numpy as np

import tfpbnn

matplotlib.use("Agg")
import matplotlib.pyplot as plt

NOISE = 0.1
KINDS = (
    ("last_layer", "full"),
    ("all", "diag"),
    ("all", "kron"),
    ("all", "low_rank"),
    ("all", "subnetwork"),
    ("all", "full"),
)


def data():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-3, -1, 60), rng.uniform(1, 3, 60)])
    y = np.sin(1.5 * x) + NOISE * rng.normal(size=120)
    return x[:, np.newaxis].astype("float32"), y.astype("float32")


def trained(x, y, epochs):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((1,)),
            keras.layers.Dense(20, activation="tanh"),
            keras.layers.Dense(20, activation="tanh"),
            keras.layers.Dense(1),
        ]
    )
    likelihood = tfpbnn.likelihoods.Normal(scale=NOISE)
    model.compile(keras.optimizers.Adam(0.01), likelihood)
    model.fit(x, y, 40, epochs, verbose=0)
    return model


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="train briefly")
    parser.add_argument("--figure", help="a file for the figure")
    args = parser.parse_args(argv)
    x, y = data()
    model = trained(x, y, 20 if args.smoke else 500)
    grid = np.linspace(-4, 4, 161, dtype="float32")[:, np.newaxis]
    figure, axes = plt.subplots(1, 6, figsize=(20, 3), sharey=True)
    columns = ("subset", "structure", "evidence", "in gap", "at data")
    print("".join(f"{column:>12}" for column in columns))
    for axis, (subset, structure) in zip(axes, KINDS, strict=True):
        posterior = tfpbnn.laplace(model, x, y, subset, structure)
        mean, covariance = posterior.output_moments(grid)
        mean, stddev = mean[:, 0], np.sqrt(covariance[:, 0, 0])
        assert np.all(np.isfinite(stddev))
        evidence = posterior.log_marginal_likelihood()
        is_seen = np.abs(np.abs(grid[:, 0]) - 2) < 1
        gap, seen = stddev[80], stddev[is_seen].mean()
        numbers = f"{evidence:12.1f}{gap:12.3f}{seen:12.3f}"
        print(f"{subset:>12}{structure:>12}{numbers}")
        axis.plot(x, y, ".", color="0.6")
        axis.plot(grid, mean)
        low, high = mean - 2 * stddev, mean + 2 * stddev
        axis.fill_between(grid[:, 0], low, high, alpha=0.3)
        axis.set(title=f"{subset}, {structure}", ylim=(-3, 3))
    if args.figure:
        figure.savefig(args.figure, bbox_inches="tight")


if __name__ == "__main__":
    main()
