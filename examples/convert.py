"""A trained plain Keras model gets uncertainty, and goes back.

Handwritten digits, of which 8 and 9 are held out of training. The trained
network is converted with MOPED, which takes the prior and the initial scales
from its weights, and fine-tuned. Then the posterior mean as a plain model.

    python examples/convert.py
"""

import argparse

import keras
import numpy as np
from sklearn import datasets, metrics, model_selection

import tfpbnn

UNSEEN = (8, 9)


def load_digits():
    """(train, test, unseen), each of images and labels."""
    images, labels = datasets.load_digits(return_X_y=True)
    images = images / 16.0
    unseen = np.isin(labels, UNSEEN)
    x, x_test, y, y_test = model_selection.train_test_split(
        images[~unseen], labels[~unseen], test_size=0.25, random_state=0
    )
    return (x, y), (x_test, y_test), (images[unseen], labels[unseen])


def train_plain(x, y, epochs):
    """What a user has: no layer or loss of this package."""
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(8),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=0)
    return model


def convert(plain, x, y, epochs):
    """The same network with a posterior, before and after fine-tuning."""
    prior = tfpbnn.priors.Normal(scale=0.03)  # how far weights may move
    before = tfpbnn.to_variational(plain, moped=True, prior=prior)
    after = tfpbnn.to_variational(plain, moped=True, prior=prior)
    after.fit(x, y, batch_size=32, epochs=epochs, verbose=0)
    return before, after


def scores(model, test, unseen, **kwargs):
    """Scores on seen digits, and whether doubt tells unseen from seen."""
    p = tfpbnn.predict(model, test[0], seed=0, **kwargs)
    q = tfpbnn.predict(model, unseen[0], seed=0, **kwargs)
    doubt = np.concatenate([p.predictive_entropy, q.predictive_entropy])
    is_unseen = np.repeat([False, True], [len(test[0]), len(unseen[0])])
    auroc = metrics.roc_auc_score(is_unseen, doubt)
    return p.evaluate(test[1]) | {"auroc": auroc}


def print_table(rows):
    columns = ("accuracy", "nll", "ece", "auroc")
    print(f"{'':28}" + "".join(f"{name:>10}" for name in columns))
    for name, values in rows:
        cells = "".join(f"{values[column]:10.3f}" for column in columns)
        print(f"{name:28}{cells}")
    print("(auroc: how well entropy tells unseen digits from seen ones)")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="train briefly")
    args = parser.parse_args()
    epochs, num_samples = (3, 20) if args.smoke else (100, 200)
    keras.utils.set_random_seed(0)
    (x, y), test, unseen = load_digits()
    plain = train_plain(x, y, epochs)
    before, after = convert(plain, x, y, epochs)
    mean = tfpbnn.to_deterministic(after)
    mean.compile(loss=plain.loss)
    rows = [
        (
            name,
            scores(model, test, unseen, num_samples=num_samples, draws=draws),
        )
        for name, model, draws in (
            ("plain", plain, "mean"),
            ("converted", before, "coherent"),
            ("converted and fine-tuned", after, "coherent"),
            ("its mean, plain Keras again", mean, "mean"),
        )
    ]
    print_table(rows)


if __name__ == "__main__":
    main()
