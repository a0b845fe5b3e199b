"""The main job, end to end: train, predict with uncertainty, score, save.

Regression on scikit-learn's diabetes data and classification on its digits,
each beside the same network in plain Keras, which is stopped where its loss on
a tenth of the data that it is not trained on is lowest.

    python examples/quickstart.py
"""

import argparse
import functools
import pathlib
import tempfile

import keras
import numpy as np
from sklearn import datasets, metrics, model_selection, preprocessing

import tfpbnn
from tfpbnn.layers import DenseFlipout

UNSEEN = (8, 9)  # digits that are held out of training


def network(dense, units, outputs):
    """Two hidden layers of plain or Bayesian dense layers."""
    return tfpbnn.Sequential(
        [
            dense(units, activation="relu"),
            dense(units, activation="relu"),
            dense(outputs),
        ]
    )


def train(model, loss, x, y, epochs, **kwargs):
    model.compile(keras.optimizers.Adam(3e-3), loss=loss)
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=0, **kwargs)
    return model


def train_plain(model, loss, x, y, epochs):
    """As it is done for networks without a posterior: stopped early."""
    stop = keras.callbacks.EarlyStopping(patience=15, restore_best_weights=True)
    return train(
        model, loss, x, y, epochs, validation_split=0.1, callbacks=[stop]
    )


def regression(epochs, figures):
    """Progression of diabetes after a year: (name, scores) of two models."""
    x, y = datasets.load_diabetes(return_X_y=True)
    x_train, x_test, y_train, y_test = model_selection.train_test_split(
        x, y, test_size=0.25, random_state=0
    )
    scaler = preprocessing.StandardScaler().fit(x_train)
    x_train, x_test = scaler.transform(x_train), scaler.transform(x_test)
    # The targets go from 25 to 346: `adapt` lets the networks learn them in
    # standardized units, and all that is said of them be in their own.
    likelihood = tfpbnn.likelihoods.Normal().adapt(y_train)
    plain = network(keras.layers.Dense, 50, likelihood.params_size(1))
    train_plain(plain, likelihood, x_train, y_train, epochs)
    # Few rows: how wide the weights' prior is, the data shall tell.
    prior = tfpbnn.priors.Normal(learnable_scale=True)
    layer = functools.partial(DenseFlipout, kernel_prior=prior)
    bayes = network(layer, 50, likelihood.params_size(1))
    train(bayes, likelihood, x_train, y_train, epochs)

    p = tfpbnn.predict(bayes, x_test, num_samples=200, seed=0)
    save(
        figures / "diabetes.png",
        lambda ax: tfpbnn.plots.predictive_band(p, y=y_test, ax=ax),
        lambda ax: tfpbnn.plots.calibration_curve(p, y_test, ax=ax),
    )
    check_reload(bayes, x_test, p)
    point = tfpbnn.predict(plain, x_test, draws="mean")
    return [
        ("diabetes, plain Keras", point.evaluate(y_test)),
        ("diabetes, Bayesian", p.evaluate(y_test)),
    ]


def classification(epochs, figures):
    """Handwritten digits, two of them never seen in training."""
    images, labels = datasets.load_digits(return_X_y=True)
    images = images / 16.0
    unseen = np.isin(labels, UNSEEN)
    x_train, x_test, y_train, y_test = model_selection.train_test_split(
        images[~unseen], labels[~unseen], test_size=0.25, random_state=0
    )
    likelihood = tfpbnn.likelihoods.Categorical()
    outputs = likelihood.params_size(len(np.unique(y_train)))
    plain = network(keras.layers.Dense, 64, outputs)
    train_plain(plain, likelihood, x_train, y_train, epochs)
    # Scales that start small beside the weights: less noise to train through.
    layer = functools.partial(DenseFlipout, kernel_posterior="he_normal")
    bayes = network(layer, 64, outputs)
    train(bayes, likelihood, x_train, y_train, epochs)

    p = tfpbnn.predict(bayes, x_test, num_samples=200, seed=0)
    q = tfpbnn.predict(bayes, images[unseen], num_samples=200, seed=0)
    save(
        figures / "digits.png",
        lambda ax: tfpbnn.plots.reliability_diagram(p, y_test, ax=ax),
        lambda ax: tfpbnn.plots.uncertainty_histogram(
            {"seen digits": p, f"unseen digits {UNSEEN}": q}, ax=ax
        ),
    )
    report_doubts(p, q, y_test, labels[unseen])
    point = tfpbnn.predict(plain, x_test, draws="mean")
    return [
        ("digits, plain Keras", point.evaluate(y_test)),
        ("digits, Bayesian", p.evaluate(y_test)),
    ]


def report_doubts(p, q, y_seen, y_unseen):
    """The most uncertain digits, and how well doubt tells unseen from seen."""
    doubt = np.concatenate([p.mutual_information, q.mutual_information])
    labels = np.concatenate([y_seen, y_unseen])
    said = np.concatenate([p.labels, q.labels])
    print("The five digits that the model is least sure of:")
    for i in np.argsort(-doubt)[:5]:
        note = "unseen in training" if labels[i] in UNSEEN else "seen"
        print(
            f"  a {labels[i]} ({note}) taken for a {said[i]}: "
            f"mutual information {doubt[i]:.3f} nats"
        )
    auroc = metrics.roc_auc_score(np.isin(labels, UNSEEN), doubt)
    print(
        f"Mutual information is {p.mutual_information.mean():.3f} nats on "
        f"seen and {q.mutual_information.mean():.3f} on unseen digits; it "
        f"tells them apart with an AUROC of {auroc:.3f}.\n"
    )


def check_reload(model, x, predictive):
    """A saved model predicts the same."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "bnn.keras"
        model.save(path)
        again = keras.saving.load_model(path)
    p = tfpbnn.predict(again, x, num_samples=200, seed=0)
    np.testing.assert_allclose(p.mean, predictive.mean, rtol=1e-4)
    print("Saved, loaded: the same predictions.")


def save(path, *draw):
    """Two plots side by side in one file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    for plot, ax in zip(draw, figure.subplots(1, 2), strict=True):
        plot(ax)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=120)
    print(f"Saved {path}")


def print_table(rows):
    columns = ("rmse", "accuracy", "nll", "calibration", "coverage_90")
    print(f"{'':24}" + "".join(f"{name:>13}" for name in columns))
    for name, scores in rows:
        scores["calibration"] = scores.get(
            "calibration_error", scores.get("ece")
        )
        cells = (
            f"{scores[c]:13.3f}" if c in scores else f"{'-':>13}"
            for c in columns
        )
        print(f"{name:24}" + "".join(cells))
    print("(rmse in the units of the target; nll in nats)")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="train briefly")
    parser.add_argument("--figures", type=pathlib.Path, default="figures")
    args = parser.parse_args()
    keras.utils.set_random_seed(0)
    rows = regression(5 if args.smoke else 150, args.figures)
    rows += classification(5 if args.smoke else 100, args.figures)
    print_table(rows)


if __name__ == "__main__":
    main()
