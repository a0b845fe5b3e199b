"""Minimizes the negative log-likelihood of a mixture over draws."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfpbnn.base.types import Array, Tensor

# How many elements of [S, n, P] are worked on at once.
_CHUNK = 2**22
_TOLERANCE = 1e-7
_MOST_STEPS = 1000
_MEMORY = 20
# A mean negative log-likelihood below this is that of no error at all.
_NO_ERROR = 1e-4
# From numbers `[D]`, outputs `[S, n, P]` and targets to log-likelihoods `[n]`.
LogLikelihood = Callable[[Tensor, Tensor, Tensor], Tensor]
# From numbers `[D]` to what is to be small, and its gradient.
Objective = Callable[[Array], tuple[float, Array]]
# From a gradient `[D]` to the step that is best if curvatures are about these.
Rough = Callable[[Array], Array]


def minimum(
    log_likelihood: LogLikelihood,
    start: Array,
    outputs: Array,
    y: Array,
    weights: Array,
    penalty: Callable[[Tensor], Tensor] | None = None,
    *,
    name: str,
    most: float = 1e4,
    rough: Rough | None = None,
) -> Array:
    """Finds the numbers of the least negative log-likelihood, by L-BFGS.

    Args:
        log_likelihood: the log-likelihood of each place, in float64.
        start: where the search begins, `[D]`.
        outputs: the outputs at each draw, `[S, n, P]`.
        y: what came true, `[n, ...]`.
        weights: the weights of the places, `[n]`.
        penalty: what is added to the weighted mean.
        name: that of the calibrator, for errors.
        most: the size of a number at which the search ends, since there is no
            minimum; the number is then returned as it is.
        rough: multiplies a gradient by about the inverse of the second
            derivatives; None where numbers have curvatures of one size.

    Raises:
        ValueError: if the search does not end, or if there is no minimum, as
            where a map can predict all labels without an error.
    """
    objective = _objective(log_likelihood, outputs, y, weights, penalty)
    start = np.asarray(start, np.float64)
    point, gradient = _descended(objective, start, most, rough or np.copy)
    if np.max(np.abs(point)) > most:
        return point
    largest = float(np.max(np.abs(gradient)))
    # The sum may be too coarse for the last digits of the gradient.
    if not largest < 100 * _TOLERANCE:
        raise ValueError(
            f"`{name}` must have a minimum of the negative log-likelihood, "
            f"which a search did not find (its gradient is {largest:.2g}). "
            "Give it more held-out rows, with labels of all classes, or use a "
            "calibrator of fewer numbers, such as Temperature"
        )
    return point


def _descended(
    objective: Objective, point: Array, most: float, rough: Rough
) -> tuple[Array, Array]:
    """Goes down by L-BFGS; returns where it ends, and the gradient there.

    Reference:
        Nocedal and Wright, 2006, Numerical optimization, algorithm 7.5
    """
    value, gradient = objective(point)
    moves: list[tuple[Array, Array]] = []
    for _ in range(_MOST_STEPS):
        is_far = np.max(np.abs(point)) > most
        if is_far or np.max(np.abs(gradient)) < _TOLERANCE:
            break
        direction = -_preconditioned(gradient, moves, rough)
        slope, size = float(direction @ gradient), 1.0
        while size > 1e-12:
            new_value, new_gradient = objective(point + size * direction)
            if new_value <= value + 1e-4 * size * slope:
                break
            size /= 2
        else:
            if not moves:
                break
            moves = []  # once more, straight down
            continue
        move, change = size * direction, new_gradient - gradient
        if move @ change > 1e-14 * np.linalg.norm(move) ** 2:
            moves = [*moves, (move, change)][-_MEMORY:]
        point, value, gradient = point + move, new_value, new_gradient
    return point, gradient


def _preconditioned(
    gradient: Array, moves: list[tuple[Array, Array]], rough: Rough
) -> Array:
    """Multiplies by the inverse of the second derivatives, as moves tell it."""
    if not moves:
        found = rough(gradient)
        return found / max(1.0, float(np.linalg.norm(found)))
    found, shares = gradient.copy(), []
    for move, change in reversed(moves):
        share = (move @ found) / (move @ change)
        found -= share * change
        shares.append(share)
    move, change = moves[-1]
    found = rough(found) * ((move @ change) / (change @ rough(change)))
    for (move, change), share in zip(moves, reversed(shares), strict=True):
        found += (share - (change @ found) / (move @ change)) * move
    return found


def check_has_errors(value: float, name: str) -> None:
    """Raises if labels were predicted without error, so scales are infinite."""
    if value < _NO_ERROR:
        raise ValueError(
            f"`{name}` must be fitted on held-out rows of which some are "
            "predicted wrongly: without errors the best probabilities are 0 "
            "and 1, however few the rows. Received: a negative log-likelihood "
            f"of {value:.2g}. Give it more rows, that no training has seen"
        )


def value_of(
    log_likelihood: LogLikelihood,
    point: Array,
    outputs: Array,
    y: Array,
    weights: Array,
) -> float:
    """Computes the weighted mean negative log-likelihood at some numbers."""
    objective = _objective(log_likelihood, outputs, y, weights, None)
    return objective(point)[0]


def curvature(
    log_likelihood: LogLikelihood,
    point: Array,
    outputs: Array,
    y: Array,
    weights: Array,
) -> float:
    """Computes the second derivative of the mean, of one number `[1]`."""
    objective = _objective(log_likelihood, outputs, y, weights, None)
    step = 1e-4
    ends = [objective(point + move)[1][0] for move in (-step, step)]
    return float((ends[1] - ends[0]) / (2 * step))


def _objective(
    log_likelihood: LogLikelihood,
    outputs: Array,
    y: Array,
    weights: Array,
    penalty: Callable[[Tensor], Tensor] | None,
) -> Objective:
    rows = max(1, _CHUNK // max(1, outputs[:, :1].size))
    shares = weights / np.sum(weights)
    parts = [
        (
            outputs[:, start : start + rows],
            y[start : start + rows],
            shares[start : start + rows],
        )
        for start in range(0, len(y), rows)
    ]

    # Not compiled: a search takes less time than that.
    def part(point: Tensor, *arrays: Array) -> tuple[Tensor, Tensor]:
        outputs, y, share = (tf.constant(a, tf.float64) for a in arrays)
        with tf.GradientTape() as tape:
            tape.watch(point)
            found = log_likelihood(point, outputs, y)
            value = -tf.reduce_sum(share * found)
        return value, tape.gradient(value, point)

    def objective(at: Array) -> tuple[float, Array]:
        point = tf.constant(at, tf.float64)
        found = [part(point, *arrays) for arrays in parts]
        if penalty is not None:
            with tf.GradientTape() as tape:
                tape.watch(point)
                value = penalty(point)
            found.append((value, tape.gradient(value, point)))
        values, gradients = zip(*found, strict=True)
        return float(tf.add_n(values)), tf.add_n(gradients).numpy()

    return objective


def log_mean_exp(log_p: Tensor) -> Tensor:
    """Computes the logarithm of an average over draws, the first axis."""
    count = tf.cast(tf.shape(log_p)[0], log_p.dtype)
    return tf.reduce_logsumexp(log_p, axis=0) - tf.math.log(count)
