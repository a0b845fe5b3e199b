"""Trains a small model on scikit-learn's diabetes data and exports it.

    python examples/serving/export.py --folder served/diabetes

The scaling of features is a layer of the model, so clients send them raw.
Targets, and what the server answers, are in standard deviations from the mean.
"""

import argparse
import pathlib
import time

import keras
from sklearn import datasets, model_selection

import tfpbnn

QUANTILES = (0.05, 0.5, 0.95)


def data():
    """Features and targets for training and testing."""
    x, y = datasets.load_diabetes(return_X_y=True, scaled=False)
    x_train, x_test, y_train, y_test = model_selection.train_test_split(
        x.astype("float32"), y, test_size=0.25, random_state=0
    )
    mean, std = y_train.mean(), y_train.std()
    return x_train, x_test, (y_train - mean) / std, (y_test - mean) / std


def train(x, y, epochs):
    """A Bayesian network with two hidden layers, for raw features."""
    scaling = keras.layers.Normalization()
    scaling.adapt(x)
    prior = tfpbnn.priors.Normal(learnable_scale=True)
    model = tfpbnn.Sequential(
        [
            keras.Input(x.shape[1:], name="features"),
            scaling,
            tfpbnn.layers.DenseFlipout(50, "relu", kernel_prior=prior),
            tfpbnn.layers.DenseFlipout(50, "relu", kernel_prior=prior),
            tfpbnn.layers.DenseFlipout(2, kernel_prior=prior),
        ]
    )
    likelihood = tfpbnn.likelihoods.Normal()
    model.compile(keras.optimizers.Adam(3e-3), loss=likelihood)
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=0)
    return model


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="train briefly")
    parser.add_argument(
        "--folder", type=pathlib.Path, default="served/diabetes"
    )
    parser.add_argument("--draws", choices=["fresh", "fixed"], default="fresh")
    args = parser.parse_args(arguments)
    keras.utils.set_random_seed(0)
    x_train, x_test, y_train, y_test = data()
    model = train(x_train, y_train, 5 if args.smoke else 150)
    print(tfpbnn.evaluate(model, x_test, y_test, num_samples=100, seed=0))

    versions = [int(p.name) for p in args.folder.glob("[0-9]*")]
    path = args.folder / str(max(versions, default=0) + 1)
    start = time.perf_counter()
    tfpbnn.export(
        model,
        path,
        num_samples=64,
        draws=args.draws,
        warmup=x_train[:1],
        quantiles=QUANTILES,
    )
    print(f"Exported {path} in {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
