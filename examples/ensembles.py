"""Deep ensembles: members trained together, used as one posterior.

A curve with a gap in the data, where members should part, and scikit-learn's
wine data with plain training, a bootstrap, and hyperparameters of each member's
own, against one network.

    python examples/ensembles.py
"""

import argparse
import pathlib

import keras
import numpy as np
from sklearn import datasets, model_selection

import tfpbnn
from tfpbnn import ensembles


def regressor():
    return keras.Sequential(
        [
            keras.Input((1,)),
            keras.layers.Dense(50, activation="relu"),
            keras.layers.Dense(50, activation="relu"),
            keras.layers.Dense(2),
        ]
    )


def curve(folder, epochs):
    """Members agree where there are data, and part where there are none."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-3, -1.2, 60), rng.uniform(1.2, 3, 60)])
    y = np.sin(2 * x) + 0.1 * rng.normal(size=len(x))
    ensemble = ensembles.DeepEnsemble(regressor, num_members=8)
    ensemble.compile(
        keras.optimizers.Adam(0.01), loss=tfpbnn.likelihoods.Normal()
    )
    ensemble.fit(x[:, None], y, epochs=epochs, batch_size=32, verbose=0)
    grid = np.linspace(-3, 3, 200)[:, None]
    p = tfpbnn.predict(ensemble, grid)
    figure = tfpbnn.plots.member_predictions(p, grid)
    ax = figure.axes[0]
    ax.plot(x, y, ".", color="black", markersize=4)
    figure.savefig(folder / "members.png", dpi=150)
    gap = np.abs(grid[:, 0]) < 1
    spread = p.epistemic_variance[:, 0] ** 0.5
    print(
        f"Spread of the members: {spread[~gap].mean():.2f} near the data, "
        f"{spread[gap].mean():.2f} in the gap; see members.png"
    )


def classifier(width=32, rate=0.0):
    return keras.Sequential(
        [
            keras.Input((13,)),
            keras.layers.Dense(width, activation="relu"),
            keras.layers.Dropout(rate),
            keras.layers.Dense(3),
        ]
    )


def contenders():
    drawn = {
        "rate": [0.1, 0.3, 0.5],
        "learning_rate": lambda rng: 10 ** rng.uniform(-3, -1.5),
    }
    yield "one network", ensembles.DeepEnsemble(classifier, 1)
    yield "deep ensemble", ensembles.DeepEnsemble(classifier, 10)
    yield (
        "bootstrap",
        ensembles.DeepEnsemble(classifier, 10, bootstrap="poisson"),
    )
    yield "hyperparameters", ensembles.HyperEnsemble(classifier, drawn, 10)


def wine(epochs):
    x, y = datasets.load_wine(return_X_y=True)
    x = ((x - x.mean(0)) / x.std(0)).astype("float32")
    x, x_test, y, y_test = model_selection.train_test_split(
        x, y, test_size=0.5, random_state=0
    )
    columns = ("accuracy", "nll", "brier", "ece")
    print(f"\n{'wine':20}" + "".join(f"{name:>10}" for name in columns))
    for name, model in contenders():
        keras.utils.set_random_seed(1)
        model.compile(
            keras.optimizers.Adam(0.01),
            loss=tfpbnn.likelihoods.Categorical(),
        )
        model.fit(x, y, epochs=epochs, batch_size=16, verbose=0)
        scores = tfpbnn.evaluate(model, x_test, y_test)
        print(f"{name:20}" + "".join(f"{scores[c]:10.3f}" for c in columns))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a short run")
    parser.add_argument("--folder", type=pathlib.Path, default="build/figures")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(0)
    curve(args.folder, 2 if args.smoke else 200)
    wine(1 if args.smoke else 30)


if __name__ == "__main__":
    main()
