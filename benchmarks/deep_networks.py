"""Does a deep network train, for several posteriors and priors at the start?

A residual network with batch normalization, all of whose convolutions are
Bayesian, on scikit-learn's digits. Prints the training cross entropy in each
epoch, and the share of errors on a test set.

    python benchmarks/deep_networks.py --depth 20 --epochs 12
"""

import argparse
import time

import keras
import numpy as np
from sklearn import datasets, model_selection

import tfpbnn

RECIPES = {
    "points": {"kernel_posterior": None, "kernel_prior": None},
    "TFP's defaults": {},
    "he_normal posterior": {"kernel_posterior": "he_normal"},
    "he_normal prior": {"kernel_prior": "he_normal"},
    "he_normal posterior and prior": {
        "kernel_posterior": "he_normal",
        "kernel_prior": "he_normal",
    },
}


def resnet(depth, width, recipe, outputs=10):
    """He et al.'s network for small images, of `depth` 6 n + 2 layers."""

    def convolution(x, filters, strides=1, size=3):
        x = tfpbnn.layers.Conv2DFlipout(
            filters, size, strides, "same", use_bias=False, **recipe
        )(x)
        return keras.layers.BatchNormalization(momentum=0.9)(x)

    inputs = keras.Input((8, 8, 1))
    x = keras.layers.ReLU()(convolution(inputs, width))
    for stage in range(3):
        for block in range((depth - 2) // 6):
            filters, strides = width * 2**stage, 1 + (stage > 0 == block)
            y = keras.layers.ReLU()(convolution(x, filters, strides))
            y = convolution(y, filters)
            if x.shape != y.shape:
                x = convolution(x, filters, strides, size=1)
            x = keras.layers.ReLU()(x + y)
    x = keras.layers.GlobalAveragePooling2D()(x)
    outputs = tfpbnn.layers.DenseFlipout(outputs, **recipe)(x)
    return tfpbnn.Model(inputs, outputs)


def digits():
    images, labels = datasets.load_digits(return_X_y=True)
    images = (images / 16.0).reshape(-1, 8, 8, 1).astype("float32")
    return model_selection.train_test_split(
        images, labels, test_size=0.25, random_state=0
    )


def train(model, x, y, epochs, rate):
    """The training data's cross entropy in each epoch."""
    likelihood = tfpbnn.likelihoods.Categorical()
    nll = keras.metrics.SparseCategoricalCrossentropy("nll", from_logits=True)
    model.compile(keras.optimizers.Adam(rate), likelihood, metrics=[nll])
    history = model.fit(x, y, batch_size=64, epochs=epochs, verbose=0)
    return history.history["nll"]


def main(arguments):
    x_train, x_test, y_train, y_test = digits()
    for name in arguments.recipes or RECIPES:
        keras.utils.set_random_seed(0)
        model = resnet(arguments.depth, arguments.width, RECIPES[name])
        start = time.perf_counter()
        nll = train(model, x_train, y_train, arguments.epochs, arguments.rate)
        seconds = time.perf_counter() - start
        p = tfpbnn.predict(model, x_test, num_samples=10, seed=0)
        print(
            f"{name}: {seconds:.0f} s, cross entropy by epoch",
            *(f"{value:.2f}" for value in nll),
            f"test error {np.mean(p.labels != y_test):.3f}",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depth", type=int, default=20)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--recipes", nargs="*", choices=RECIPES)
    main(parser.parse_args())
