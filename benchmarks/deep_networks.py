"""Does a deep network train, for several posteriors and priors at the start?

A residual network with batch normalization, all of whose convolutions are
Bayesian, on scikit-learn's digits. Prints the training cross entropy, and what
is left of a test set's errors.

    python benchmarks/deep_networks.py --depth 20 --epochs 10
"""

import argparse
import time

import keras
import numpy as np
from sklearn import datasets, model_selection

import tfpbnn

RECIPES = {
    "plain Keras": {"kernel_posterior": None, "kernel_prior": None},
    "TFP's defaults": {},
    "normal prior, he_normal posterior": {"kernel_posterior": "he_normal"},
    "he_normal prior, TFP's posterior": {"kernel_prior": "he_normal"},
    "he_normal, he_normal": {
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


def main(arguments):
    x_train, x_test, y_train, y_test = digits()
    print(f"{'recipe':36s} {'seconds':>8s} {'nll':>17s} {'test error':>11s}")
    for name in arguments.recipes or RECIPES:
        keras.utils.set_random_seed(0)
        model = resnet(arguments.depth, arguments.width, RECIPES[name])
        likelihood = tfpbnn.likelihoods.Categorical()
        model.compile(
            keras.optimizers.Adam(arguments.rate),
            loss=likelihood,
            metrics=[
                keras.metrics.SparseCategoricalCrossentropy(
                    "nll", from_logits=True
                )
            ],
        )
        start = time.perf_counter()
        history = model.fit(
            x_train, y_train, batch_size=64, epochs=arguments.epochs, verbose=0
        ).history["nll"]
        seconds = time.perf_counter() - start
        p = tfpbnn.predict(model, x_test, num_samples=10, seed=0)
        error = np.mean(p.labels != y_test)
        print(
            f"{name:36s} {seconds:8.0f} {history[0]:8.2f} {history[-1]:8.2f} "
            f"{error:11.3f}",
            [round(h, 2) for h in history],
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depth", type=int, default=20)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--recipes", nargs="*", choices=RECIPES)
    main(parser.parse_args())
