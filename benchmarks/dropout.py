"""Dropout through `fit`, under XLA too, and Monte Carlo dropout in `predict`.

784-512-512-10 with dropout after each hidden layer, in one process; rounds are
interleaved, and what is reported is the median over rounds of the ratio in the
same round.

    python benchmarks/dropout.py [--rounds 9]
"""

import argparse
import time

import keras
import numpy as np
import tensorflow as tf

import tfpbnn

BATCH, STEPS, DRAWS, ROWS = 128, 20, 100, 1000
DATA = np.random.default_rng(0)
X = DATA.random((BATCH * STEPS, 784), dtype=np.float32)
Y = DATA.integers(0, 10, BATCH * STEPS)


def network(dropout, jit_compile=False):
    layers = [keras.Input((784,))]
    for _ in range(2):
        layers.append(keras.layers.Dense(512, activation="relu"))
        if dropout is not None:
            layers.append(dropout(0.5))
    model = keras.Sequential([*layers, keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, jit_compile=jit_compile)
    return model


def only_dropout(dropout):
    """Its step is the dropout's: there is next to nothing else to do."""
    model = keras.Sequential(
        [
            keras.Input((784,)),
            keras.layers.Rescaling(1.0),
            *[dropout(0.5) for _ in range(8)],
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, jit_compile=True)
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


def training(rounds):
    ours, theirs = tfpbnn.layers.MCDropout, keras.layers.Dropout
    models = {
        "Keras": network(theirs),
        "tfpbnn": network(ours),
        "Keras, XLA": network(theirs, True),
        "tfpbnn, XLA": network(ours, True),
        "no dropout, XLA": network(None, True),
        "Keras, XLA, dropout only": only_dropout(theirs),
        "tfpbnn, XLA, dropout only": only_dropout(ours),
    }

    def fit(model):
        return lambda: model.fit(X, Y, batch_size=BATCH, verbose=0)

    times = rounds_of({k: fit(m) for k, m in models.items()}, rounds)
    times = {name: values / STEPS for name, values in times.items()}
    report("A step of fit, against Keras without XLA", times, "Keras")
    alone, none = "dropout only", times["no dropout, XLA"]
    whole = times["Keras, XLA"] / times["tfpbnn, XLA"]
    only = times[f"Keras, XLA, {alone}"] / times[f"tfpbnn, XLA, {alone}"]
    added = (times["Keras, XLA"] - none) / (times["tfpbnn, XLA"] - none)
    print(
        f"  Under XLA Keras's step takes {np.median(whole):.1f} times as long, "
        f"its dropout alone {np.median(added):.0f} times; of dropout only, "
        f"{np.median(only):.1f} times.\n"
    )


def prediction(rounds):
    plain = network(None)
    mc = tfpbnn.mc_dropout(network(keras.layers.Dropout))
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
    title = f"{DRAWS} draws of {ROWS} rows"
    report(title, rounds_of(functions, rounds), f"{DRAWS} deterministic passes")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    prediction(args.rounds)
    training(args.rounds)


if __name__ == "__main__":
    main()
