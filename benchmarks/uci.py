"""Deep ensembles of five on UCI regression sets, over the standard splits.

    TFPBNN_DATA=... python -m benchmarks.uci [--splits 5] [--epochs 400]

Each member is 50 ReLU units and a Normal likelihood, on standardized data; a
fifth of the training rows choose each member's epoch.
"""

import argparse
import os
import pathlib
import sys
import warnings

import keras
import numpy as np

import tfpbnn

# Root mean squared error, and negative log-likelihood, of Lakshminarayanan et
# al. (2017): deep ensembles of five, over all 20 splits.
PUBLISHED = {
    "bostonHousing": (3.28, 2.41),
    "concrete": (6.03, 3.06),
    "energy": (2.09, 1.38),
    "yacht": (1.58, 1.18),
}


def build(features):
    return keras.Sequential(
        [
            keras.Input((features,)),
            keras.layers.Dense(50, activation="relu"),
            keras.layers.Dense(2),
        ]
    )


def standardized(x, train):
    mean, scale = x[train].mean(0), x[train].std(0)
    return (x - mean) / np.where(scale, scale, 1), scale


def scores(x, y, test, args):
    train = np.setdiff1d(np.arange(len(y)), test)
    x, _ = standardized(x, train)
    z, scale = standardized(y, train)
    ensemble = tfpbnn.ensembles.DeepEnsemble(
        lambda: build(x.shape[1]), num_members=5
    )
    ensemble.compile(
        keras.optimizers.Adam(args.learning_rate),
        loss=tfpbnn.likelihoods.Normal(),
    )
    stop = tfpbnn.ensembles.MemberEarlyStopping(
        patience=args.epochs, restore_best_weights=True
    )
    np.random.default_rng(0).shuffle(train)
    ensemble.fit(
        x[train],
        z[train],
        epochs=args.epochs,
        batch_size=32,
        validation_split=0.1,
        callbacks=[stop],
        verbose=0,
    )
    found = tfpbnn.evaluate(ensemble, x[test], z[test])
    return found["rmse"] * scale, found["nll"] + np.log(scale)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=400)
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--sets", nargs="*", default=list(PUBLISHED))
    args = parser.parse_args()
    if "TFPBNN_DATA" not in os.environ:
        sys.exit("TFPBNN_DATA must name the folder that has uci/*.npz")
    folder = pathlib.Path(os.environ["TFPBNN_DATA"]) / "uci"
    print(f"{'':15}{'RMSE':>14}{'published':>11}{'NLL':>14}{'published':>11}")
    for name in args.sets:
        data = np.load(folder / f"{name}.npz")
        rows = []
        for number, test in enumerate(data["test_index"][: args.splits]):
            keras.utils.set_random_seed(number)
            rows.append(scores(data["x"], data["y"], test[test >= 0], args))
        mean, error = np.mean(rows, 0), np.std(rows, 0) / len(rows) ** 0.5
        rmse, nll = PUBLISHED[name]
        print(
            f"{name:15}{mean[0]:7.2f} ± {error[0]:.2f}{rmse:11.2f}"
            f"{mean[1]:7.2f} ± {error[1]:.2f}{nll:11.2f}",
            flush=True,
        )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
