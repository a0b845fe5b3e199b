"""Which inputs should a model not answer? Scores on scikit-learn's digits.

A network learns the digits 0 to 7. Scores of its predictions and of its
features then tell test digits apart from digits that are rotated, of another
kind (8 and 9), or noise: the table has the AUROC, where 0.5 is chance and 1
perfect.

    python examples/out_of_distribution.py
"""

import argparse

import keras
import numpy as np
from sklearn import datasets, metrics, model_selection

import tfpbnn
from tfpbnn import ood
from tfpbnn.layers import DenseFlipout

NAMES = (
    "max_probability",
    "predictive_entropy",
    "mutual_information",
    "pairwise_kl",
    "energy",
)


def digits():
    """Train and test digits below 8, and inputs of other kinds by name."""
    x, y = datasets.load_digits(return_X_y=True)
    x = (x / 16).astype("float32")
    known = y < 8
    parts = model_selection.train_test_split(
        x[known], y[known], test_size=0.3, random_state=0
    )
    x_test = parts[1]
    rotated = np.rot90(x_test.reshape(-1, 8, 8), axes=(1, 2))
    noise = np.random.default_rng(0).permuted(x_test, axis=1)
    others = {
        "rotated": rotated.reshape(-1, 64),
        "8 and 9": x[~known],
        "shuffled pixels": noise,
    }
    return parts, others


def train(x, y, epochs):
    keras.utils.set_random_seed(0)
    model = tfpbnn.Sequential(
        [
            keras.Input((64,)),
            DenseFlipout(64, activation="relu"),
            DenseFlipout(32, activation="relu", name="features"),
            DenseFlipout(8),
        ]
    )
    likelihood = tfpbnn.likelihoods.Categorical()
    model.compile(keras.optimizers.Adam(3e-3), likelihood)
    weight = tfpbnn.callbacks.KLWeight(len(x), warmup_epochs=epochs // 2)
    model.fit(x, y, epochs=epochs, verbose=0, callbacks=[weight])
    return model


def scores(model, x_train, y_train, x_test, y_test):
    """A function of inputs by the name of each score."""
    half = len(x_test) // 2
    fitted = {
        "Mahalanobis": ood.Mahalanobis().fit(
            model, x_train, y_train, layer="features"
        ),
        "relative": ood.Mahalanobis(relative=True).fit(
            model, x_train, y_train, layer="features"
        ),
        "neighbors": ood.NearestNeighbors().fit(
            model, x_train, layer="features"
        ),
        "DEUP": ood.DEUP().fit(
            model,
            x_train,
            y_train,
            held_out=(x_test[:half], y_test[:half]),
            layer="features",
        ),
    }

    def of_prediction(name):
        def score(x):
            p = tfpbnn.predict(model, x, 30, seed=0, verbose=0)
            return tfpbnn.metrics.uncertainty(p, name)

        return score

    return {name: of_prediction(name) for name in NAMES} | {
        name: score.score for name, score in fitted.items()
    }


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="train briefly")
    args = parser.parse_args(argv)
    (x, x_test, y, y_test), others = digits()
    model = train(x, y, 6 if args.smoke else 100)
    right = tfpbnn.evaluate(model, x_test, y_test, verbose=0)["accuracy"]
    print(f"accuracy of the digits 0 to 7: {right:.3f}\n")
    print(f"{'AUROC':20}" + "".join(f"{name:>17}" for name in others))
    inside = x_test[len(x_test) // 2 :]
    for name, score in scores(model, x, y, x_test, y_test).items():
        known = score(inside)
        cells = ""
        for far in others.values():
            values = np.concatenate([known, score(far)])
            is_far = np.arange(len(values)) >= len(known)
            cells += f"{metrics.roc_auc_score(is_far, values):17.3f}"
        print(f"{name:20}{cells}")


if __name__ == "__main__":
    main()
