"""Kernels that members share, up to factors of their inputs and outputs."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from tfpbnn import random
from tfpbnn.base import checks
from tfpbnn.base.stacking import dense, flatten
from tfpbnn.base.types import Config, Shape, Tensor
from tfpbnn.families import Family
from tfpbnn.layers.linear import estimators
from tfpbnn.layers.linear.ops import LinearOp
from tfpbnn.layers.linear.weights import Weight
from tfpbnn.layers.members.base import drawn_members, grouped

Shapes = dict[str, Any]


def check_points(arguments: Mapping[str, Any]) -> None:
    """Raises if a layer's own weights are given a distribution."""
    given = [n for n in arguments if n.endswith(("_posterior", "_prior"))]
    if given:
        raise TypeError(
            "The kernel that members share, and their biases, are points: "
            f"without a posterior and a prior. Received: {given}"
        )


class FastWeights:
    """A part of a layer: `s_m * op(r_m * x, kernel) + bias_m` for member m.

    So member m has the kernel times an outer product of r_m and s_m, along the
    axes where `LinearOp` says that the kernel's indices are. The layer owns
    all of these weights; its kernel and its bias are points.

    Args:
        num_members: the count of members.
        weight: what r and s, the fast weights, are made with.

    Attributes:
        names: of r, if the inputs are not integers, and of s.
        is_random: whether r and s have a distribution.
    """

    def __init__(self, num_members: int, weight: Weight):
        self.num_members = checks.positive_integer("num_members", num_members)
        self.weight = weight
        self.is_random = weight.posterior is not None
        self.names: tuple[str, ...] = ()

    def with_weights(self, weights: Mapping[str, Weight]) -> dict[str, Weight]:
        """The layer's weights as points that start as Keras's do, and ours."""
        found = {
            name: dataclasses.replace(weight, posterior=None, prior=None)
            for name, weight in weights.items()
        }
        kernel, *_ = found
        is_table = kernel == "embeddings"
        if found[kernel].initializer is None:
            start = "uniform" if is_table else "glorot_uniform"
            found[kernel] = dataclasses.replace(
                found[kernel], initializer=start
            )
        self.names = ("fast_output",)
        if not is_table:
            self.names = ("fast_input", *self.names)
        return found | dict.fromkeys(self.names, self.weight)

    def shapes(
        self, shapes: Shapes, op: LinearOp, x_shape: Shape, y_shape: Shape
    ) -> Shapes:
        """The shapes of the layer's weights, with a bias for each member."""
        sizes = {
            "fast_input": [x_shape[axis] for axis in op.x_axes],
            "fast_output": [y_shape[axis] for axis in op.y_axes],
        }
        own = {name: sizes[name] for name in self.names}
        own |= {"bias": shapes["bias"]} if "bias" in shapes else {}
        members = {n: (self.num_members, *size) for n, size in own.items()}
        return shapes | members

    def drawing(self) -> random.Drawing:
        """What the layer can do in a scope: draws of members, or more."""
        count = None if self.is_random else self.num_members
        return random.Drawing(num_draws=count, can_stack=True)

    def apply(
        self,
        layer_name: str,
        op: LinearOp,
        inputs: Tensor,
        posteriors: Mapping[str, Family | None],
        bias_axes: Sequence[int],
        key: Tensor | None,
    ) -> Tensor:
        """The outputs of rows in groups of members, or of draws of a scope.

        Args:
            layer_name: for error messages.
            op: the layer's operation.
            inputs: `[members * B, ...]`; `[S or 1, B, ...]` in a stacked scope.
            posteriors: the layer's, by name, the kernel's first.
            bias_axes: the axes of the outputs, negative, that the bias's are.
            key: of the draw, or draws; None for the posterior means.
        """
        inputs = dense(inputs)  # factors have an axis of members
        members = drawn_members(self.num_members, layer_name)
        scope = random.current_scope()
        is_stacked = scope is not None and scope.is_stacked
        if members is None:
            x = grouped(inputs, self.num_members, layer_name)
        else:
            x = inputs if is_stacked else inputs[tf.newaxis]

        def of_groups(name: str, like: Tensor, axes: Sequence[int]) -> Tensor:
            posterior, index = posteriors[name], list(posteriors).index(name)
            assert posterior is not None
            own = None if key is None else random.fold(key, index)
            weights = _of_groups(posterior, members, own)
            return _beside(weights, like, axes[1 - len(weights.shape) :])

        kernel, *_ = posteriors.values()
        assert kernel is not None
        if op.x_axes:
            x = x * of_groups("fast_input", x, op.x_axes)
        sizes = tf.shape(x)[:2]
        y = estimators.mean(op, flatten(x), kernel)
        shape = [*x.shape[:2], *y.shape[1:]]
        y = tf.reshape(y, tf.concat([sizes, tf.shape(y)[1:]], 0))
        y.set_shape(shape)
        y = y * of_groups("fast_output", y, op.y_axes)
        if bias_axes:
            y = y + of_groups("bias", y, bias_axes)
        return y if is_stacked else flatten(y)

    def without_own(self, config: Config) -> Config:
        """The layer's config without what is not an argument."""
        points = {
            f"{name}_{part}"
            for name in ("kernel", "depthwise", "embeddings", "bias")
            for part in ("posterior", "prior")
        }
        return {
            name: value
            for name, value in config.items()
            if name not in points and not name.startswith(self.names)
        } | {"num_members": self.num_members}


def _of_groups(
    posterior: Family, members: Tensor | None, key: Tensor | None
) -> Tensor:
    """A weight of each group's member, `[G, ...]`."""
    if key is None or not posterior.is_random:
        weights = tf.convert_to_tensor(posterior.loc)
        return weights if members is None else tf.gather(weights, members)
    if members is None:
        return posterior.sample(key)
    draws = posterior.draws(key if len(key.shape) > 1 else key[tf.newaxis])
    return tf.gather(draws, members, axis=1, batch_dims=1)


def _beside(weights: Tensor, like: Tensor, axes: Sequence[int]) -> Tensor:
    """`[G, ...]` in a shape that broadcasts to `[G, B, ...]`.

    Args:
        weights: with an axis for each of `axes`, behind the first.
        like: the tensor.
        axes: of the tensor, negative.
    """
    shape = [1] * (len(like.shape) - 1)
    for axis, size in zip(axes, weights.shape[1:], strict=True):
        shape[axis] = size
    return tf.cast(tf.reshape(weights, [-1, *shape]), like.dtype)
