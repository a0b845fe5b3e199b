"""Uncertainty from a plain Keras network that was trained with dropout.

Scikit-learn's handwritten digits, two of them never seen in training: the
network as it is, and with its dropout left on in prediction.

    python examples/mc_dropout.py
"""

import argparse
import pathlib

import keras
import numpy as np
from sklearn import datasets, model_selection

import tfpbnn

UNSEEN = (8, 9)
RATES = (0.1, 0.3, 0.5)


def network():
    """Plain Keras: nothing of this package in it."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.MaxPooling2D(),
            keras.layers.SpatialDropout2D(0.2),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    return model


def load(num_train):
    """Some of the known digits to train on; the others, and unseen ones."""
    images, labels = datasets.load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8, 1).astype("float32") / 16
    known = ~np.isin(labels, UNSEEN)
    x, x_test, y, y_test = model_selection.train_test_split(
        images[known], labels[known], train_size=num_train, random_state=0
    )
    return x, y, x_test, y_test, images[~known]


def print_table(rows):
    columns = ("accuracy", "nll", "ece")
    print(f"{'':24}" + "".join(f"{c:>10}" for c in columns) + "   doubt of")
    print(f"{'':54}   known, unseen")
    for name, p, y, unseen in rows:
        scores = p.evaluate(y)
        cells = "".join(f"{scores[c]:10.3f}" for c in columns)
        doubts = (np.mean(q.mutual_information) for q in (p, unseen))
        print(f"{name:24}{cells}   " + ", ".join(f"{d:.3f}" for d in doubts))


def predict(model, x, **kwargs):
    return tfpbnn.predict(model, x, seed=0, verbose=0, **kwargs)


def save(path, p, y, unseen):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    groups = {"known digits": p, "unseen digits": unseen}
    tfpbnn.plots.uncertainty_histogram(groups, ax=left)
    tfpbnn.plots.reliability_diagram(p, y, title="MC dropout", ax=right)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=120)
    print(f"\nSaved {path}")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="train briefly")
    parser.add_argument("--figures", type=pathlib.Path, default="figures")
    args = parser.parse_args(argv)
    keras.utils.set_random_seed(0)
    x, y, x_test, y_test, others = load(400)
    plain = network()
    plain.fit(x, y, epochs=2 if args.smoke else 60, verbose=0)

    rows = [
        (
            "plain Keras",
            predict(plain, x_test, draws="mean"),
            y_test,
            predict(plain, others, draws="mean"),
        )
    ]
    draws = 20 if args.smoke else 100
    for rate in (None, *RATES):
        mc = tfpbnn.mc_dropout(plain, rate)
        name = "as trained" if rate is None else f"rate {rate}"
        p, unseen = (
            predict(mc, a, num_samples=draws) for a in (x_test, others)
        )
        rows.append((f"MC dropout, {name}", p, y_test, unseen))
    print_table(rows)
    _, p, _, unseen = rows[1]
    save(args.figures / "mc_dropout.png", p, y_test, unseen)


if __name__ == "__main__":
    main()
