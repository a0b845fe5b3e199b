"""Posteriors on UCI regression sets, over the standard splits.

    TFPBNN_DATA=... python -m benchmarks.uci [--splits 5] [--epochs 400]
    TFPBNN_DATA=... python -m benchmarks.uci --method ivon --epochs 100

A network is 50 ReLU units and a Normal likelihood, on standardized data. The
methods are deep ensembles of five, where a tenth of the training rows choose
each member's epoch; Flipout; and IVON. The latter two train for all epochs with
a rate that decays as a cosine and a standard Normal prior, and have 100 draws.
"""

import argparse
import math
import os
import pathlib
import sys
import warnings

import keras
import numpy as np

import tfpbnn

BATCH = 32
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


def ensemble(x, z, args):
    members = tfpbnn.ensembles.DeepEnsemble(
        lambda: build(x.shape[1]), num_members=5
    )
    members.compile(
        keras.optimizers.Adam(args.learning_rate),
        loss=tfpbnn.likelihoods.Normal(),
    )
    stop = tfpbnn.ensembles.MemberEarlyStopping(
        patience=args.epochs, restore_best_weights=True
    )
    members.fit(
        x,
        z,
        epochs=args.epochs,
        batch_size=BATCH,
        validation_split=0.1,
        callbacks=[stop],
        verbose=0,
    )
    return members


def trained(model, optimizer, x, z, args):
    model.compile(optimizer, loss=tfpbnn.likelihoods.Normal())
    model.fit(x, z, epochs=args.epochs, batch_size=BATCH, verbose=0)
    return model


def flipout(x, z, args):
    decay, _ = schedule(args.learning_rate, z, args)
    network = tfpbnn.Sequential(
        [
            keras.Input((x.shape[1],)),
            tfpbnn.layers.DenseFlipout(50, activation="relu"),
            tfpbnn.layers.DenseFlipout(2),
        ]
    )
    return trained(network, keras.optimizers.Adam(decay), x, z, args)


def ivon(x, z, args):
    decay, steps = schedule(0.1, z, args)
    optimizer = tfpbnn.optimizers.IVON(
        decay,
        hess_init=2.0,
        beta_2=1 - 3 / steps,
        weight_decay=1 / len(z),
        clip_radius=0.1,
    )
    network = tfpbnn.Sequential(build(x.shape[1]).layers)
    trained(network, optimizer, x, z, args)
    return optimizer.posterior(network)


def schedule(rate, z, args):
    steps = math.ceil(len(z) / BATCH) * args.epochs
    return keras.optimizers.schedules.CosineDecay(rate, steps), steps


METHODS = {"ensemble": ensemble, "flipout": flipout, "ivon": ivon}


def scores(x, y, test, args):
    train = np.setdiff1d(np.arange(len(y)), test)
    x, _ = standardized(x, train)
    z, scale = standardized(y, train)
    np.random.default_rng(0).shuffle(train)
    posterior = METHODS[args.method](x[train], z[train], args)
    draws = {} if args.method == "ensemble" else {"num_samples": 100}
    found = tfpbnn.evaluate(posterior, x[test], z[test], **draws)
    return found["rmse"] * scale, found["nll"] + np.log(scale)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", choices=METHODS, default="ensemble")
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
