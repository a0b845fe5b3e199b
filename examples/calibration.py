"""Calibration: what a network says is 90 % sure, and how often it is right.

An overconfident network on scikit-learn's digits with noise, before and after
temperature scaling and isotonic regression, and conformal sets of digits that
have the true one in 90 % of cases.

    python examples/calibration.py
"""

import argparse
import pathlib

import keras
import numpy as np
from matplotlib.figure import Figure
from sklearn import datasets, model_selection

import tfpbnn
from tfpbnn import calibration


def digits():
    """Noisy rows: to train on, calibrate on, fit sets on, and judge by."""
    x, y = datasets.load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    x = (x / 16 + 0.4 * rng.normal(size=x.shape)).astype("float32")
    parts = []
    for size in (400, 500, 400):
        x_part, x, y_part, y = model_selection.train_test_split(
            x, y, train_size=size, random_state=0
        )
        parts.append((x_part, y_part))
    return *parts, (x, y)


def overconfident(x, y, epochs):
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(10),
        ]
    )
    model.compile(
        keras.optimizers.Adam(0.005), loss=tfpbnn.likelihoods.Categorical()
    )
    model.fit(x, y, epochs=epochs, batch_size=64, verbose=0)
    return tfpbnn.mc_dropout(model)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a short run")
    parser.add_argument("--folder", type=pathlib.Path, default="build/figures")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(0)
    train, held_out, (x_sets, y_sets), (x_test, y_test) = digits()
    model = overconfident(*train, epochs=5 if args.smoke else 100)
    draws = 10 if args.smoke else 50
    models = {"as trained": model} | {
        name: calibration.calibrate(model, *held_out, name, num_samples=draws)
        for name in ("temperature", "isotonic")
    }
    temperature = models["temperature"].loss.recalibration
    print(
        f"Temperature {temperature.temperature:.2f} +- "
        f"{temperature.standard_error:.2f}\n"
    )
    columns = ("accuracy", "nll", "brier", "ece")
    print(f"{'':14}" + "".join(f"{name:>10}" for name in columns))
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    for ax, (name, one) in zip(axes, models.items(), strict=True):
        p = tfpbnn.predict(one, x_test, draws, seed=0)
        scores = p.evaluate(y_test)
        print(f"{name:14}" + "".join(f"{scores[c]:10.3f}" for c in columns))
        tfpbnn.plots.reliability_diagram(p, y_test, ax=ax)
        ax.set_title(name)
    path = args.folder / "calibration.png"
    figure.savefig(path, dpi=150)
    print("\nOf conformal sets, wanted to cover 90 %:")
    for name, one in models.items():
        # Rows that have calibrated a model can't tell how often its sets cover.
        held_out = tfpbnn.predict(one, x_sets, draws, seed=0)
        split = calibration.APS().fit(held_out, y_sets)
        sets = split.sets(tfpbnn.predict(one, x_test, draws, seed=0))
        inside = sets[np.arange(len(y_test)), y_test].mean()
        print(
            f"{name:14} cover {inside:.1%}, with {sets.sum(-1).mean():.1f} "
            "digits on average"
        )
    print(f"\nSaved {path}")


if __name__ == "__main__":
    main()
