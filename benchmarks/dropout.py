"""Dropout through `fit`, under XLA too, and Monte Carlo dropout in `predict`.

In one process; rounds are interleaved, and what is reported is the median
over rounds of the ratio in the same round. Under XLA on a CPU the generator
of Keras's dropout is slow, but not in a model with two masks or more of one
shape: both kinds are measured.

    python benchmarks/dropout.py [--rounds 7]
"""

import argparse
import functools
import time

import keras
import numpy as np
import tensorflow as tf

import tfpbnn

BATCH, STEPS, DRAWS, ROWS = 128, 20, 100, 1000
DATA = np.random.default_rng(0)
X = DATA.random((BATCH * STEPS, 784), dtype=np.float32)
Y = DATA.integers(0, 10, BATCH * STEPS)


def dense(dropout, widths=(512, 256)):
    """784-...-10, dropout after each hidden layer."""
    layers = []
    for width in widths:
        layers.append(keras.layers.Dense(width, activation="relu"))
        layers += [] if dropout is None else [dropout(0.5)]
    return layers


def convolutional(dropout):
    return [
        keras.layers.Reshape((28, 28, 1)),
        keras.layers.Conv2D(32, 3, activation="relu"),
        keras.layers.MaxPooling2D(),
        *([] if dropout is None else [dropout(0.25)]),
        keras.layers.Flatten(),
    ]


def network(hidden, jit_compile=False):
    model = keras.Sequential(
        [keras.Input((784,)), *hidden, keras.layers.Dense(10)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, jit_compile=jit_compile)
    return model


def timed(function):
    start = time.perf_counter()
    function()
    return (time.perf_counter() - start) * 1e3


def rounds_of(functions, rounds):
    """Milliseconds, `[rounds]` for each function."""
    for function in functions.values():
        function()
    times = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            times[name].append(timed(function))
    return {name: np.array(values) for name, values in times.items()}


def report(title, times, baseline):
    print(title)
    for name, values in times.items():
        ratio = values / times[baseline]
        low, high = np.quantile(ratio, [0.25, 0.75])
        print(
            f"  {name:34}{np.median(values):9.1f} ms{np.median(ratio):8.2f}"
            f"   ({low:.2f}-{high:.2f})"
        )


def training(title, make, jit_compile, rounds):
    layers = {
        "no dropout": None,
        "Keras": keras.layers.Dropout,
        "tfpbnn": tfpbnn.layers.MCDropout,
    }
    models = {
        name: network(make(cls), jit_compile) for name, cls in layers.items()
    }

    def fit(model):
        return lambda: model.fit(X, Y, batch_size=BATCH, verbose=0)

    times = rounds_of({k: fit(m) for k, m in models.items()}, rounds)
    times = {name: values / STEPS for name, values in times.items()}
    report(f"A step of fit, {title}", times, "tfpbnn")
    added = {
        name: np.median(times[name] - times["no dropout"])
        for name in ("Keras", "tfpbnn")
    }
    print("  dropout adds", {k: f"{ms:.1f} ms" for k, ms in added.items()})


def prediction(rounds):
    widths = (512, 512)
    plain = network(dense(None, widths))
    mc = tfpbnn.mc_dropout(network(dense(keras.layers.Dropout, widths)))
    x = X[:ROWS]
    forward = tf.function(lambda x: plain(x, training=False))

    def repeat():
        for _ in range(DRAWS):
            forward(x)

    functions = {
        f"{DRAWS} deterministic passes": repeat,
        f"predict, {DRAWS} draws": lambda: tfpbnn.predict(
            mc, x, DRAWS, seed=0, verbose=0
        ),
    }
    title = f"{DRAWS} draws of {ROWS} rows, 784-512-512-10"
    report(title, rounds_of(functions, rounds), f"{DRAWS} deterministic passes")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    prediction(args.rounds)
    same = functools.partial(dense, widths=(512, 512))
    for title, make, jit_compile in (
        ("784-512-256-10", dense, False),
        ("784-512-256-10, XLA", dense, True),
        ("784-512-512-10, XLA (of one shape)", same, True),
        ("28x28 convolutional", convolutional, False),
        ("28x28 convolutional, XLA", convolutional, True),
    ):
        training(title, make, jit_compile, args.rounds)


if __name__ == "__main__":
    main()
