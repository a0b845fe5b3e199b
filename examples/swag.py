"""More than one answer from one training: SWA, SWAG and snapshots.

Scikit-learn's handwritten digits, by a network with BatchNorm, and its diabetes
data, by a regression with a learned variance: plain SGD against posteriors that
are collected in the same number of epochs.

    python examples/swag.py
"""

import argparse

import keras
import numpy as np
from sklearn import datasets, model_selection

import tfpbnn
from tfpbnn import ensembles

BATCH_SIZE = 32


def classifier():
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(16, 3, padding="same", use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10),
        ]
    )


def regressor():
    return keras.Sequential(
        [
            keras.Input((10,)),
            keras.layers.Dense(50, activation="relu"),
            keras.layers.Dense(2),
        ]
    )


def digits():
    x, y = datasets.load_digits(return_X_y=True)
    return x.reshape(-1, 8, 8, 1).astype("float32") / 16, y, 300


def diabetes():
    x, y = datasets.load_diabetes(return_X_y=True)
    y = (y - y.mean()) / y.std()
    return (x / x.std(0)).astype("float32"), y[:, None].astype("float32"), 220


def fit(build, loss, rate, data, epochs, *callbacks):
    keras.utils.set_random_seed(0)
    model = build()
    model.compile(keras.optimizers.SGD(rate, momentum=0.9), loss)
    model.fit(*data, BATCH_SIZE, epochs, callbacks=list(callbacks), verbose=0)
    return model


def posteriors(build, loss, rate, data, epochs):
    """(name, model, how to draw) of each method; two trainings and a cyclic."""
    start = epochs // 2
    swa = ensembles.SWA(start)
    swag = ensembles.SWAG(start)
    snapshots = ensembles.SnapshotEnsemble(5, rate)
    plain = fit(build, loss, rate, data, epochs, swa, swag)
    fit(build, loss, rate, data, epochs, snapshots)
    x = data[0]  # statistics of BatchNorm are made anew for other weights
    return [
        ("SGD", plain, "mean"),
        ("SWA", swa.average(x), "mean"),
        ("SWAG", swag.posterior.materialize(30, x, seed=0), "coherent"),
        ("snapshots", snapshots.posterior, "coherent"),
    ]


def compare(title, columns, build, loss, rate, data, epochs):
    x, y, num_train = data
    x, x_test, y, y_test = model_selection.train_test_split(
        x, y, train_size=num_train, random_state=0
    )
    print(f"\n{title:14}" + "".join(f"{c:>20}" for c in columns))
    for name, model, draws in posteriors(build, loss, rate, (x, y), epochs):
        scores = tfpbnn.evaluate(
            model, x_test, y_test, draws=draws, seed=0, verbose=0
        )
        cells = "".join(f"{scores[c]:20.3f}" for c in columns)
        assert np.isfinite(scores["nll"])
        print(f"{name:14}{cells}")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="train briefly")
    args = parser.parse_args(argv)
    epochs = 6 if args.smoke else 60
    compare(
        "digits",
        ("nll", "accuracy", "ece"),
        classifier,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        0.05,
        digits(),
        epochs,
    )
    compare(
        "diabetes",
        ("nll", "rmse", "calibration_error"),
        regressor,
        tfpbnn.likelihoods.Normal(),
        0.01,
        diabetes(),
        epochs,
    )


if __name__ == "__main__":
    main()
