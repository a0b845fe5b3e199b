"""A training step of a convolutional network, through `fit`.

28x28x1, convolutions of 32 and 64 filters of 3x3, each with a pool of 2x2, and
10 outputs; batch 128, Adam and default `compile` arguments, against plain Keras
and tfp.layers, measured as in `training.py`. (tfp.layers has no local
reparameterization of convolutions.)

    python -m benchmarks.convolutional [--rounds 15] [--no-tfp]
"""

import keras
import numpy as np

import tfpbnn
from benchmarks import measure

BATCH, STEPS = 128, 20
DATA = np.random.default_rng(0)
X = DATA.random((BATCH * STEPS, 28, 28, 1), dtype=np.float32)
Y = DATA.integers(0, 10, BATCH * STEPS)
NAMES = {
    "reparameterization": "Reparameterization",
    "local reparameterization": "LocalReparameterization",
    "Flipout": "Flipout",
}


def network(module, keras_module, conv, dense, **kwargs):
    """The layers called `conv` and `dense` in a module, on either Keras."""
    convolution, dense = getattr(module, conv), getattr(module, dense)
    model = keras_module.Sequential(
        [
            keras_module.layers.Input((28, 28, 1)),
            convolution(32, 3, activation="relu", **kwargs),
            keras_module.layers.MaxPooling2D(),
            convolution(64, 3, activation="relu", **kwargs),
            keras_module.layers.MaxPooling2D(),
            keras_module.layers.Flatten(),
            dense(10, **kwargs),
        ]
    )
    loss = keras_module.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    return model


def ours(name):
    estimator = NAMES[name]
    return network(
        tfpbnn.layers,
        keras,
        f"Conv2D{estimator}",
        f"Dense{estimator}",
        kl_weight=1 / len(X),
    )


def theirs(name):
    """tfp.layers on the Keras that they are made for, its KL weighted too."""
    import tensorflow_probability as tfp
    import tf_keras

    def divergence(q, p, _):
        return tfp.distributions.kl_divergence(q, p) / len(X)

    estimator = NAMES[name]
    return network(
        tfp.layers,
        tf_keras,
        f"Convolution2D{estimator}",
        f"Dense{estimator}",
        kernel_divergence_fn=divergence,
    )


def main():
    args = measure.arguments(__doc__)
    models = measure.models(
        lambda: network(keras.layers, keras, "Conv2D", "Dense"),
        ours,
        None if args.no_tfp else theirs,
        {name: not name.startswith("local") for name in NAMES},
    )
    measure.report(measure.steps(models, X, Y, BATCH, args.rounds))


if __name__ == "__main__":
    main()
