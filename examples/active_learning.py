"""Which digits to label next? BALD against chance, from 20 labels on.

Of scikit-learn's digits only 20 have labels. Each round a variational network
asks for 10 more: those whose labels tell most about its weights (BALD), such
rows at random in proportion (PowerBALD), or any rows. The table has the area
under the curve of test accuracy, the mean over all rounds, for five seeds.

    python examples/active_learning.py
"""

import argparse

import keras
import numpy as np
from sklearn import datasets, model_selection

import tfpbnn
from tfpbnn.acquisition import ActiveLearner
from tfpbnn.layers import DenseFlipout

STRATEGIES = {"BALD": "top", "PowerBALD": "power", "random": "random"}
COLORS = {"BALD": "#2a6f97", "PowerBALD": "#e08e45", "random": "#8d99ae"}


def model_fn():
    model = tfpbnn.Sequential(
        [
            keras.Input((64,)),
            DenseFlipout(64, activation="relu", kernel_prior="he_normal"),
            DenseFlipout(10, kernel_prior="he_normal"),
        ]
    )
    likelihood = tfpbnn.likelihoods.Categorical()
    model.compile(keras.optimizers.Adam(5e-3), likelihood)
    return model


def learning_curve(selector, seed, rounds, epochs):
    """Counts labels, and the test accuracy with each number of them."""
    x, y = datasets.load_digits(return_X_y=True)
    x = (x / 16).astype("float32")
    x, x_test, y, y_test = model_selection.train_test_split(
        x, y, test_size=0.4, random_state=0, stratify=y
    )
    order = np.random.default_rng(seed).permutation(len(y))
    first, pool = order[:20], order[20:]
    learner = ActiveLearner(
        model_fn,
        pool=x[pool],
        oracle=lambda _, rows: y[pool][rows],
        x=x[first],
        y=y[first],
        acquisition="bald",
        selector=selector,
        query_size=10,
        warm_start=True,
        fit={"epochs": epochs, "batch_size": 20},
        predict={"num_samples": 50},
        test=(x_test, y_test),
        seed=1000 * seed,
    ).run(rounds)
    labels = [entry["num_labels"] for entry in learner.log]
    return labels, [entry["accuracy"] for entry in learner.log]


def plot(labels, curves, path):
    # Set before pyplot is imported, so that no display is needed.
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for name, runs in curves.items():
        mean, error = np.mean(runs, 0), np.std(runs, 0) / np.sqrt(len(runs))
        axes.plot(labels, mean, color=COLORS[name], label=name)
        axes.fill_between(
            labels, mean - error, mean + error, color=COLORS[name], alpha=0.2
        )
    axes.set(xlabel="labels", ylabel="test accuracy")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="train briefly")
    parser.add_argument("--plot", help="path of a figure to write")
    args = parser.parse_args()
    seeds, rounds, epochs = (1, 1, 2) if args.smoke else (5, 12, 60)
    strategies = ["BALD", "random"] if args.smoke else list(STRATEGIES)

    curves = {name: [] for name in strategies}
    for seed in range(seeds):
        for name in strategies:
            labels, accuracy = learning_curve(
                STRATEGIES[name], seed, rounds, epochs
            )
            curves[name].append(accuracy)
    print(f"{'':10} area under the curve, by seed")
    for name, runs in curves.items():
        areas = np.mean(runs, axis=1)
        each = " ".join(f"{area:.3f}" for area in areas)
        print(f"{name:10} {areas.mean():.3f}    {each}")
    if args.plot:
        plot(labels, curves, args.plot)


if __name__ == "__main__":
    main()
