"""Ways from the prior to the posterior, along which the likelihood grows."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base.types import Array, Tensor, Tree
from tfpbnn.densities.log_density import LogDensity
from tfpbnn.mcmc.kernels.paths import walked

# Paths, and leapfrog steps of each; the last ones are of the whole likelihood.
_PATHS, _LAST, _STEPS = 120, 20, 64
# Step sizes follow the density, which gets narrower from path to path.
_TARGET, _RATE = 0.8, 0.5
# So do the units of directions, in which gradients and positions vary about as
# much: of the mean square of gradients each path keeps this share.
_KEPT = 0.8


def annealed(
    density: LogDensity, vector: Array, keys: Array, together: bool
) -> tuple[Array, Array]:
    """Where chains are after the likelihood has grown from little to all.

    At first it counts so little that draws of the prior are draws of the
    posterior too, and every hill between modes is low. Then its power grows by
    a factor each path, and chains come down while they can still choose where.
    They end near draws of the posterior, and not at some: units and step sizes
    follow each chain's own path to the end.

    Args:
        density: of the posterior.
        vector: draws of the prior, `[C, D]`.
        keys: of random numbers, for each chain, `[C, 2]`.
        together: whether all chains move in one program; else each by itself,
            so that its numbers are the same whatever the others are.

    Returns:
        where they are, and how wide each direction is there, `[C, D]` both.
    """
    data = keras.tree.map_structure(tf.constant, density.data)
    run = density.compiler.compiled(_Annealing(density))
    size = len(vector) if together else 1
    parts = [
        run(tf.constant(vector[c : c + size]), tf.constant(keys[c]), data)
        for c in range(0, len(vector), size)
    ]
    vectors, scales = zip(*parts, strict=True)
    return np.concatenate(vectors), np.concatenate(scales)


class _Annealing:
    """The program that does it, for some chains."""

    def __init__(self, density: LogDensity):
        self._density = density

    def __call__(
        self, vector: Tensor, key: Tensor, data: Tree
    ) -> tuple[Tensor, Tensor]:
        first = self._first_power(vector, data)
        size = tf.cast(vector.shape[-1], vector.dtype)
        log_size = tf.zeros_like(first) - tf.math.log(size) / 4

        def body(
            i: Tensor, vector: Tensor, log_size: Tensor, squares: Tensor
        ) -> Any:
            of_size, of_path = tf.unstack(
                tf.random.experimental.stateless_split(
                    tf.random.experimental.stateless_fold_in(key, i), 2
                )
            )
            done = tf.cast(i, vector.dtype) / (_PATHS - _LAST)
            power = first ** tf.maximum(1 - done, 0)
            # Of several lengths, so that no direction comes back each time.
            share = tf.random.stateless_uniform(
                [], of_size, 0.5, 1, dtype=vector.dtype, alg="philox"
            )
            scale = _scale(squares)
            step, _ = walked(
                lambda z: self._density(scale * z, data, power),
                vector / scale,
                share * tf.exp(log_size),
                tf.constant(_STEPS),
                of_path,
            )
            square = tf.square(step.slope / scale)
            return (
                i + 1,
                scale * step.position,
                log_size + _RATE * (step.acceptance - _TARGET),
                _KEPT * squares + (1 - _KEPT) * square,
            )

        _, vector, _, squares = tf.while_loop(
            lambda i, *_: i < _PATHS,
            body,
            (tf.constant(0), vector, log_size, tf.ones_like(vector)),
        )
        return vector, _scale(squares)

    def _first_power(self, vector: Tensor, data: Tree) -> Tensor:
        """With which the likelihood counts as much as the prior, `[C]`."""
        one = tf.ones_like(vector[:, 0])
        likelihood = self._density(vector, data, one)
        likelihood -= self._density(vector, data, 0 * one)
        size = tf.cast(vector.shape[-1], vector.dtype)
        return tf.minimum(size / tf.maximum(tf.abs(likelihood), 1), one)


def _scale(squares: Tensor) -> Tensor:
    """Widths of directions, from mean squares of gradients."""
    return squares**-0.25
