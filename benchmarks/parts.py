"""Where a training step's time goes: its parts, one by one.

The weights of 784-512-512-10 (668,672 of them), float32. Every part is a
tf.function of its own; the median over interleaved rounds, in milliseconds.

    python benchmarks/parts.py [--rounds 15]
"""

import argparse
import time

import keras
import numpy as np
import tensorflow as tf

from tfpbnn import fused, random
from tfpbnn.families import MeanFieldNormal

SHAPES = [(784, 512), (512, 512), (512, 10)]
KEY = random.as_key(0)
BATCH, CALLS = 128, 20


def posteriors():
    made = []
    for shape in SHAPES:
        family = MeanFieldNormal()
        family.build(shape)
        made.append(family)
    return made


def each(function):
    """`function(posterior)` of all kernels, as one compiled function."""
    families = posteriors()

    @tf.function(autograph=False)
    def run():
        results = [function(family) for family in families]
        # A scalar of each result: what is measured must not be pruned.
        return [tf.reshape(r, [-1])[0] for r in tf.nest.flatten(results)]

    return run


def with_gradient(function, use_fused):
    def run(family):
        variables = [v.value for v in family.trainable_variables]
        with fused.enabled(use_fused), tf.GradientTape() as tape:
            value = function(family)
        return value, tape.gradient(
            value, variables, unconnected_gradients="zero"
        )

    return run


def kl(family, use_fused):
    loc = tf.convert_to_tensor(family.loc)
    raw = tf.convert_to_tensor(family.untransformed_scale)
    if use_fused:
        return fused.normal_kl(loc, raw, tf.constant(1.0))
    scale = family.scale
    return tf.reduce_sum(0.5 * (scale**2 + loc**2 - 1) - tf.math.log(scale))


def matmuls():
    """Forward and backward products of the deterministic network."""
    kernels = [tf.Variable(tf.random.normal(s)) for s in SHAPES]
    x = tf.random.normal([BATCH, 784])

    @tf.function(autograph=False)
    def run():
        with tf.GradientTape() as tape:
            y = x
            for kernel in kernels:
                y = y @ kernel
        return [g[0, 0] for g in tape.gradient(y, kernels)]

    return run


def adam(copies, jit_compile):
    """Keras's Adam over the weights, or over loc and scale (two copies)."""
    variables = [
        keras.Variable(np.zeros(s, "float32")) for s in SHAPES * copies
    ]
    gradients = [tf.random.normal(v.shape) for v in variables]
    optimizer = keras.optimizers.Adam()
    optimizer.build(variables)

    @tf.function(autograph=False, jit_compile=jit_compile)
    def run():
        optimizer.apply(gradients, variables)
        return tf.constant(0)

    return run


def signs():
    widths = [784, 512, 512, 512, 512, 10]

    @tf.function(autograph=False)
    def run():
        return [random.signs(KEY, [BATCH, n])[0, 0] for n in widths]

    return run


PARTS = {
    "an empty function": lambda: each(lambda _: tf.zeros([1])),
    "random bits, one word per weight": lambda: each(
        lambda q: random.bits(KEY, q.loc.shape)
    ),
    "normals of them, plain": lambda: each(
        lambda q: random.normal(KEY, q.loc.shape)
    ),
    "kernel draw and its gradient, plain": lambda: each(
        with_gradient(lambda q: q.sample(KEY), False)
    ),
    "kernel draw and its gradient, fused": lambda: each(
        with_gradient(lambda q: q.sample(KEY), True)
    ),
    "variances and their gradient, plain": lambda: each(
        with_gradient(lambda q: q.loc_and_variance()[1], False)
    ),
    "variances and their gradient, fused": lambda: each(
        with_gradient(lambda q: q.loc_and_variance()[1], True)
    ),
    "KL and its gradient, plain": lambda: each(
        with_gradient(lambda q: kl(q, False), False)
    ),
    "KL and its gradient, fused": lambda: each(
        with_gradient(lambda q: kl(q, True), True)
    ),
    "Flipout's signs, one bit each": signs,
    "products, forward and backward": matmuls,
    "Adam, deterministic weights": lambda: adam(1, False),
    "Adam, loc and scale": lambda: adam(2, False),
    "Adam, loc and scale, under XLA": lambda: adam(2, True),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    functions = {name: make() for name, make in PARTS.items()}
    times = {name: [] for name in functions}
    for function in functions.values():
        function(), function()
    for _ in range(args.rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            for _ in range(CALLS):
                function()
            times[name].append((time.perf_counter() - start) / CALLS * 1e3)
    for name, values in times.items():
        print(f"{name:40}{np.median(values):8.2f} ms")


if __name__ == "__main__":
    main()
