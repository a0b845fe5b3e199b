"""Computes with mixtures of counts by adding up their probabilities.

A Poisson's and a negative binomial's probabilities follow from one another by a
product. So counts are gone through from 0 on, for all draws at once, until
nothing is left that matters: targets and levels are reached within few counts,
and a step costs far less than one value of an incomplete gamma function.

To add a distribution: how its probabilities follow, in `_recurrences`.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Array, Tensor
from tfpbnn.likelihoods import Likelihood

# Draws and rows that are gone through at once stay in the cache.
CHUNK = 2**16
# Rows that need counts from here on are left to distribution functions.
MOST = 2**15
# Above it the sum of many probabilities has too few digits.
HIGHEST_LEVEL = 1 - 1e-9
# Below its exponential the first probability is not a normal number.
_LEAST_LOG = -650.0
_TAIL = 1e-6


class Recurrence(NamedTuple):
    """Holds the probabilities of counts, `[S, n, .., k]` each.

    P(z + 1) / P(z) = (start + rise * z) / (z + 1).

    Attributes:
        log_first: the logarithm of P(0).
        start: see above.
        rise: see above; None if it is zero.

    Reference:
        [Panjer, 1981](https://doi.org/10.1017/S0515036100006796)
    """

    log_first: Tensor
    start: Tensor
    rise: Tensor | None

    def following(self, z: Tensor, p: Tensor) -> Tensor:
        """Computes P(z + 1) of p = P(z)."""
        ratio = self.start / (z + 1)
        if self.rise is not None:
            ratio += self.rise * (z / (z + 1))
        return p * ratio


def _poisson(distribution: Any) -> Recurrence:
    rate = distribution.rate_parameter()
    return Recurrence(-rate, rate, None)


def _negative_binomial(distribution: Any) -> Recurrence:
    count, logits = distribution.total_count, distribution.logits_parameter()
    rise = tf.math.sigmoid(logits)
    return Recurrence(-count * tf.math.softplus(logits), count * rise, rise)


def _recurrences() -> dict[type, Callable[[Any], Recurrence]]:
    return {
        tfp.distributions.Poisson: _poisson,
        tfp.distributions.NegativeBinomial: _negative_binomial,
    }


def recurrence(likelihood: Likelihood, outputs: Tensor) -> Recurrence | None:
    """Returns the probabilities of outputs `[S, n, .., P]`, if they follow."""
    marginals = likelihood.marginals(outputs)
    make = _recurrences().get(type(marginals))
    return None if make is None else make(marginals)


def _walk(
    parts: Recurrence,
    visit: Callable[..., tuple[Tensor, ...]],
    state: tuple[Tensor, ...],
    is_done: Callable[..., Tensor],
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Goes through counts until each row is done, or can't be.

    Args:
        parts: the probabilities.
        visit: a function of the count z, P(count <= z) `[n, .., k]` and state
            that returns the new state.
        state: the first state.
        is_done: a function of the same which says what rows are done before z.

    Returns:
        The last state, and which rows are done right.
    """
    is_possible = tf.reduce_all(parts.log_first > _LEAST_LOG, axis=0)
    first = tf.exp(parts.log_first)

    def step(z: Tensor, p: Tensor, f: Tensor, state: Any) -> Any:
        f = tf.minimum(f + tf.reduce_mean(p, axis=0), 1.0)
        return z + 1, parts.following(z, p), f, visit(z, f, *state)

    def goes_on(z: Tensor, _: Tensor, f: Tensor, state: Any) -> Tensor:
        is_open = is_possible & ~is_done(z, f, *state)
        return (z < MOST) & tf.reduce_any(is_open)

    zero = tf.zeros([], first.dtype)
    nothing = tf.zeros_like(first[0])
    z, _, f, state = tf.while_loop(goes_on, step, (zero, first, nothing, state))
    return state, is_possible & is_done(z, f, *state)


def quantiles(parts: Recurrence, levels: Tensor) -> tuple[Tensor, Tensor]:
    """Finds the least counts that reach levels `[Q]`.

    Returns:
        The counts `[n, Q, .., k]`, and which rows and targets are right.
    """
    rank = len(parts.start.shape) - 1
    q = tf.reshape(levels, [1, -1] + [1] * (rank - 1))
    found = -tf.ones_like(parts.start[0][:, tf.newaxis] + q)

    def visit(z: Tensor, f: Tensor, found: Tensor) -> tuple[Tensor]:
        is_new = (found < 0) & (f[:, tf.newaxis] >= q)
        return (tf.where(is_new, z, found),)

    def is_done(_: Tensor, __: Tensor, found: Tensor) -> Tensor:
        return tf.reduce_all(found >= 0, axis=1)

    (found,), is_right = _walk(parts, visit, (found,), is_done)
    return found, is_right


def crps(parts: Recurrence, y: Tensor) -> tuple[Tensor, Tensor]:
    """Computes the CRPS, the sum over z of (F(z) - 1{z >= y})^2.

    Args:
        parts: the probabilities.
        y: the counts, `[n, .., k]`.

    Returns:
        The scores, and which are right.
    """

    def visit(z: Tensor, f: Tensor, score: Tensor) -> tuple[Tensor]:
        return (score + tf.square(f - tf.cast(z >= y, f.dtype)),)

    def is_done(z: Tensor, f: Tensor, _: Tensor) -> Tensor:
        return (z > y) & (f >= 1 - _TAIL)

    (score,), is_right = _walk(parts, visit, (tf.zeros_like(y),), is_done)
    return score, is_right


@functools.cache
def _compiled(function: Any) -> Any:
    """Compiles one of the functions above for any mixture, by XLA."""

    def run(parts: list[Any], *arguments: Tensor) -> Any:
        return function(Recurrence(*parts), *arguments)

    return tf.function(run, jit_compile=True, reduce_retracing=False)


def do_follow(p: Any) -> bool:
    """Whether the probabilities of a prediction are known to follow."""
    one = tf.constant(p.outputs[:1, :1])
    return recurrence(p.likelihood, one) is not None


def by_rows(
    p: Any,
    function: Callable[..., tuple[Tensor, Tensor]],
    arrays: Sequence[Array] = (),
    constants: Sequence[Array] = (),
) -> tuple[Array, Array]:
    """Calls `quantiles` or `crps` for all rows of a prediction.

    Args:
        p: a `RegressionPredictive` whose probabilities follow.
        function: of a recurrence, arrays of rows, and constants.
        arrays: what the function takes of each row, `[N, ...]` each.
        constants: what it takes that is the same for all rows.

    Returns:
        What the function does, of all rows.
    """
    call = _compiled(function) if p._is_large else function

    def chunk(outputs: Tensor, *arrays: Tensor) -> Any:
        parts = recurrence(p.likelihood, outputs)
        return call(parts, *arrays, *map(tf.constant, constants))

    # Rows that need as many steps go together.
    reach = np.max([p.mean + 5 * p.stddev, *arrays], axis=0)
    order = np.argsort(np.max(reach.reshape(len(p), -1), axis=1))
    there = np.argsort(order)
    found, is_right = p[order]._by_rows(
        chunk, *(array[order] for array in arrays), chunk=CHUNK
    )
    return found[there], is_right[there]
