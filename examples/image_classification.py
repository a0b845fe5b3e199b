"""A Bayesian convolutional network: accuracy, doubt, and how far it prunes.

Scikit-learn's handwritten digits (8 x 8 pixels), few of them for training: a
plain Keras network, the same with a posterior, and with a cold one. It ends
with a page that says what the posterior's uncertainty is worth.

    python examples/image_classification.py
"""

import argparse
import pathlib

import keras
import numpy as np
from sklearn import datasets, model_selection

import tfpbnn

KEEP = (0.5, 0.25, 0.1, 0.05)


def network(conv, dense):
    """Two convolutions and a dense layer, plain or Bayesian."""
    return tfpbnn.Sequential(
        [
            keras.Input((8, 8, 1)),
            conv(16, 3, padding="same", activation="relu", name="conv_1"),
            conv(32, 3, padding="same", activation="relu", name="conv_2"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            dense(10, name="logits"),
        ]
    )


def load(num_train):
    images, labels = datasets.load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8, 1).astype("float32") / 16
    return model_selection.train_test_split(
        images, labels, train_size=num_train, random_state=0, stratify=labels
    )


def train(model, x, y, epochs, temperature=None):
    model.compile(
        keras.optimizers.Adam(3e-3), loss=tfpbnn.likelihoods.Categorical()
    )
    callbacks = []
    if temperature is not None:
        weight = tfpbnn.callbacks.KLWeight(len(x), temperature=temperature)
        callbacks = [weight]
    model.fit(
        x, y, batch_size=50, epochs=epochs, verbose=0, callbacks=callbacks
    )
    return model


def bayesian(x, y, epochs, temperature):
    model = network(tfpbnn.layers.Conv2DFlipout, tfpbnn.layers.DenseFlipout)
    return train(model, x, y, epochs, temperature)


def predict(model, x):
    return tfpbnn.predict(model, x, num_samples=50, seed=0, verbose=0)


def prune(model, x, y, fractions):
    """Scores of the model with fewer and fewer of its weights."""
    for keep in fractions:
        pruned = tfpbnn.prune(model, keep)
        scores = predict(pruned, x).evaluate(y)
        left = " ".join(
            f"{name.split('/')[0]} {(snr > 0).mean():4.0%}"
            for name, snr in tfpbnn.signal_to_noise(pruned).items()
        )
        yield f"{keep:.0%} of the weights", scores, left


def print_table(rows):
    columns = ("accuracy", "nll", "ece")
    print(f"{'':22}" + "".join(f"{name:>10}" for name in columns))
    for name, scores, note in rows:
        cells = "".join(f"{scores[column]:10.3f}" for column in columns)
        print(f"{name:22}{cells}   {note}".rstrip(), flush=True)
    print()


def report_doubts(p, y):
    right = p.labels == y
    order = np.argsort(p.mutual_information)
    sure, unsure = np.array_split(order, 2)
    print(
        f"The cold one is right on {right[sure].mean():.1%} of the half that "
        f"it is surest of, on {right[unsure].mean():.1%} of the other.\n"
    )


def save(path, model, p, y):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    snr = tfpbnn.signal_to_noise(model)
    tfpbnn.plots.weight_snr(snr, title="Bayesian", ax=left)
    tfpbnn.plots.reliability_diagram(p, y, title="Bayesian, cold", ax=right)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=120)
    print(f"Saved {path}")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="train briefly")
    parser.add_argument("--figures", type=pathlib.Path, default="figures")
    args = parser.parse_args(argv)
    keras.utils.set_random_seed(0)
    epochs = 3 if args.smoke else 80
    x, x_test, y, y_test = load(500)
    print(f"{len(x)} digits to learn from, {len(x_test)} to test.\n")

    plain = network(keras.layers.Conv2D, keras.layers.Dense)
    train(plain, x, y, epochs)
    point = tfpbnn.predict(plain, x_test, draws="mean")
    bayes = bayesian(x, y, epochs, temperature=1.0)
    cold = predict(bayesian(x, y, epochs, temperature=0.1), x_test)
    print_table(
        [
            ("plain Keras", point.evaluate(y_test), ""),
            ("Bayesian", predict(bayes, x_test).evaluate(y_test), ""),
            ("Bayesian, cold (0.1)", cold.evaluate(y_test), ""),
        ]
    )
    report_doubts(cold, y_test)
    print("The Bayesian one pruned, and the share that each layer keeps:")
    fractions = KEEP[1:2] if args.smoke else KEEP
    print_table(prune(bayes, x_test, y_test, fractions))
    save(args.figures / "image_classification.png", bayes, cold, y_test)
    print("\nThe page on the Bayesian one, beside digits in negative:")
    page = tfpbnn.report(
        bayes,
        x_test,
        y_test,
        x_ood=1 - x_test,
        path=args.figures / "image_classification.html",
        num_samples=50,
        n_boot=20 if args.smoke else 1000,
        verbose=0,
    )
    print(page)


if __name__ == "__main__":
    main()
