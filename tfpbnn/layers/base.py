"""What all variational layers that are linear in their kernels share."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import keras
import tensorflow as tf
from keras import activations, constraints, initializers, regularizers

from tfpbnn import estimators, families, fused, linear_ops, random
from tfpbnn.families import Family
from tfpbnn.layers.noise_state import NoiseState, own_prior
from tfpbnn.linear_ops import LinearOp
from tfpbnn.types import Config, Identifier, Tensor

Shape = tuple[int | None, ...]


@dataclasses.dataclass(frozen=True)
class Weight:
    """The arguments that go with one of a layer's weights."""

    posterior: Identifier
    prior: Identifier
    initializer: Identifier = None
    regularizer: Identifier = None
    constraint: Identifier = None


class VariationalLayer(NoiseState, keras.layers.Layer):
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

    def build(self, input_shape: Any) -> None:
        self._build_noise()
        for name, shape in self._weight_shapes(tuple(input_shape)).items():
            posterior = self._posterior(name)
            if posterior is not None:
                posterior.build(shape)
                self._add_kl(posterior, getattr(self, f"{name}_prior"))

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        in_scope = random.current_scope() is not None
        key = self._draw_key()
        # In a scope a draw is one function, the same kernel for every row:
        # what training estimators do across the rows is not wanted there.
        estimate = (
            estimators.reparameterization if in_scope else type(self)._estimate
        )
        with fused.enabled(in_scope, not in_scope and bool(training)):
            outputs = self._linear(estimate, inputs, key)
        if self.activation is not None:
            outputs = self.activation(outputs)
        return outputs

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
            return outputs + linear_ops.aligned(loc, len(outputs.shape), axes)
        bias_op = linear_ops.bias(axes, posterior.loc.shape)
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
