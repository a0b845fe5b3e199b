"""IVON beside Adam: 8,000 digits of MNIST to train on, 2,000 to test.

    TFPBNN_DATA=... python -m benchmarks.ivon [--seeds 3] [--epochs 15]

One network, 784-100-10, the same epochs and batches, and rates that decay as a
cosine. Adam has the better one of two rates on the test rows themselves, which
is in its favour. Prints each seed's accuracy and negative log-likelihood.
"""

import argparse
import math
import os
import pathlib
import sys

import keras
import numpy as np

import tfpbnn
from benchmarks.out_of_distribution import load

BATCH_SIZE, RATES = 128, (1e-3, 3e-3)


def network(optimizer, data, epochs):
    model = tfpbnn.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(100, activation="relu"),
            keras.layers.Dense(10),
        ]
    )
    model.compile(optimizer, loss=tfpbnn.likelihoods.Categorical())
    model.fit(*data, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)
    return model


def scores(posterior, data, **draws):
    found = tfpbnn.evaluate(posterior, *data, verbose=0, **draws)
    return found["accuracy"], found["nll"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=15)
    args = parser.parse_args()
    if "TFPBNN_DATA" not in os.environ:
        sys.exit("TFPBNN_DATA must name the folder that has mnist")
    train, test, _ = load(pathlib.Path(os.environ["TFPBNN_DATA"]), smoke=False)
    steps = math.ceil(len(train[0]) / BATCH_SIZE) * args.epochs
    cosine = keras.optimizers.schedules.CosineDecay
    rows = []
    for seed in range(args.seeds):
        found = {}
        for rate in RATES:
            keras.utils.set_random_seed(seed)
            adam = keras.optimizers.Adam(cosine(rate, steps))
            plain = network(adam, train, args.epochs)
            found[rate] = scores(plain, test, draws="mean")
        keras.utils.set_random_seed(seed)
        ivon = tfpbnn.optimizers.IVON(
            cosine(0.5, steps), hess_init=0.2, beta_2=1 - 2 / steps
        )
        posterior = ivon.posterior(network(ivon, train, args.epochs))
        best = min(found.values(), key=lambda score: score[1])
        rows.append([*best, *scores(posterior, test, num_samples=50)])
        print(seed, np.round(rows[-1], 4), flush=True)
    mean = np.mean(rows, axis=0)
    print(f"Adam: accuracy {mean[0]:.4f}, NLL {mean[1]:.4f}")
    print(f"IVON: accuracy {mean[2]:.4f}, NLL {mean[3]:.4f}")


if __name__ == "__main__":
    main()
