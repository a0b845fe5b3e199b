"""Adam's price and a posterior: IVON beside Adam on handwritten digits.

The same network, trained for as many epochs by each of the two optimizers; of
one of them a Normal over all weights is left. The figure shows what the stated
probabilities are worth, and how unsure each is of digits in negative, which
neither has seen.

    python examples/ivon.py
"""

import argparse
import pathlib

import keras
import numpy as np
from matplotlib.figure import Figure
from sklearn import datasets, model_selection

import tfpbnn

BATCH_SIZE = 32


def load(num_train):
    x, y = datasets.load_digits(return_X_y=True)
    return model_selection.train_test_split(
        (x / 16).astype("float32"), y, train_size=num_train, random_state=0
    )


def network(optimizer, x, y, epochs):
    keras.utils.set_random_seed(0)
    model = tfpbnn.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(100, activation="relu"),
            keras.layers.Dense(10),
        ]
    )
    model.compile(optimizer, loss=tfpbnn.likelihoods.Categorical())
    model.fit(x, y, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)
    return model


def adam(x, y, epochs):
    rate = cosine(3e-3, x, epochs)
    return network(keras.optimizers.Adam(rate), x, y, epochs)


def ivon(x, y, epochs, ess):
    """The posterior, as if there were `ess` rows."""
    rate = cosine(0.5, x, epochs)
    optimizer = tfpbnn.optimizers.IVON(
        rate, ess, hess_init=0.2, beta_2=1 - 2 / rate.decay_steps
    )
    return optimizer.posterior(network(optimizer, x, y, epochs))


def cosine(rate, x, epochs):
    steps = epochs * -(-len(x) // BATCH_SIZE)
    return keras.optimizers.schedules.CosineDecay(rate, steps)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="train briefly")
    parser.add_argument("--figures", type=pathlib.Path, default="figures")
    args = parser.parse_args(argv)
    x, x_test, y, y_test = load(500)
    figure = Figure(figsize=(13, 8), layout="constrained")
    axes = figure.subplots(2, 3)
    columns = ("accuracy", "nll", "ece")
    print(f"{'':12}" + "".join(f"{c:>12}" for c in (*columns, "OOD AUROC")))
    epochs = 2 if args.smoke else 60
    # Of few rows the posterior is wide; of an `ess` of five times as many it
    # is narrower, as a cold posterior is.
    found = {
        "Adam": adam(x, y, epochs),
        "IVON": ivon(x, y, epochs, len(x)),
        "IVON, cold": ivon(x, y, epochs, 5 * len(x)),
    }
    for (name, model), row in zip(found.items(), axes.T, strict=True):
        draws = {"draws": "mean"} if name == "Adam" else {"num_samples": 100}
        digits, negatives = (
            tfpbnn.predict(model, inputs, seed=0, verbose=0, **draws)
            for inputs in (x_test, 1 - x_test)
        )
        scores = digits.evaluate(y_test)
        entropies = [p.predictive_entropy for p in (digits, negatives)]
        is_negative = np.repeat([False, True], len(x_test))
        auroc = tfpbnn.metrics.auroc(is_negative, np.concatenate(entropies))
        assert np.isfinite(scores["nll"])
        cells = [*(scores[c] for c in columns), auroc]
        print(f"{name:12}" + "".join(f"{cell:12.3f}" for cell in cells))
        tfpbnn.plots.reliability_diagram(digits, y_test, title=name, ax=row[0])
        row[1].hist(entropies, 20, label=["digits", "in negative"])
        row[1].set(title=name, xlabel="entropy, nats", ylabel="rows")
        row[1].legend()
    args.figures.mkdir(exist_ok=True)
    path = args.figures / "ivon.png"
    figure.savefig(path, dpi=120)
    print(f"Saved {path}")


if __name__ == "__main__":
    main()
