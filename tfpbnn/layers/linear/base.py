"""What all variational layers that are linear in their kernels share."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import keras
import tensorflow as tf
from keras import activations, constraints, initializers, regularizers

from tfpbnn import families, fused, random
from tfpbnn.base.types import Config, Identifier, Tensor
from tfpbnn.families import Family
from tfpbnn.layers.linear import drawing, estimators, ops
from tfpbnn.layers.linear.ops import LinearOp
from tfpbnn.layers.linear.weights import OutputNoise, Weight
from tfpbnn.layers.random_layer import RandomLayer, own_prior

Shape = tuple[int | None, ...]


class VariationalLayer(RandomLayer, keras.layers.Layer):
    """A layer whose kernels, and optionally bias, have a distribution.

    A subclass names its weights' shapes and the operations between inputs and
    kernels; a final class beneath it names an estimator.
    """

    _estimate: ClassVar[Callable[..., Tensor]]

    def __init__(
        self,
        weights: dict[str, Weight],
        *,
        activation: Identifier = None,
        use_bias: bool = True,
        activity_regularizer: Identifier = None,
        kl_weight: float | None = None,
        free_bits: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.activation = activations.get(activation)
        self.use_bias = bool(use_bias)
        self._init_noise(kl_weight, free_bits, seed)
        self._weight_names = tuple(weights)
        self._points: set[str] = set()
        for name, arguments in weights.items():
            self._own(name, arguments)

    @abc.abstractmethod
    def _weight_shapes(self, input_shape: Shape) -> dict[str, Any]:
        """Each weight's shape, the bias's too, for inputs of `input_shape`."""

    @abc.abstractmethod
    def _ops(self) -> dict[str, LinearOp]:
        """The operation of each kernel, in the order that they are done."""

    def _bias_axes(self) -> tuple[int, ...]:
        """The axes of the outputs, negative, that the bias's axes are."""
        *_, last = self._ops().values()
        return last.y_axes[-1:]

    def _own(self, name: str, arguments: Weight) -> None:
        """The layer's own copies of a weight's posterior and prior."""
        for kind, module in (
            ("initializer", initializers),
            ("regularizer", regularizers),
            ("constraint", constraints),
        ):
            value = module.get(getattr(arguments, kind))
            setattr(self, f"{name}_{kind}", value)
        posterior = prior = None
        if name != "bias" or self.use_bias:
            posterior = self._own_posterior(name, arguments.posterior)
            prior = own_prior(self, arguments.prior, name)
        setattr(self, f"{name}_posterior", posterior)
        setattr(self, f"{name}_prior", prior)

    def _own_posterior(self, name: str, identifier: Identifier) -> Family:
        """The layer's copy of a family, with Keras's arguments put in."""
        argument = f"{name}_posterior"
        if identifier is None:
            self._points.add(name)
            identifier = "point_estimate"
        family = families.get(identifier, argument)
        assert family is not None
        estimators.check(self._estimate.__name__, family, argument)
        overrides = {
            f"loc_{kind}": keras.saving.serialize_keras_object(value)
            for kind in ("initializer", "regularizer", "constraint")
            if (value := getattr(self, f"{name}_{kind}")) is not None
        }
        return family.copy(name=argument, dtype=self.dtype_policy, **overrides)

    def _posterior(self, name: str) -> Family:
        return getattr(self, f"{name}_posterior")

    @property
    def posteriors(self) -> list[Family]:
        """The layer's own, of all its weights."""
        found = map(self._posterior, self._weight_names)
        return [posterior for posterior in found if posterior is not None]

    def build(self, input_shape: Any) -> None:
        self._build_noise()
        for name, shape in self._weight_shapes(tuple(input_shape)).items():
            posterior = self._posterior(name)
            if posterior is not None:
                posterior.build(shape)
                self._add_kl(posterior, getattr(self, f"{name}_prior"))

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        scope, key = random.current_scope(), self._draw_key()
        inputs = self._as_numbers(inputs)
        # In a scope a draw is one function, the same kernel for every row:
        # what training estimators do across the rows is not wanted there.
        with fused.enabled(scope is not None or bool(training)):
            noise: OutputNoise | None = random.known(self)
            if scope is not None and noise is not None:
                outputs = self._with_noise(noise, scope, key)
            elif scope is not None and scope.is_stacked:
                outputs = self._stacked(inputs, scope, key)
            elif scope is not None:
                outputs = self._linear(drawing.coherent, inputs, key)
            else:
                estimate = estimators.in_training(type(self)._estimate)
                outputs = self._linear(estimate, inputs, key)
        if self.activation is not None:
            outputs = self.activation(outputs)
        return outputs

    def _as_numbers(self, inputs: Tensor) -> Tensor:
        """What operations take: Keras casts inputs only if they have floats."""
        if tf.as_dtype(inputs.dtype).is_floating:
            return inputs
        return tf.cast(inputs, self.compute_dtype)

    def _stacked(
        self, inputs: Tensor, scope: random.DrawScope, keys: Tensor
    ) -> Tensor:
        """S draws at once, `[S * B, ...]`; see `random.DrawScope`."""
        if scope.is_by_row:
            wide = self._linear(drawing.by_row, inputs, keys)
            return tf.reshape(wide, [-1, wide.shape[-1]])
        estimate = drawing.stacked if scope.rows is None else drawing.marginal
        count = tf.shape(keys)[0]
        x = (
            inputs[tf.newaxis]
            if scope.is_shared
            else tf.reshape(
                inputs, tf.concat([[count, -1], tf.shape(inputs)[1:]], 0)
            )
        )
        x.set_shape([1 if scope.is_shared else None, None, *inputs.shape[1:]])
        y = self._linear(estimate, x, keys)
        shape = y.shape[2:]
        if y.shape[0] == 1:  # all its weights are points
            y = tf.repeat(y, count, axis=0)
        y = tf.reshape(y, tf.concat([[-1], tf.shape(y)[2:]], 0))
        y.set_shape([None, *shape])
        return y

    @property
    def has_output_noise(self) -> bool:
        """Whether `output_noise` tells all that a call does.

        Not of a subclass with a call, or weights of members, of its own.
        """
        return all(
            getattr(type(self), name) is getattr(VariationalLayer, name)
            for name in ("call", "_as_numbers", "_linear")
        )

    def output_noise(self, inputs: Tensor, rows: Tensor) -> OutputNoise:
        """What a scope is to know of the layer to draw rows apart.

        In place of kernels, and no other layer: the outputs are of each row's
        exact distribution where `rows_can_be_drawn_apart`.

        Args:
            inputs: `[B, ...]`, the same for all draws.
            rows: their numbers, `[B]`.
        """
        ((name, op),) = self._ops().items()
        # As Keras does it in a call.
        inputs = tf.cast(inputs, self.compute_dtype)
        with fused.enabled(draws=True):
            y, variance = estimators.moments(op, inputs, self._posterior(name))
        if self.use_bias:
            posterior = self._posterior("bias")
            bias = ops.bias(self._bias_axes(), posterior.loc.shape)
            shift, more = estimators.moments(bias, y, posterior)
            y, variance = y + shift, variance + more
        return OutputNoise(y, tf.sqrt(variance), rows)

    def _with_noise(
        self, known: OutputNoise, scope: random.DrawScope, key: Tensor
    ) -> Tensor:
        """The outputs of one draw, or `[S * B, ...]` of S at once."""
        keys = key if scope.is_stacked else key[tf.newaxis]
        y, scale = known.mean[tf.newaxis], known.scale
        scale = scale[tf.newaxis] if scale.shape.rank else scale
        outputs = drawing.add_noise(y, scale, keys, known.rows)
        outputs = tf.reshape(
            outputs, tf.concat([[-1], tf.shape(outputs)[2:]], 0)
        )
        outputs.set_shape([None, *known.mean.shape[1:]])
        return outputs

    def stacks(self) -> bool:
        """Whether S draws at once can be faster than one by one."""
        return all(op.apply_stack is not None for op in self._ops().values())

    def stacks_by_row(self, input_shape: Shape) -> bool:
        """Whether it does so in the order of rows too."""
        (name, op), *more = self._ops().items()
        is_plain = len(input_shape) == 2 and not more
        is_random = self._posterior(name).is_random
        return is_plain and is_random and op.apply_wide is not None

    def rows_can_be_drawn_apart(self, input_shape: Shape) -> bool:
        """Whether noise on the outputs has the distribution of each row."""
        x_rank = len(input_shape)
        y_shape = self.compute_output_shape(input_shape)
        y_rank = len(y_shape)
        bias = self._posterior("bias") if self.use_bias else None
        if bias is not None and bias.is_random:
            axes = zip(self._bias_axes(), bias.loc.shape, strict=True)
            sizes = {axis % y_rank: size for axis, size in axes}
            if any(sizes.get(i) != n != 1 for i, n in enumerate(y_shape) if i):
                return False  # outputs share elements of it
        return all(
            op.meets_once(x_rank, y_rank) for op in self._ops().values()
        ) and all(p.independent_normal for p in self.posteriors)

    def _linear(
        self,
        estimate: Callable[..., Tensor],
        inputs: Tensor,
        key: Tensor | None,
    ) -> Tensor:
        """Kernels and bias; a key of None asks for the posterior means."""
        outputs = inputs
        for number, (name, op) in enumerate(self._ops().items()):
            posterior = self._posterior(name)
            outputs = (
                estimators.mean(op, outputs, posterior)
                if key is None
                else estimate(op, outputs, posterior, random.fold(key, number))
            )
        if not self.use_bias:
            return outputs
        posterior, axes = self._posterior("bias"), self._bias_axes()
        if key is None or not posterior.is_random:
            loc = tf.cast(tf.convert_to_tensor(posterior.loc), outputs.dtype)
            if estimate is drawing.by_row:
                # Of all draws, `[S, O]`: along a long axis it is added faster.
                loc = tf.broadcast_to(loc, tf.shape(outputs)[1:])
            return outputs + ops.aligned(loc, len(outputs.shape), axes)
        bias_op = ops.bias(axes, posterior.loc.shape)
        bias_key = random.fold(key, len(self._weight_names) - 1)
        return outputs + estimate(bias_op, outputs, posterior, bias_key)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        outputs = keras.KerasTensor(tuple(input_shape), self.compute_dtype)
        shapes = self._weight_shapes(tuple(input_shape))
        for name, op in self._ops().items():
            kernel = keras.KerasTensor(shapes[name], self.compute_dtype)
            outputs = op.apply(outputs, kernel)
        return tuple(outputs.shape)

    def get_config(self) -> Config:
        config = super().get_config() | {
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "activity_regularizer": regularizers.serialize(
                self.activity_regularizer
            ),
            **self._noise_config(),
        }
        for name in self._weight_names:
            config |= self._weight_config(name)
        return config

    def _weight_config(self, name: str) -> Config:
        config: Config = {}
        for kind in ("initializer", "regularizer", "constraint"):
            value = getattr(self, f"{name}_{kind}")
            config[f"{name}_{kind}"] = (
                value and keras.saving.serialize_keras_object(value)
            )
        posterior = self._posterior(name)
        is_default = posterior is None or name in self._points
        config[f"{name}_posterior"] = (
            None if is_default else posterior.serialize()
        )
        prior = getattr(self, f"{name}_prior")
        config[f"{name}_prior"] = prior and prior.serialize()
        return config
