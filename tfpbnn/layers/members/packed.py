"""Defines packed ensembles, whose small members are groups of channels."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import keras
import tensorflow as tf
from keras import initializers

from tfpbnn.base import checks, registry
from tfpbnn.base.types import Config, Shape, Tensor


class BasePacked(keras.layers.Layer):
    """A base to put before a Keras layer, with the arguments of packing.

    Attributes:
        packed_groups: the number of parts of the inputs; each part of the
            outputs is computed from one of them.
        width: the number of outputs of all members together.
    """

    # The argument of the Keras layer that is the count of outputs.
    _size: ClassVar[str] = "filters"
    kernel_initializer: Any

    def __init__(
        self,
        *args: Any,
        num_members: int,
        alpha: float = 2.0,
        gamma: int = 1,
        first: bool = False,
        last: bool = False,
        **kwargs: Any,
    ):
        given = args[0] if args else kwargs.pop(self._size, None)
        self._packed_size = size = checks.positive_integer(self._size, given)
        num_members = checks.positive_integer("num_members", num_members)
        gamma = checks.positive_integer("gamma", gamma)
        checks.positive_number("alpha", alpha)
        parts = num_members * (1 if last else gamma)
        self.packed_groups = 1 if first else parts
        self.width = num_members * size
        if not last:
            self.width = math.ceil(alpha * size / parts) * parts
        kwargs |= {"groups": self.packed_groups}
        super().__init__(self.width, *args[1:], **kwargs)
        self.num_members, self.alpha, self.gamma = num_members, alpha, gamma
        self.first, self.last = bool(first), bool(last)
        self._num_parts = parts

    def build(self, input_shape: Any) -> None:
        initializer = self.kernel_initializer
        self.kernel_initializer = _PartsInitializer(
            initializer, self._num_parts
        )
        super().build(input_shape)
        self.kernel_initializer = initializer

    def get_config(self) -> Config:
        config = super().get_config()
        config.pop("groups", None)
        return config | {
            self._size: self._packed_size,
            "num_members": self.num_members,
            "alpha": self.alpha,
            "gamma": self.gamma,
            "first": self.first,
            "last": self.last,
        }


class _PartsInitializer:
    """Initializes a kernel made of parts side by side.

    Each part is as large as a small network's kernel, and starts like it.
    """

    def __init__(self, initializer: Any, count: int):
        self.initializer = initializer
        self.count = count

    def __call__(self, shape: Any, dtype: Any = None) -> Tensor:
        shape = (*shape[:-1], shape[-1] // self.count)
        parts = [self._fresh(i)(shape, dtype) for i in range(self.count)]
        return tf.concat(parts, axis=-1)

    def _fresh(self, index: int) -> Any:
        """Makes the initializer of one part, since Keras's repeat numbers."""
        config = initializers.serialize(self.initializer)
        inner = config["config"] if isinstance(config, dict) else {}
        if inner.get("seed") is None:
            return initializers.get(config)
        seeded = inner | {"seed": inner["seed"] + index}
        return initializers.get(config | {"config": seeded})


class GroupedDense(keras.layers.Dense):
    """A `keras.layers.Dense` with groups like those of convolutions."""

    def __init__(self, *args: Any, groups: int = 1, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.groups = groups

    def build(self, input_shape: Any) -> None:
        *shape, features = input_shape
        if features is None or features % self.groups:
            raise ValueError(
                f"Inputs must have a multiple of {self.groups} features, one "
                "part for each group. Received: "
                f"input_shape={tuple(input_shape)}"
            )
        super().build((*shape, features // self.groups))
        self.input_spec = keras.layers.InputSpec(
            min_ndim=2, axes={-1: features}
        )

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        y = _in_groups(keras.ops.matmul, inputs, self.kernel, self.groups)
        if self.use_bias:
            y = y + self.bias
        return y if self.activation is None else self.activation(y)


@registry.register("layers")
class PackedDense(BasePacked, GroupedDense):
    """A `keras.layers.Dense` for small members, side by side.

    Of `alpha * units` outputs, rounded up to whole groups, each member has its
    own part, computed from its own part of the inputs. So if `alpha` equals
    `num_members`, members are as wide as the layer that they stand for. The
    packed layer has `alpha ** 2 / (num_members * gamma)` times its weights.

    Args:
        units: the number of outputs of the layer that this one stands for.
        *args: the arguments of `keras.layers.Dense` that follow.
        num_members: the number of members, a positive integer.
        alpha: the number of outputs of all members together, relative to
            `units`.
        gamma: the number of groups in each member; more have fewer weights.
        first: whether this is the first packed layer, whose inputs all members
            share, without groups.
        last: whether this is the last packed layer, with `units` outputs for
            each member, without `alpha` and `gamma`. `SplitMembers` must
            follow.
        **kwargs: the arguments of `keras.layers.Dense`.

    Call arguments:
        inputs: a tensor `(batch, ..., features)`, member by member.

    Output shape:
        `(batch, ..., width)`, member by member.

    Raises:
        ValueError: if a number is not positive; when built, if the groups
            don't divide the features.

    Example:
    ```python
    model = keras.Sequential([
        keras.Input((4,)),
        tfpbnn.layers.PackedDense(
            32, "relu", num_members=4, alpha=2, first=True
        ),
        tfpbnn.layers.PackedDense(2, num_members=4, last=True),
        tfpbnn.layers.SplitMembers(num_members=4),
    ])
    model(x).shape                                               # (128, 2)
    ```

    Reference:
        [Laurent et al., 2023](https://arxiv.org/abs/2210.09184)
    """

    _size = "units"


class BasePackedConv(BasePacked):
    """A base to put before a convolution of Keras's."""

    def convolution_op(self, inputs: Tensor, kernel: Tensor) -> Tensor:
        """Does one convolution after another; see `_in_groups`."""
        channels = 1 if self.data_format == "channels_first" else -1
        return _in_groups(
            super().convolution_op,
            inputs,
            kernel,
            self.packed_groups,
            channels,
        )


def _in_groups(
    op: Callable[[Tensor, Tensor], Tensor],
    inputs: Tensor,
    kernel: Tensor,
    groups: int,
    axis: int = -1,
) -> Tensor:
    """Does an operation on groups of channels, one after another.

    On a CPU a batch of products, or a convolution in groups, takes several
    times as long, above all under XLA; and groups are few.
    """
    if groups == 1:
        return op(inputs, kernel)
    parts = zip(
        keras.ops.split(inputs, groups, axis=axis),
        keras.ops.split(kernel, groups, axis=-1),
        strict=True,
    )
    return keras.ops.concatenate([op(x, k) for x, k in parts], axis=axis)


@registry.register("layers")
class PackedConv1D(BasePackedConv, keras.layers.Conv1D):
    """`Conv1D` for members side by side; see `PackedConv2D`."""


@registry.register("layers")
class PackedConv2D(BasePackedConv, keras.layers.Conv2D):
    """A `keras.layers.Conv2D` for small members, side by side.

    Args:
        filters: the number of filters of the layer that this one stands for.
        *args: the arguments of `keras.layers.Conv2D` that follow.
        **kwargs: the arguments of `keras.layers.Conv2D` except for `groups`,
            and `num_members`, `alpha`, `gamma`, `first` and `last` of
            `PackedDense`.

    Example:
    ```python
    layer = tfpbnn.layers.PackedConv2D(8, 3, num_members=4, first=True)
    layer(keras.random.normal((2, 9, 9, 3))).shape            # (2, 7, 7, 16)
    ```

    Reference:
        [Laurent et al., 2023](https://arxiv.org/abs/2210.09184)
    """


@registry.register("layers")
class PackedConv3D(BasePackedConv, keras.layers.Conv3D):
    """`Conv3D` for members side by side; see `PackedConv2D`."""


@registry.register("layers")
class PackedFlatten(keras.layers.Layer):
    """A `keras.layers.Flatten` that keeps the features of members together.

    Args:
        groups: the number of groups of features that stay together,
            `num_members * gamma`.

    Call arguments:
        inputs: a tensor `(batch, ..., features)`, of known shape.

    Output shape:
        `(batch, features)`.

    Raises:
        ValueError: if `groups` is not a positive integer that divides the
            features.

    Example:
    ```python
    layer = tfpbnn.layers.PackedFlatten(groups=4)
    layer(keras.ops.ones((2, 3, 3, 8))).shape                    # (2, 72)
    ```
    """

    def __init__(self, groups: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.groups = checks.positive_integer("groups", groups)

    def call(self, inputs: Tensor) -> Tensor:
        *between, features = inputs.shape[1:]
        if features % self.groups:
            raise ValueError(
                "`groups` must divide the features. Received: "
                f"groups={self.groups}, inputs of shape {tuple(inputs.shape)}"
            )
        each, positions = features // self.groups, math.prod(between)
        x = keras.ops.reshape(inputs, (-1, positions, self.groups, each))
        x = keras.ops.transpose(x, (0, 2, 1, 3))
        return keras.ops.reshape(x, (-1, positions * features))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        return (input_shape[0], math.prod(input_shape[1:]))

    def get_config(self) -> Config:
        return super().get_config() | {"groups": self.groups}
