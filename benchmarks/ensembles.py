"""Eight members in one `fit`, against one plain Keras network, and against 8.

8 x MLP 784-256-256-10 on 10,000 rows, 2 epochs, batches of 128; then small
convolutional members; then `predict`. Rounds are interleaved.

    python -m benchmarks.ensembles [--rounds 5]

"first" fits are those of new models: tracing and compiling included.
"""

import argparse
import resource
import time

import keras
import numpy as np
import tensorflow as tf

import tfpbnn

MEMBERS, BATCH = 8, 128
DATA = np.random.default_rng(0)
Y = DATA.integers(0, 10, 10_000)


def mlp():
    return keras.Sequential(
        [
            keras.Input((784,)),
            keras.layers.Dense(256, activation="relu"),
            keras.layers.Dense(256, activation="relu"),
            keras.layers.Dense(10),
        ]
    )


def cnn():
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )


def compiled(model):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    return model


def seconds(function):
    """Of wall and processor time."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - cpu


def training(build, x, epochs, rounds, all_members):
    y = Y[: len(x)]
    times = {}

    def fit(name, model):
        spent = seconds(
            lambda: model.fit(x, y, BATCH, epochs=epochs, verbose=0)
        )
        times.setdefault(name, []).append(spent)

    for _ in range(rounds):
        one, many = compiled(build()), tfpbnn.ensembles.DeepEnsemble(build, 8)
        compiled(many)
        fit("one, first fit", one)
        fit("one", one)
        fit("ensemble, first fit", many)
        fit("ensemble", many)
        if all_members:
            networks = [compiled(build()) for _ in range(MEMBERS)]
            spent = [
                seconds(
                    lambda m=m: m.fit(x, y, BATCH, epochs=epochs, verbose=0)
                )
                for m in networks
            ]
            times.setdefault("eight fits", []).append(np.sum(spent, axis=0))
    report({name: np.array(t) for name, t in times.items()})


def report(times):
    def ratio(name, base):
        each = times[name] / times[base]
        wall, cpu = np.median(each, axis=0)
        least = times[name].min(0) / times[base].min(0)
        return f"{wall:6.2f} wall ({least[0]:.2f} of minima), {cpu:.2f} CPU"

    for name, t in times.items():
        print(f"{name:22}{np.median(t[:, 0]):8.2f} s")
    print("ensemble / one:                      ", ratio("ensemble", "one"))
    first = ratio("ensemble, first fit", "one, first fit")
    print("ensemble / one, first fits:          ", first)
    if "eight fits" in times:
        found = ratio("eight fits", "ensemble, first fit")
        print("eight fits / ensemble, first fits:   ", found)


def prediction(x, rounds):
    many = compiled(tfpbnn.ensembles.DeepEnsemble(mlp, MEMBERS))
    one = mlp()
    passes = tf.function(lambda x: one(x, training=False), autograph=False)
    x = x[:1000]
    tensor = tf.constant(x)
    ratios = []
    tfpbnn.predict(many, x)
    passes(tensor)
    for _ in range(rounds):
        wall, _ = seconds(lambda: tfpbnn.predict(many, x).outputs)
        single, _ = seconds(lambda: [passes(tensor) for _ in range(20)])
        ratios.append(wall / (single / 20))
    print(f"predict / one pass, 1000 rows:         {np.median(ratios):6.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    x = DATA.random((10_000, 784), dtype=np.float32)
    print("MLP 784-256-256-10")
    training(mlp, x, 2, rounds, all_members=True)
    prediction(x, 3 * rounds)
    print("\nconvolutional, 2,560 rows, 1 epoch")
    images = x[:2560].reshape(-1, 28, 28, 1)
    training(cnn, images, 1, rounds, all_members=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\nlargest memory of the process: {peak:.2f} GiB")


if __name__ == "__main__":
    main()
