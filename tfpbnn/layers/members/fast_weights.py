"""Kernels that members share, up to factors of their inputs and outputs."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import initializers

from tfpbnn import random
from tfpbnn.base import checks, registry
from tfpbnn.base.stacking import flat
from tfpbnn.base.types import Config, Identifier, Shape, Tensor
from tfpbnn.families import Family
from tfpbnn.layers.linear import estimators
from tfpbnn.layers.linear.ops import LinearOp
from tfpbnn.layers.linear.weights import Weight
from tfpbnn.layers.members.base import MembersLayer, grouped

_PARTS = ("initializer", "regularizer", "constraint", "posterior", "prior")


@registry.register("layers")
class RandomSign(keras.initializers.Initializer):
    """+1 or -1 with probability 1/2: members that begin far apart.

    By name, where fast weights are initialized: "random_sign".

    Args:
        seed: None takes one from Python's `random` for each call.

    Example:
    ```python
    initializer = tfpbnn.layers.RandomSign(seed=1)
    layer = tfpbnn.layers.DenseBatchEnsemble(
        8, num_members=4, fast_initializer=initializer
    )
    ```

    Reference:
        [Wen et al., 2020](https://arxiv.org/abs/2002.06715)
    """

    def __init__(self, seed: int | None = None):
        self.seed = seed

    def __call__(self, shape: Any, dtype: Any = None) -> Tensor:
        seed = random.any_seed() if self.seed is None else self.seed
        dtype = dtype or keras.config.floatx()
        return random.signs(random.as_key(seed), shape, dtype)

    def get_config(self) -> Config:
        return {"seed": self.seed}


def resolve_initializer(identifier: Identifier) -> Any:
    """A Keras initializer, or `RandomSign` by its name."""
    if identifier == "random_sign":
        return RandomSign()
    return initializers.get(identifier)


def fast_weights(
    op: LinearOp, x: Tensor, posterior: Family, key: Tensor
) -> Tensor:
    """Where an estimator is asked for: its name is in error messages."""
    del key
    return estimators.mean(op, x, posterior)


class FastWeightsLayer(MembersLayer):
    """Mixed into an operation's base: `s_m * op(r_m * x, kernel) + bias_m`.

    So member m has the kernel times an outer product of r_m and s_m, along the
    axes where `LinearOp` says that the kernel's indices are.
    """

    _estimate = staticmethod(fast_weights)
    _weight_names: tuple[str, ...]
    # The name of the kernel, and what Keras's layer initializes it with.
    _kernel = "kernel"
    _kernel_default = "glorot_uniform"
    # What an operation's inputs are multiplied with, if they are, and outputs.
    _fast_names: tuple[str, ...] = ("fast_input", "fast_output")

    def __init__(
        self,
        *args: Any,
        num_members: int,
        fast: Weight,
        **kwargs: Any,
    ):
        super().__init__(
            *args,
            **{
                f"{self._kernel}_posterior": None,
                f"{self._kernel}_prior": None,
            },
            **kwargs,
        )
        self.num_members = checks.positive_integer("num_members", num_members)
        for name in self._fast_names:
            self._own(name, fast)
            self._weight_names += (name,)

    def _own(self, name: str, weight: Weight) -> None:
        if name == self._kernel and weight.initializer is None:
            weight = dataclasses.replace(
                weight, initializer=self._kernel_default
            )
        super()._own(name, weight)  # type: ignore[misc]

    def _weight_shapes(self, input_shape: Shape) -> dict[str, Any]:
        shapes = super()._weight_shapes(input_shape)  # type: ignore[misc]
        if "bias" in shapes:
            shapes["bias"] = (self.num_members, *shapes["bias"])
        return shapes

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)  # type: ignore[misc]
        layer: Any = self
        (op,) = layer._ops().values()
        shape = layer.compute_output_shape(input_shape)
        sizes = {
            "fast_input": [input_shape[axis] for axis in op.x_axes],
            "fast_output": [shape[axis] for axis in op.y_axes],
        }
        for name in self._fast_names:
            posterior = layer._posterior(name)
            posterior.build((self.num_members, *sizes[name]))
            self._add_kl(posterior, getattr(self, f"{name}_prior"))

    def _linear(
        self,
        estimate: Callable[..., Tensor],
        inputs: Tensor,
        key: Tensor | None,
    ) -> Tensor:
        """All is done in groups, `[G, B, ...]`: of members, or of draws."""
        del estimate
        layer: Any = self
        members, scope = self._drawn_members(), random.current_scope()
        if members is None:
            x = grouped(inputs, self.num_members, self)
        else:
            assert scope is not None
            x = inputs if scope.is_stacked else inputs[tf.newaxis]
        ((name, op),) = layer._ops().items()
        if op.x_axes:
            fast = self._of_groups("fast_input", members, key)
            x = x * _beside(fast, x, op.x_axes)
        sizes = tf.shape(x)[:2]
        y = estimators.mean(op, flat(x), layer._posterior(name))
        shape = [*x.shape[:2], *y.shape[1:]]
        y = tf.reshape(y, tf.concat([sizes, tf.shape(y)[1:]], 0))
        y.set_shape(shape)
        fast = self._of_groups("fast_output", members, key)
        y = y * _beside(fast, y, op.y_axes)
        if layer.use_bias:
            bias = self._of_groups("bias", members, key)
            rank = len(bias.shape) - 1
            axes = layer._bias_axes()[-rank:]
            y = y + _beside(bias, y, axes)
        is_stacked = scope is not None and scope.is_stacked
        return y if is_stacked else flat(y)

    def _of_groups(
        self, name: str, members: Tensor | None, key: Tensor | None
    ) -> Tensor:
        """A weight of each group's member, `[G, ...]`."""
        posterior = self._posterior(name)  # type: ignore[attr-defined]
        if key is None or not posterior.is_random:
            weights = tf.convert_to_tensor(posterior.loc)
            return weights if members is None else tf.gather(weights, members)
        number = self._weight_names.index(name)
        key = random.fold(key, number)
        if members is None:
            return posterior.sample(key)
        draws = posterior.draws(key if len(key.shape) > 1 else key[tf.newaxis])
        return tf.gather(draws, members, axis=1, batch_dims=1)

    def get_config(self) -> Config:
        config = super().get_config()  # type: ignore[misc]
        for name in self._fast_names:
            for part in _PARTS:
                del config[f"{name}_{part}"]
        for name in (self._kernel, "bias"):
            for part in ("posterior", "prior"):
                config.pop(f"{name}_{part}", None)
        return config | {"num_members": self.num_members}


def _beside(weights: Tensor, like: Tensor, axes: tuple[int, ...]) -> Tensor:
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
