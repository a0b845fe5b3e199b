"""A training step through `fit`, against plain Keras and tfp.layers.

The same network, 784-512-512-10, batch 128, Adam and default `compile`
arguments, in one process; rounds are interleaved, and what is reported is the
median over rounds of the ratio to plain Keras in the same round.

    python benchmarks/training.py [--rounds 15] [--no-tfp]
"""

import argparse
import time

import keras
import numpy as np

import tfpbnn

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


def models(with_tfp):
    found = {"Keras, deterministic": keras_network(keras.layers.Dense)}
    for name, layer in LAYERS.items():
        found[f"tfpbnn {name}"] = keras_network(layer, kl_weight=1 / len(X))
        if with_tfp:
            found[f"tfp.layers {name}"] = tfp_network(name)
    return found


def measure(rounds, with_tfp):
    """Milliseconds per step, `[rounds]` for each model."""
    networks = models(with_tfp)
    for model in networks.values():
        model.fit(X, Y, batch_size=BATCH, verbose=0)
    times = {name: [] for name in networks}
    for _ in range(rounds):
        for name, model in networks.items():
            start = time.perf_counter()
            model.fit(X, Y, batch_size=BATCH, verbose=0)
            times[name].append((time.perf_counter() - start) / STEPS * 1e3)
    return {name: np.array(t) for name, t in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--no-tfp", action="store_true")
    args = parser.parse_args()
    times = measure(args.rounds, not args.no_tfp)
    plain = times["Keras, deterministic"]
    print(f"{'':36}{'ms':>8}{'ratio':>8}{'25-75 %':>14}{'tfp/ours':>10}")
    for name, t in times.items():
        ratio = t / plain
        low, high = np.quantile(ratio, [0.25, 0.75])
        theirs = times.get(name.replace("tfpbnn", "tfp.layers"))
        gain = "" if theirs is None or theirs is t else np.median(theirs / t)
        print(
            f"{name:36}{np.median(t):8.2f}{np.median(ratio):8.2f}"
            f"{f'{low:.2f}-{high:.2f}':>14}"
            + (f"{gain:10.2f}" if gain != "" else "")
        )


if __name__ == "__main__":
    main()
