"""Computes with mixtures of one distribution at many locations and scales.

What a mixture over draws is asked for takes its distribution function many
times. Here that is a loop over standardized places in which XLA does several
of them in one pass over the draws, in float32 relative to the mixture's mean
and standard deviation; what is left of the error is taken away in float64.
"""

import functools
import json
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from tfpbnn.base.types import Tensor
from tfpbnn.likelihoods import Likelihood
from tfpbnn.likelihoods.standard import Standard

# Fewer elements than this, of draws and rows, are done in float64 at once: XLA
# takes a while to compile.
LARGE = 2**19
# Others are done so many at a time, which stay in the cache.
CHUNK = 2**19
# Beyond this level and one minus it float32 has too few digits.
LEAST_LEVEL = 1e-3
# Places of the integral in one pass over the draws, on each side.
_PLACES = 4
_FIRST_STEP = 0.5
_MOST_HALVINGS = 8
_MOST_STEPS = 60


class Components(NamedTuple):
    """Holds a mixture's parts, `[D, n, .., k]` each, or None.

    Attributes:
        loc: their locations.
        rate: one by their scales, since multiplying is faster than dividing.
        weight: their probabilities; None if all are the same.
    """

    loc: Tensor
    rate: Tensor
    weight: Tensor | None

    def relative(self, center: Tensor, width: Tensor) -> "Components":
        """Returns the parts in units of a width `[n, .., k]`, from a center."""
        loc = (self.loc - center) * (1 / width)
        return self._replace(loc=loc, rate=self.rate * width)

    def cast(self, dtype: Any) -> "Components":
        """Returns the parts in another precision."""
        return Components(
            *(None if part is None else tf.cast(part, dtype) for part in self)
        )

    def mean(self, function: Callable[..., Tensor], x: Tensor) -> Tensor:
        """Computes the average of `function(u, scale)` at places x.

        Args:
            function: of u = (x - loc) / scale, and of the rate.
            x: `[Q, n, .., k]`, or sizes of 1 in place of these.

        Returns:
            `[Q, n, .., k]`.
        """
        u = (x[:, tf.newaxis] - self.loc) * self.rate
        found = function(u, self.rate)
        if self.weight is None:
            return tf.reduce_mean(found, axis=1)
        return tf.reduce_sum(self.weight * found, axis=1)


def components(likelihood: Likelihood, outputs: Tensor) -> Components:
    """Returns a mixture's parts, from outputs `[S, n, .., P]` of draws."""
    marginals = likelihood.marginals(outputs)
    parts = getattr(marginals, "components_distribution", marginals)
    loc, scale = parts.loc, parts.scale
    if scale.shape != loc.shape:
        scale = scale + tf.zeros_like(loc)
    rate = 1 / scale
    if parts is marginals:
        return Components(loc, rate, None)
    weight = tf.nn.softmax(marginals.mixture_distribution.logits, axis=-1)
    weight = weight / tf.cast(tf.shape(loc)[0], loc.dtype)
    return Components(_front(loc), _front(rate), _front(weight))


def _front(parts: Tensor) -> Tensor:
    """Turns `[S, n, .., C]` into `[S * C, n, ..]`."""
    rank = len(parts.shape)
    moved = tf.transpose(parts, [0, rank - 1, *range(1, rank - 1)])
    return tf.reshape(moved, [-1, *parts.shape[1:-1]])


def crps(
    parts: Components, standard: Standard, y: Tensor, gap: Tensor
) -> Tensor:
    """Computes the CRPS, which is E|Y - y| less half E|Y - Y'|.

    Args:
        parts: of the mixture.
        standard: the distribution of each.
        y: targets, `[n, .., k]`.
        gap: half of E|Y - Y'|, as by `half_distance`.

    Reference:
        [Gneiting and Raftery, 2007](https://doi.org/10.1198/016214506000001437)
    """

    def distance(u: Tensor, rate: Tensor) -> Tensor:
        return standard.distance(u) / rate

    return parts.mean(distance, y[tf.newaxis])[0] - gap


def half_distance(parts: Components, standard: Standard) -> Tensor:
    """Computes the integral of F (1 - F) by width, which is half E|Y - Y'|.

    By the trapezoidal rule in t, where the place is sinh(t): its error falls
    geometrically with the number of places for smooth functions on the line.
    Steps are halved until that changes no row by more than the tolerance; the
    error that is left is far smaller than the last change: 1e-5 of the width in
    float32, unless the parts are narrower than a hundredth of it.

    Args:
        parts: relative to the mixture's mean and standard deviation.
        standard: the distribution of each.
    """
    dtype = parts.loc.dtype
    tolerance = 3e-4 if dtype == tf.float32 else 1e-6

    def halve(step: Tensor, old: Tensor, _: Tensor) -> Any:
        new = 0.5 * (old + step * _walk(parts, standard, 0.5 * step, step))
        return 0.5 * step, new, tf.reduce_max(tf.abs(new - old))

    step = tf.constant(_FIRST_STEP, dtype)
    middle = _spread(parts, standard, tf.zeros([1], dtype))[0]
    first = step * (middle + _walk(parts, standard, step, step))
    _, found, _ = tf.while_loop(
        lambda *state: state[-1] > tolerance,
        halve,
        (step, first, tf.constant(1.0, dtype)),
        maximum_iterations=_MOST_HALVINGS,
    )
    return found


def _spread(parts: Components, standard: Standard, t: Tensor) -> Tensor:
    """Computes F (1 - F) at places sinh(t), `[T, n, .., k]`."""
    places = tf.reshape(tf.sinh(t), [-1] + [1] * (len(parts.loc.shape) - 1))
    f = parts.mean(lambda u, _: standard.centered(u), places)
    return 0.25 - f * f


def _walk(
    parts: Components, standard: Standard, start: Tensor, step: Tensor
) -> Tensor:
    """Sums over places, outwards to both sides until nothing is left."""
    dtype = parts.loc.dtype
    # F (1 - F) falls from the median on. In float32 it never is quite 0.
    least = 5e-7 if dtype == tf.float32 else 1e-12
    steps = step * tf.range(_PLACES, dtype=dtype)

    def further(t: Tensor, total: Tensor, _: Tensor) -> Any:
        places = tf.concat([t + steps, -t - steps], axis=0)
        found = _spread(parts, standard, places)
        total += tf.tensordot(tf.cosh(places), found, 1)
        ends = tf.reduce_max(found[_PLACES - 1] + found[-1])
        return t + _PLACES * step, total, ends

    _, total, _ = tf.while_loop(
        lambda *state: state[-1] > least,
        further,
        (start, tf.zeros_like(parts.loc[0]), tf.constant(1.0, dtype)),
        maximum_iterations=_MOST_STEPS * 2**_MOST_HALVINGS,
    )
    return total


def quantiles(
    parts: Components,
    standard: Standard,
    levels: Tensor,
    center: Tensor,
    width: Tensor,
) -> tuple[Tensor, Tensor]:
    """Finds quantiles in float32, and then makes one step in float64.

    Where the density is small beside the level, as between far modes, or
    changes much within the step, there is no telling. From the
    quantiles of a Normal it takes two passes over the draws in float32 where
    draws are not far apart, and one in float64: one `exp` each for an element
    and level.

    Args:
        parts: of the mixture, in float64.
        standard: the distribution of each.
        levels: `[Q]`.
        center: the mixture's mean, `[n, .., k]`.
        width: its standard deviation.

    Returns:
        The quantiles `[n, Q, .., k]`, and whether the last step was small.
    """
    parts = parts.relative(center, width)
    single = tf.cast(levels, tf.float32)
    x = tf.cast(roots(parts.cast(tf.float32), standard, single), tf.float64)
    q = tf.reshape(levels, [-1] + [1] * (len(x.shape) - 1))
    found = _halley(parts, standard._replace(centered=standard.quick), x, q)
    step, turn, density = found.step, found.turn, found.density
    is_steep = density > 0.01 * tf.minimum(q, 1 - q)
    # The error is about the square of the turn times the step.
    is_near = (tf.abs(step) < 1e-4) & (tf.abs(step * turn * turn) < 1e-10)
    is_right = is_steep & is_near
    axes = [1, 0, *range(2, len(x.shape))]
    found = center + width * (x + step)
    return tf.transpose(found, axes), tf.transpose(is_right, axes)


def roots(parts: Components, standard: Standard, levels: Tensor) -> Tensor:
    """Finds quantiles by Halley's steps, kept in brackets that shrink.

    Args:
        parts: relative to the mixture's mean and standard deviation.
        standard: the distribution of each.
        levels: `[Q]`.

    Returns:
        The quantiles `[Q, n, .., k]`, to about 1e-5 where the density is not
        small.
    """
    dtype = parts.loc.dtype
    q = tf.reshape(levels, [-1] + [1] * (len(parts.loc.shape) - 1))
    zeros = tf.zeros_like(parts.loc[:1]) + tf.zeros_like(q)
    # Cantelli's inequality.
    low = zeros - 1.01 * tf.sqrt((1 - q) / q) - 1e-3
    high = zeros + 1.01 * tf.sqrt(q / (1 - q)) + 1e-3
    start = zeros + math.sqrt(2) * tf.math.erfinv(2 * q - 1)

    def step(i: Tensor, x: Any, low: Any, high: Any, done: Any) -> Any:
        excess, _, move, turn = _halley(parts, standard, x, q)
        low = tf.where(excess < 0, x, low)
        high = tf.where(excess < 0, high, x)
        # What is left is about the square of the turn times the move. Rounding
        # may put it out of its bracket, which says nothing any more.
        found = (tf.abs(move) < 0.01) & (tf.abs(turn) < 0.03)
        new = x + move
        # Where the steps get nowhere, halving does.
        is_good = found | ((new > low) & (new < high) & (i % 8 < 7))
        new = tf.where(is_good, new, 0.5 * (low + high))
        found |= tf.abs(new - x) < 1e-5
        return i + 1, tf.where(done, x, new), low, high, done | found

    start = tf.cast(start, dtype)
    _, x, *_ = tf.while_loop(
        lambda *state: ~tf.reduce_all(state[-1]),
        step,
        (tf.constant(0), start, low, high, tf.zeros_like(start, bool)),
        maximum_iterations=_MOST_STEPS,
    )
    return x


class _Halley(NamedTuple):
    """Holds the state of a root search at a place, and a step towards the root.

    Attributes:
        excess: the distribution function less the level.
        density: the derivative of it.
        step: the step to take.
        turn: half of the share by which the density changes in Newton's step.
    """

    excess: Tensor
    density: Tensor
    step: Tensor
    turn: Tensor


def _halley(
    parts: Components, standard: Standard, x: Tensor, q: Tensor
) -> _Halley:
    """Computes Halley's step from x to the quantile of level q."""
    excess = parts.mean(lambda u, _: standard.centered(u), x) - (q - 0.5)
    density = parts.mean(lambda u, rate: rate * standard.pdf(u), x)
    slope = parts.mean(lambda u, rate: rate * rate * standard.slope(u), x)
    newton = -excess / density
    turn = 0.5 * newton * slope / density
    step = newton / (1 + tf.clip_by_value(turn, -0.5, 1.0))
    return _Halley(excess, density, step, turn)


def half_distances(
    parts: Components, standard: Standard, center: Tensor, width: Tensor
) -> Tensor:
    """Computes `half_distance` of any mixture, in its own units."""
    parts = parts.relative(center, width).cast(tf.float32)
    return width * tf.cast(half_distance(parts, standard), width.dtype)


def crps_of(
    parts: Components,
    standard: Standard,
    y: Tensor,
    gap: Tensor,
    center: Tensor,
    width: Tensor,
) -> Tensor:
    """Computes `crps` relative to the mixture's mean and deviation."""
    parts = parts.relative(center, width).cast(tf.float32)
    y = tf.cast((y - center) / width, tf.float32)
    zero = tf.zeros_like(y)
    return width * tf.cast(crps(parts, standard, y, zero), width.dtype) - gap


@functools.lru_cache(maxsize=64)
def _compiled(function: Any, kind: Any, config: str) -> Any:
    """Compiles one of the functions above by XLA, with making the parts."""
    likelihood = kind.from_config(json.loads(config))

    def run(outputs: Tensor, *arguments: Tensor) -> Any:
        parts = components(likelihood, outputs)
        return function(parts, likelihood.standard, *arguments)

    return tf.function(run, jit_compile=True, reduce_retracing=False)


def compiled(
    function: Any, likelihood: Likelihood, outputs: Tensor, *arguments: Tensor
) -> Any:
    """Calls one of the functions above, compiled.

    The parts are made in the same program, a third of the time of it all; one
    program serves all likelihoods of the same config, which may change.

    Args:
        function: `quantiles`, `half_distances` or `crps_of`.
        likelihood: the likelihood of the outputs.
        outputs: the outputs at each draw, `[S, n, .., P]`.
        arguments: what the function takes after the parts and the standard.
    """
    config = likelihood.get_config() | {"name": None}
    kind: Any = type(likelihood)
    key = json.dumps(config, sort_keys=True)
    return _compiled(function, kind, key)(outputs, *arguments)
