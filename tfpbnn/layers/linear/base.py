"""Defines what variational layers that are linear in their kernels share."""

import abc
import math
from collections.abc import Callable
from typing import Any, ClassVar

import keras
import tensorflow as tf
from keras import activations, constraints, initializers, regularizers

from tfpbnn import families, fused, random
from tfpbnn.base.types import Config, Identifier, Tensor
from tfpbnn.families import Family
from tfpbnn.layers.kl import KLRegularizer
from tfpbnn.layers.linear import drawing, estimators, ops
from tfpbnn.layers.linear.estimators import Estimator
from tfpbnn.layers.linear.ops import LinearOp
from tfpbnn.layers.linear.weights import OutputNoise, Weight
from tfpbnn.layers.members.fast_weights import FastWeights
from tfpbnn.layers.random_layer import RandomLayer
from tfpbnn.layers.random_weights import RandomWeights, own_prior

Shape = tuple[int | None, ...]


class VariationalLayer(RandomLayer):
    """A layer whose kernels, and optionally bias, have a distribution.

    A subclass defines its weights' shapes and the operations between inputs and
    kernels; a final class beneath it names an estimator. Where members share
    the kernel, a part of the layer, `FastWeights`, has the weights of each
    member; if these are points too, there is neither noise nor a KL.
    """

    noise: RandomWeights | None = None
    _estimator: ClassVar[Estimator]
    _kl_term: ClassVar[type[KLRegularizer]] = KLRegularizer
    # The arguments that are plain data, and attributes of their names.
    _arguments: ClassVar[tuple[str, ...]]

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
        fast_weights: FastWeights | None = None,
        **kwargs: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.activation = activations.get(activation)
        self.use_bias = bool(use_bias)
        self.fast_weights = fast_weights
        if fast_weights is not None:
            weights = fast_weights.with_weights(weights)
            self.num_members = fast_weights.num_members
        if fast_weights is None or fast_weights.is_random:
            self.noise = RandomWeights(
                self, kl_weight, free_bits, seed, term=self._kl_term
            )
        self._weight_names = tuple(weights)
        self._points: set[str] = set()
        for name, arguments in weights.items():
            self._own(name, arguments)

    @abc.abstractmethod
    def _weight_shapes(self, input_shape: Shape) -> dict[str, Any]:
        """Computes each weight's shape, the bias's too, for an input shape."""

    @abc.abstractmethod
    def _ops(self) -> dict[str, LinearOp]:
        """Returns the operation of each kernel, in the order of their use."""

    def unit_axes(self, name: str) -> tuple[int, ...]:
        """Returns the negative axes of a weight that are its output units."""
        op = self._ops().get(name)
        if op is not None:
            return op.unit_axes
        members = int(self.fast_weights is not None)
        return tuple(range(members - len(self._posterior(name).loc.shape), 0))

    def _bias_axes(self) -> tuple[int, ...]:
        """Returns the negative axes of the outputs that are the bias's axes."""
        *_, last = self._ops().values()
        return last.y_axes[-1:]

    def _own(self, name: str, arguments: Weight) -> None:
        """Makes the layer's own copies of a weight's posterior and prior."""
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
        """Copies a family for the layer, with Keras's arguments put in."""
        argument = f"{name}_posterior"
        if identifier is None:
            self._points.add(name)
            identifier = "point_estimate"
        family = families.get(identifier, argument)
        assert family is not None
        self._estimator.check(family, argument)
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
        """The posteriors of all of the layer's weights."""
        found = map(self._posterior, self._weight_names)
        return [posterior for posterior in found if posterior is not None]

    def build(self, input_shape: Any) -> None:
        if self.noise is not None:
            self.noise.build(self)
        shapes = self._weight_shapes(tuple(input_shape))
        if self.fast_weights is not None:
            (op,) = self._ops().values()
            y_shape = self.compute_output_shape(input_shape)
            shapes = self.fast_weights.shapes(shapes, op, input_shape, y_shape)
        for name, shape in shapes.items():
            posterior = self._posterior(name)
            if posterior is not None:
                posterior.build(shape)
                if self.noise is not None:
                    prior = getattr(self, f"{name}_prior")
                    self.noise.add_kl(posterior, prior)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        scope, key = random.current_scope(), self._draw_key()
        if isinstance(inputs, tf.RaggedTensor):
            raise TypeError(
                f"`inputs` of the layer `{self.name}` must be dense or sparse. "
                "Received: a RaggedTensor. Pad its rows by "
                "`inputs.to_tensor()`, with 0 for what an Embedding masks by "
                "`mask_zero=True`"
            )
        inputs = self._as_numbers(inputs)
        with fused.enabled(scope is not None or bool(training)):
            if scope is None:
                estimate = estimators.in_training(self._estimator.apply)
                outputs = self._linear(estimate, inputs, key)
            else:
                noise = random.known(self)
                outputs = drawing.in_scope(
                    self._linear, inputs, scope, key, noise
                )
        if self.activation is not None:
            outputs = self.activation(outputs)
        return outputs

    def _as_numbers(self, inputs: Tensor) -> Tensor:
        """Casts inputs to floats; Keras casts only inputs that are floats."""
        if tf.as_dtype(inputs.dtype).is_floating:
            return inputs
        return tf.cast(inputs, self.compute_dtype)

    def drawing(self, input_shape: Shape | None = None) -> random.Drawing:
        if self.fast_weights is not None:
            return self.fast_weights.drawing()
        # A subclass with a call of its own does more with its noise than this
        # class knows.
        is_plain = all(
            getattr(type(self), name) is getattr(VariationalLayer, name)
            for name in ("call", "_as_numbers", "_linear")
        )
        drawn = [p for p in self.posteriors if p.is_random]
        is_random = bool(drawn) or not is_plain
        if input_shape is None:
            return random.Drawing(is_random)
        return random.Drawing(
            is_random,
            can_stack=all(op.apply_stack for op in self._ops().values()),
            can_be_marginal=self._meets_weights_once(input_shape)
            and all(p.independent_normal for p in self.posteriors),
            has_output_noise=is_plain,
            num_normals=sum(math.prod(p.loc.shape) for p in drawn),
        )

    def output_noise(self, inputs: Tensor, rows: Tensor) -> OutputNoise:
        """Computes what a scope must know of the layer for mixed draws.

        The outputs are drawn in place of kernels. They have each row's exact
        distribution where the layer's `drawing` can be marginal.

        Args:
            inputs: the inputs `[B, ...]`, the same for all draws.
            rows: the indices of the rows, `[B]`.
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

    def _meets_weights_once(self, input_shape: Shape) -> bool:
        """Says whether no two outputs of a row share an element of a weight."""
        x_rank = len(input_shape)
        y_shape = self.compute_output_shape(input_shape)
        y_rank = len(y_shape)
        bias = self._posterior("bias") if self.use_bias else None
        if bias is not None and bias.is_random:
            axes = zip(self._bias_axes(), bias.loc.shape, strict=True)
            sizes = {axis % y_rank: size for axis, size in axes}
            if any(sizes.get(i) != n != 1 for i, n in enumerate(y_shape) if i):
                return False
        kernels = self._ops().values()
        return all(op.meets_once(x_rank, y_rank) for op in kernels)

    def _linear(
        self,
        estimate: Callable[..., Tensor],
        inputs: Tensor,
        key: Tensor | None,
    ) -> Tensor:
        """Applies kernels and bias; a key of None means the posterior means."""
        if self.fast_weights is not None:
            posteriors = {n: self._posterior(n) for n in self._weight_names}
            ((name, op),) = self._ops().items()
            axes = self._bias_axes() if self.use_bias else ()
            return self.fast_weights.apply(
                self.name, op, inputs, posteriors, axes, key
            )
        outputs = inputs
        for index, (name, op) in enumerate(self._ops().items()):
            posterior = self._posterior(name)
            outputs = (
                estimators.mean(op, outputs, posterior)
                if key is None
                else estimate(op, outputs, posterior, random.fold(key, index))
            )
        if not self.use_bias:
            return outputs
        posterior, axes = self._posterior("bias"), self._bias_axes()
        if key is None or not posterior.is_random:
            loc = tf.cast(tf.convert_to_tensor(posterior.loc), outputs.dtype)
            loc = ops.aligned(loc, len(outputs.shape), axes)
            if estimate is drawing.stacked:
                # Along long axes, those of one draw, it is added faster.
                loc = tf.broadcast_to(loc, tf.shape(outputs)[1:])
            return outputs + loc
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
        config = super().get_config()
        config |= {name: getattr(self, name) for name in self._arguments}
        if "activation" in config:
            config["activation"] = activations.serialize(self.activation)
        config["activity_regularizer"] = regularizers.serialize(
            self.activity_regularizer
        )
        if self.noise is not None:
            config |= self.noise.config()
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
