"""Paths of Hamiltonian dynamics that double until they turn back.

Those of TensorFlow Probability's sampler are not taken for two reasons. Where
many directions are equally wide, they miss the turn and go in circles until the
largest depth ends them: 270 gradients a draw of 300 independent Normals, where
28 do. And what they remember to see the turn is copied at every step, which is
half as much work as the gradient of a small network.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfpbnn.base.types import Tensor
from tfpbnn.mcmc.kernels.base import chosen, is_divergent, value_and_slope


class Point(NamedTuple):
    """A place of a path: `[D]` each."""

    position: Tensor
    momentum: Tensor
    slope: Tensor


class Draw(NamedTuple):
    """A point that was drawn: `[D]` its position and slope, scalars the rest.

    The energy is with the momentum that it was reached with.
    """

    position: Tensor
    slope: Tensor
    log_prob: Tensor
    energy: Tensor


class Tree(NamedTuple):
    """What is known of points that follow each other.

    Attributes:
        draw: one of the points, drawn by their weights.
        log_weight: of all, of the sum; a point's is the energy at the start
            less its own.
        momentum: the sum of the points' momenta, `[D]`.
        acceptance: the sum of the points' weights, but of each at most 1.
        size: how many points were tried.
        has_turned: whether a part of the path turns back.
        has_diverged: whether the energy of a point is far off.
    """

    draw: Draw
    log_weight: Tensor
    momentum: Tensor
    acceptance: Tensor
    size: Tensor
    has_turned: Tensor
    has_diverged: Tensor

    @property
    def goes_on(self) -> Tensor:
        return tf.logical_not(self.has_turned | self.has_diverged)

    def with_point(
        self, draw: Draw, momentum: Tensor, weight: Tensor, log_uniform: Tensor
    ) -> "Tree":
        """With one more point, whose logarithm of the weight is given."""
        zero = tf.zeros_like(weight)
        weight = tf.where(tf.math.is_nan(weight), zero - np.inf, weight)
        total = _log_sum(self.log_weight, weight)
        return Tree(
            chosen(log_uniform <= weight - total, draw, self.draw),
            total,
            self.momentum + momentum,
            self.acceptance + tf.exp(tf.minimum(weight, zero)),
            self.size + 1,
            self.has_turned,
            is_divergent(weight),
        )


class Walk(NamedTuple):
    """How points follow each other.

    Attributes:
        log_prob: the log-density `[1]` of a position `[1, D]`.
        step_size: forwards; less than 0 backwards.
        start: the energy where the path began.
    """

    log_prob: Callable[[Tensor], Tensor]
    step_size: Tensor
    start: Tensor

    def towards(self, forwards: Tensor) -> "Walk":
        """Forwards or backwards."""
        size = tf.where(forwards, self.step_size, -self.step_size)
        return self._replace(step_size=size)

    def next(self, point: Point) -> tuple[Point, Draw]:
        """The point after one leapfrog step, and what it is as a draw."""
        half = point.momentum + self.step_size / 2 * point.slope
        position = point.position + self.step_size * half
        log_prob, slope = _seen(self.log_prob, position)
        momentum = half + self.step_size / 2 * slope
        energy = tf.reduce_sum(tf.square(momentum)) / 2 - log_prob
        draw = Draw(position, slope, log_prob, energy)
        return Point(position, momentum, slope), draw


def grown(
    log_prob: Callable[[Tensor], Tensor],
    position: Tensor,
    step_size: Tensor,
    depth: Tensor,
    most_depth: int,
    seed: Tensor,
) -> Tree:
    """Doubles a path forwards or backwards, until it turns back.

    Args:
        log_prob: the log-density `[1]` of a position `[1, D]`.
        position: where the path begins, `[D]`.
        step_size: a scalar.
        depth: how often it is doubled at most, a scalar.
        most_depth: the largest depth that there is.
        seed: of this step, `[2]`.
    """
    of_momentum, of_path = _split(seed, 2)
    momentum = tf.random.stateless_normal(
        tf.shape(position), of_momentum, dtype=position.dtype, alg="philox"
    )
    value, slope = _seen(log_prob, position)
    energy = tf.reduce_sum(tf.square(momentum)) / 2 - value
    walk = Walk(log_prob, step_size, energy)
    point = Point(position, momentum, slope)
    draw = Draw(position, slope, value, energy)

    def double(level: Tensor, tree: Tree, ends: Any) -> Any:
        key = tf.random.experimental.stateless_fold_in(of_path, level)
        size = tf.bitwise.left_shift(1, level)
        return level + 1, *_doubled(walk, tree, ends, size, most_depth, key)

    return tf.while_loop(
        lambda level, tree, _: (level < depth) & tree.goes_on,
        double,
        (tf.constant(0), _tree(draw, 0.0, momentum), (point, point)),
    )[1]


def _doubled(
    walk: Walk,
    tree: Tree,
    ends: tuple[Point, Point],
    size: Tensor,
    most_depth: int,
    seed: Tensor,
) -> tuple[Tree, tuple[Point, Point]]:
    """A path with as many more points before or after it, and its ends."""
    of_side, of_branch, of_choice = _split(seed, 3)
    forwards = _uniform(of_side, walk.start.dtype) < 0.5
    left, right = ends
    start = chosen(forwards, right, left)
    branch, end = _branch(
        walk.towards(forwards), start, size, most_depth, of_branch
    )
    left, right = chosen(forwards, (left, end), (end, right))
    tree = _joined(tree, branch, _log_uniform(of_choice, walk.start.dtype))
    turned = _turns(left.momentum, right.momentum, tree.momentum)
    tree = tree._replace(has_turned=tree.has_turned | turned)
    return tree, (left, right)


def _joined(tree: Tree, branch: Tree, log_uniform: Tensor) -> Tree:
    """A path with one more branch; draws of new branches are preferred.

    Of a branch that turns back, or diverges, no point is drawn: from there the
    path would have ended before.
    """
    ratio = branch.log_weight - tree.log_weight
    is_drawn = branch.goes_on & (log_uniform <= ratio)
    return Tree(
        chosen(is_drawn, branch.draw, tree.draw),
        _log_sum(tree.log_weight, branch.log_weight),
        tree.momentum + branch.momentum,
        tree.acceptance + branch.acceptance,
        tree.size + branch.size,
        branch.has_turned,
        branch.has_diverged,
    )


def _branch(
    walk: Walk, start: Point, size: Tensor, most_depth: int, seed: Tensor
) -> tuple[Tree, Point]:
    """As many more points, or fewer if some of them turn back or diverge.

    Returns:
        the tree of all, and the last point.
    """
    zero = tf.zeros_like(walk.start)
    draw = Draw(start.position, start.slope, zero, zero)
    tree = _tree(draw, float("-inf"), tf.zeros_like(start.momentum))

    def step(number: Tensor, tree: Tree, point: Point, corners: Corners) -> Any:
        point, draw = walk.next(point)
        key = tf.random.experimental.stateless_fold_in(seed, number)
        drawn = tree.with_point(
            draw,
            point.momentum,
            walk.start - draw.energy,
            _log_uniform(key, zero.dtype),
        )
        corners = corners.with_one(number, point.momentum, tree.momentum)
        turned = corners.turn(number, point.momentum, drawn.momentum)
        return number + 1, drawn._replace(has_turned=turned), point, corners

    corners = Corners.none(start.momentum, most_depth)
    _, tree, end, _ = tf.while_loop(
        lambda number, tree, *_: (number < size) & tree.goes_on,
        step,
        (tf.constant(0), tree, start, corners),
    )
    return tree, end


class Corners(NamedTuple):
    """The first points of those parts of a branch that have not ended yet.

    The parts are as doubling would make them: points 2k and 2k + 1, 4k to
    4k + 3, and so on. They are remembered in rows: of a point of an even number
    in as many as the number, halved, has bits that are 1. A row is free again
    when a point comes that has the same.

    Attributes:
        momenta: their momenta, `[rows, D]`.
        before: the sums of momenta of all points before them, `[rows, D]`.
    """

    momenta: tf.TensorArray
    before: tf.TensorArray

    @classmethod
    def none(cls, momentum: Tensor, most_depth: int) -> "Corners":
        """No points, of branches of up to 2 to that power less one."""
        arrays = (
            tf.TensorArray(
                momentum.dtype,
                # In row 0 are points of odd numbers, which nobody reads.
                most_depth + 1,
                element_shape=momentum.shape,
                clear_after_read=False,
            )
            for _ in range(2)
        )
        zeros = tf.zeros([most_depth + 1, *momentum.shape], momentum.dtype)
        return cls(*(array.unstack(zeros) for array in arrays))

    def with_one(
        self, number: Tensor, momentum: Tensor, before: Tensor
    ) -> "Corners":
        """With the point of that number."""
        row = tf.where(tf.equal(number % 2, 0), self._row(number), 0)
        return Corners(
            self.momenta.write(row, momentum), self.before.write(row, before)
        )

    def turn(self, number: Tensor, momentum: Tensor, total: Tensor) -> Tensor:
        """Whether one of the parts that end with this point turns back.

        Args:
            number: of the point.
            momentum: its momentum.
            total: the sum of momenta of all points up to it.
        """
        last = self._row(number)
        # As many parts end here as the number ends with bits that are 1.
        parts = _bits(tf.bitwise.bitwise_xor(number, number + 1) // 2)

        def look(row: Tensor, _: Tensor) -> Any:
            first = self.momenta.read(row)
            of_part = total - self.before.read(row)
            return row - 1, _turns(first, momentum, of_part)

        return tf.while_loop(
            lambda row, turned: (row > last - parts) & ~turned,
            look,
            (last, tf.constant(False)),
        )[1]

    def _row(self, number: Tensor) -> Tensor:
        """Where the point is remembered that the smallest part begins with."""
        return 1 + _bits(number // 2)


def _turns(first: Tensor, last: Tensor, total: Tensor) -> Tensor:
    """Whether a path gets no farther from one end as it moves at the other.

    The path from end to end is the sum of momenta, of which the two ends count
    by half. With all of them, paths along which all directions turn together
    are not seen to turn.

    Args:
        first: the momentum at one end, `[D]`.
        last: at the other.
        total: the sum of all points' momenta.
    """
    way = total - (first + last) / 2
    return (tf.reduce_sum(first * way) <= 0) | (tf.reduce_sum(last * way) <= 0)


def _seen(
    log_prob: Callable[[Tensor], Tensor], position: Tensor
) -> tuple[Tensor, Tensor]:
    """The log-density of a position `[D]`, and its slope."""
    value, slope = value_and_slope(log_prob, position[tf.newaxis])
    return value[0], slope[0]


def _tree(draw: Draw, log_weight: float, momentum: Tensor) -> Tree:
    """Of no points that were tried."""
    no, zero = tf.constant(False), tf.zeros_like(draw.log_prob)
    weight = zero + log_weight
    return Tree(draw, weight, momentum, zero, tf.constant(0), no, no)


def _log_sum(a: Tensor, b: Tensor) -> Tensor:
    """The log of the sum of exponentials; of none, minus infinity."""
    most = tf.maximum(a, b)
    shift = tf.where(tf.math.is_finite(most), most, tf.zeros_like(most))
    return shift + tf.math.log(tf.exp(a - shift) + tf.exp(b - shift))


def _bits(number: Tensor) -> Tensor:
    """How many bits of a number are 1."""
    return tf.cast(tf.raw_ops.PopulationCount(x=number), tf.int32)


def _split(seed: Tensor, count: int) -> list[Tensor]:
    return tf.unstack(tf.random.experimental.stateless_split(seed, count))


def _uniform(seed: Tensor, dtype: Any) -> Tensor:
    return tf.random.stateless_uniform([], seed, dtype=dtype, alg="philox")


def _log_uniform(seed: Tensor, dtype: Any) -> Tensor:
    return tf.math.log1p(-_uniform(seed, dtype))
