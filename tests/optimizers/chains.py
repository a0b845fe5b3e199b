"""Thousands of independent chains in one weight."""

import keras
import numpy as np
import tensorflow as tf

CHAINS, ROWS, PRECISION = 2000, 1000, 2000.0
RATE = 0.1
ETA = RATE / ROWS  # the step in the energy


def built(optimizer, start=None):
    """A weight `[CHAINS, ...]` that an optimizer trains."""
    start = np.zeros(CHAINS) if start is None else start
    weight = keras.Variable(start, dtype="float32")
    optimizer.build([weight])
    return weight


def visited(runs, steps=2000, every=100, burn_in=1000):
    """Samples `[S, CHAINS, ...]` of each of several energies.

    All are in one function, which is compiled once.

    Args:
        runs: of each the optimizer, the weight that it was built for and the
            energy's gradient, a function of weights and standard normals.
        steps: how many in all.
        every: how many from one sample to the next.
        burn_in: how many before the first.
    """

    @tf.function(jit_compile=True)
    def run(start):
        for i in tf.range(every):
            seed = tf.stack([start, i])
            for optimizer, weight, slope in runs:
                shape = weight.shape
                z = tf.random.stateless_normal(shape, seed, alg="philox")
                energy = slope(tf.convert_to_tensor(weight.value), z)
                optimizer.apply([energy / ROWS], [weight])
        return [tf.convert_to_tensor(weight.value) for _, weight, _ in runs]

    samples = [run(tf.constant(n)) for n in range(steps // every)]
    kept = samples[burn_in // every :]
    return [np.stack(found) for found in zip(*kept, strict=True)]


def quadratic(noise=0.0):
    """The gradient of `PRECISION w^2 / 2`, with noise."""
    return lambda weight, z: PRECISION * weight + noise * z
