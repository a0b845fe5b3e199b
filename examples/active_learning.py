"""Which digits to label next? BALD against chance, from 20 labels on.

Of scikit-learn's digits only 20 have labels. Each round a network with MC
dropout asks for 10 more: those whose labels tell most about its weights (BALD),
or any rows. The table has the area under the curve of test accuracy, the mean
over all rounds, for five seeds.

    python examples/active_learning.py
"""

import argparse

import keras
import numpy as np
import tensorflow as tf
from sklearn import datasets, model_selection

import tfpbnn
from tfpbnn.acquisition import ActiveLearner

STRATEGIES = {"BALD": "top", "random": "random"}
COLORS = {"BALD": "#2a6f97", "random": "#8d99ae"}


def model_fn():
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((64,)),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(2e-3), loss)
    return model


def trainer(steps):
    """Makes a function that trains for some steps, and keeps dropout on."""

    def train(model, x, y):
        rows = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(y))
        model.fit(rows.repeat().batch(32).take(steps), shuffle=False, verbose=0)
        return tfpbnn.mc_dropout(model)

    return train


def learning_curve(selector, seed, rounds, steps):
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
        fit=trainer(steps),
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
    seeds, rounds, steps = (1, 1, 5) if args.smoke else (5, 10, 200)

    curves = {name: [] for name in STRATEGIES}
    for seed in range(seeds):
        for name, selector in STRATEGIES.items():
            labels, accuracy = learning_curve(selector, seed, rounds, steps)
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
