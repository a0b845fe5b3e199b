"""Scores of a pool, against the predictions that they are of.

Batches of rows are predicted, scored, and the highest kept, as `ActiveLearner`
does with pools larger than memory. Ratios are of processor time, of all but
`predict` to `predict`, in one run; "million" is what a million rows would take.

    PYTHONPATH=. python benchmarks/acquisition.py
"""

import argparse
import time

import keras
import numpy as np

import tfpbnn
from tfpbnn import acquisition, layers, likelihoods

BATCH, FEATURES = 8192, 20


def models():
    def network(outputs, likelihood):
        model = tfpbnn.Sequential(
            [
                keras.Input((FEATURES,)),
                layers.DenseFlipout(100, activation="relu"),
                layers.DenseFlipout(outputs),
            ]
        )
        model.compile("adam", likelihood)
        return model

    return {
        "labels": network(10, likelihoods.Categorical()),
        "numbers": network(2, likelihoods.Normal()),
    }


ACQUISITIONS = {
    "labels": ["bald", "entropy", "variation_ratios", "margin", "mean_sd"],
    "numbers": ["bald", "epistemic_variance", "ucb"],
}


def measured(model, name, rows, samples):
    """The processor time of `predict`, and of all else, in seconds."""
    score, rng = getattr(acquisition, name), np.random.default_rng(0)
    predicting = others = 0.0
    best = np.zeros(0)
    for start in range(-BATCH, rows, BATCH):  # the first to trace
        x = rng.normal(size=(BATCH, FEATURES)).astype("float32")
        began = time.process_time()
        p = tfpbnn.predict(model, x, samples, seed=0, verbose=0)
        between = time.process_time()
        best = np.concatenate([best, score(p)])
        best = best[acquisition.top(best, 1000)]
        if start >= 0:
            predicting += between - began
            others += time.process_time() - between
    return predicting, others


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--samples", type=int, default=20)
    args = parser.parse_args()
    names = ["predict, s", "scores, s", "ratio", "million"]
    print(" " * 28 + "".join(f"{name:>12}" for name in names))
    for kind, model in models().items():
        for name in ACQUISITIONS[kind]:
            found = measured(model, name, args.rows, args.samples)
            ratio = found[1] / found[0]
            million = sum(found) * 1e6 / args.rows
            print(
                f"{kind + ', ' + name:28}{found[0]:12.2f}{found[1]:12.2f}"
                f"{ratio:12.2f}{million:10.0f} s"
            )


if __name__ == "__main__":
    main()
