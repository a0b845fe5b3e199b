"""The main job, end to end: train, predict with uncertainty, score, save.

Regression on scikit-learn's diabetes data and classification on its digits,
each beside the same network in plain Keras, which is stopped where its loss on
a tenth of the data that it is not trained on is lowest. For the digits there is
an ensemble of five such networks too, each stopped in the same way. Test data
are used once, for the table.

    python examples/quickstart.py
"""

import argparse
import functools
import pathlib
import tempfile

import keras
import numpy as np
from keras.callbacks import EarlyStopping
from sklearn import datasets, metrics, model_selection, preprocessing

import tfpbnn
from tfpbnn.ensembles import DeepEnsemble, MemberEarlyStopping
from tfpbnn.layers import DenseFlipout

UNSEEN = (8, 9)  # digits that are held out of training
COMPARED = """
What is compared: the same networks on the same test data. The plain one is
one set of weights, stopped early on a tenth of the training data. The Bayesian
ones average the predictions of 200 draws of the weights; that of the digits
begins at the weights of the plain network. The ensemble averages five plain
networks. Lower is better for rmse (in the units of the target), nll (in nats)
and calibration; coverage_90 should be 0.9. unseen is how well the entropy of a
prediction tells digits of a kind never seen from the others: 0.5 by chance, 1
at best. It is one split and one seed, so small differences are chance."""


def network(dense, inputs, units, outputs):
    """Two hidden layers of plain or Bayesian dense layers."""
    return tfpbnn.Sequential(
        [
            keras.Input((inputs,)),
            dense(units, activation="relu"),
            dense(units, activation="relu"),
            dense(outputs),
        ]
    )


def train(model, loss, x, y, epochs, rate=3e-3, **kwargs):
    model.compile(keras.optimizers.Adam(rate), loss=loss)
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=0, **kwargs)
    return model


def train_stopped(model, loss, x, y, epochs, stop=EarlyStopping):
    """As it is done for networks without a posterior: stopped early."""
    callbacks = [stop(patience=15, restore_best_weights=True)]
    return train(
        model, loss, x, y, epochs, validation_split=0.1, callbacks=callbacks
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
    plain = network(keras.layers.Dense, 10, 50, likelihood.params_size(1))
    train_stopped(plain, likelihood, x_train, y_train, epochs)
    # Few rows: how wide the weights' prior is, the data shall tell.
    prior = tfpbnn.priors.Normal(learnable_scale=True)
    layer = functools.partial(DenseFlipout, kernel_prior=prior)
    bayes = network(layer, 10, 50, likelihood.params_size(1))
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
    plain = network(keras.layers.Dense, 64, 64, outputs)
    train_stopped(plain, likelihood, x_train, y_train, epochs)
    # Weights that are trained already need but a few epochs more.
    prior = tfpbnn.priors.Normal(scale=0.3)
    bayes = tfpbnn.to_variational(plain, moped=True, prior=prior)
    train(bayes, likelihood, x_train, y_train, max(epochs // 6, 2), rate=1e-3)
    ensemble = DeepEnsemble(
        lambda: network(keras.layers.Dense, 64, 64, outputs), num_members=5
    )
    train_stopped(
        ensemble, likelihood, x_train, y_train, epochs, MemberEarlyStopping
    )

    x_unseen, y_unseen = images[unseen], labels[unseen]
    rows, predictions = [], {}
    for name, model, options in (
        ("plain Keras", plain, {"draws": "mean"}),
        ("Bayesian", bayes, {"num_samples": 200, "seed": 0}),
        ("ensemble of 5", ensemble, {}),
    ):
        p = tfpbnn.predict(model, x_test, **options)
        q = tfpbnn.predict(model, x_unseen, **options)
        scores = p.evaluate(y_test) | {"unseen": told_apart(p, q)}
        rows.append((f"digits, {name}", scores))
        predictions[name] = p, q
    p, q = predictions["ensemble of 5"]
    save(
        figures / "digits.png",
        lambda ax: tfpbnn.plots.reliability_diagram(p, y_test, ax=ax),
        lambda ax: tfpbnn.plots.uncertainty_histogram(
            {"seen digits": p, f"unseen digits {UNSEEN}": q}, ax=ax
        ),
    )
    report_doubts(p, q, y_test, y_unseen)
    return rows


def told_apart(p, q):
    """How well the entropy tells unseen digits from seen ones, as AUROC."""
    doubt = np.concatenate([p.predictive_entropy, q.predictive_entropy])
    return metrics.roc_auc_score(np.arange(len(doubt)) >= len(p), doubt)


def report_doubts(p, q, y_seen, y_unseen):
    """The digits that the members agree about least."""
    doubt = np.concatenate([p.mutual_information, q.mutual_information])
    labels = np.concatenate([y_seen, y_unseen])
    said = np.concatenate([p.labels, q.labels])
    print("The five digits that the ensemble's members agree about least:")
    for i in np.argsort(-doubt)[:5]:
        note = "unseen in training" if labels[i] in UNSEEN else "seen"
        print(
            f"  a {labels[i]} ({note}) taken for a {said[i]}: "
            f"mutual information {doubt[i]:.3f} nats"
        )
    print(
        f"On average it is {p.mutual_information.mean():.3f} nats on seen and "
        f"{q.mutual_information.mean():.3f} on unseen digits.\n"
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
    columns = (
        "rmse",
        "accuracy",
        "nll",
        "calibration",
        "coverage_90",
        "unseen",
    )
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
    print(COMPARED)


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
