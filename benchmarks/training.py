"""A training step through `fit`, against plain Keras and tfp.layers.

The same network, 784-512-512-10, batch 128, Adam and default `compile`
arguments, in one process; rounds are interleaved, and what is reported is the
median over rounds of the ratio to plain Keras in the same round.

    python -m benchmarks.training [--rounds 15] [--no-tfp]
"""

import keras
import numpy as np

import tfpbnn
from benchmarks import measure

BATCH, STEPS = 128, 60
WIDTHS = (512, 512, 10)
DATA = np.random.default_rng(0)
X = DATA.random((BATCH * STEPS, 784), dtype=np.float32)
Y = DATA.integers(0, 10, BATCH * STEPS)

LAYERS = {
    "reparameterization": tfpbnn.layers.DenseReparameterization,
    "local reparameterization": tfpbnn.layers.DenseLocalReparameterization,
    "Flipout": tfpbnn.layers.DenseFlipout,
}


def keras_network(dense, sequential=keras.Sequential, **kwargs):
    hidden = [dense(n, activation="relu", **kwargs) for n in WIDTHS[:-1]]
    model = sequential(
        [keras.Input((784,)), *hidden, dense(WIDTHS[-1], **kwargs)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    return model


def tfp_network(name):
    """tfp.layers on the Keras that they are made for, its KL weighted too."""
    import tensorflow_probability as tfp
    import tf_keras

    def divergence(q, p, _):
        return tfp.distributions.kl_divergence(q, p) / len(X)

    dense = {
        "reparameterization": tfp.layers.DenseReparameterization,
        "local reparameterization": tfp.layers.DenseLocalReparameterization,
        "Flipout": tfp.layers.DenseFlipout,
    }[name]
    model = tf_keras.Sequential(
        [
            dense(
                n,
                activation="relu" if n != WIDTHS[-1] else None,
                kernel_divergence_fn=divergence,
            )
            for n in WIDTHS
        ]
    )
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    return model


def main():
    args = measure.arguments(__doc__)
    models = measure.models(
        lambda: keras_network(keras.layers.Dense),
        lambda name: keras_network(LAYERS[name], tfpbnn.Sequential),
        None if args.no_tfp else tfp_network,
        dict.fromkeys(LAYERS, True),
    )
    measure.report(measure.steps(models, X, Y, BATCH, args.rounds))


if __name__ == "__main__":
    main()
