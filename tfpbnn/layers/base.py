"""What all variational layers with one kernel and one bias share."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import keras
import tensorflow as tf
from keras import activations, constraints, initializers, regularizers

from tfpbnn import (
    divergences,
    estimators,
    families,
    fused,
    linear_ops,
    priors,
    random,
)
from tfpbnn.families import Family
from tfpbnn.linear_ops import LinearOp
from tfpbnn.types import Config, Identifier, Tensor


class VariationalLayer(keras.layers.Layer):
    """A layer whose kernel, and optionally bias, have a distribution.

    A subclass names an operation (`_kernel_shape`, `_bias_size`, `_op`); a
    final class beneath it names an estimator.
    """

    _estimate: ClassVar[Callable[..., Tensor]]

    def __init__(
        self,
        activation: Identifier = None,
        use_bias: bool = True,
        kernel_initializer: Identifier = None,
        bias_initializer: Identifier = "zeros",
        kernel_regularizer: Identifier = None,
        bias_regularizer: Identifier = None,
        activity_regularizer: Identifier = None,
        kernel_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        *,
        kernel_posterior: Identifier = "mean_field_normal",
        kernel_prior: Identifier = "normal",
        bias_posterior: Identifier = None,
        bias_prior: Identifier = None,
        kl_weight: float | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.activation = activations.get(activation)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.initial_kl_weight = kl_weight
        self.kl_weight = divergences.add_weight(self, kl_weight)
        self.seed = _check_seed(seed)
        self._has_bias_posterior = bias_posterior is not None
        self.kernel_posterior = self._own_posterior(
            "kernel", kernel_posterior or "point_estimate"
        )
        self.kernel_prior = self._own_prior("kernel", kernel_prior)
        self.bias_posterior = self.bias_prior = None
        if self.use_bias:
            self.bias_posterior = self._own_posterior(
                "bias", bias_posterior or "point_estimate"
            )
            self.bias_prior = self._own_prior("bias", bias_prior)
        self.supports_masking = True

    @abc.abstractmethod
    def _kernel_shape(self, input_shape: Any) -> tuple[int, ...]:
        """The kernel's shape for inputs of `input_shape`."""

    @abc.abstractmethod
    def _bias_size(self) -> int:
        """The number of biases."""

    @abc.abstractmethod
    def _op(self) -> LinearOp:
        """The operation between inputs and kernel."""

    def _own_posterior(self, part: str, identifier: Identifier) -> Family:
        """The layer's copy of a family, with Keras's arguments put in."""
        argument = f"{part}_posterior"
        family = families.get(identifier, argument)
        assert family is not None
        estimators.check(self._estimate.__name__, family, argument)
        overrides = {
            f"loc_{kind}": keras.saving.serialize_keras_object(value)
            for kind in ("initializer", "regularizer", "constraint")
            if (value := getattr(self, f"{part}_{kind}")) is not None
        }
        return family.copy(name=argument, dtype=self.dtype_policy, **overrides)

    def _own_prior(
        self, part: str, identifier: Identifier
    ) -> priors.Prior | None:
        argument = f"{part}_prior"
        prior = priors.get(identifier, argument)
        if prior is None:
            return None
        return prior.copy(name=argument, dtype=self.dtype_policy)

    def build(self, input_shape: Any) -> None:
        self.noise_state = self.add_weight(
            name="noise_state",
            shape=(2,),
            dtype="int64",
            initializer=self._initial_noise_state,
            trainable=False,
            autocast=False,
        )
        kernel_shape = self._kernel_shape(input_shape)
        self._build_part(self.kernel_posterior, self.kernel_prior, kernel_shape)
        if self.bias_posterior is not None:
            self._build_part(
                self.bias_posterior, self.bias_prior, (self._bias_size(),)
            )

    def _build_part(
        self, posterior: Family, prior: priors.Prior | None, shape: Any
    ) -> None:
        posterior.build(shape)
        if prior is None:
            return
        prior.build(shape)
        divergences.KLRegularizer(
            posterior, prior, self.kl_weight, self.noise_state
        )

    def _initial_noise_state(self, shape: Any, dtype: Any) -> Tensor:
        """(seed, number of the next draw); a weight, so that it is saved."""
        del shape
        seed = random.any_seed() if self.seed is None else self.seed
        return tf.constant([seed, 0], dtype)

    def _next_key(self) -> Tensor:
        state = tf.identity(tf.convert_to_tensor(self.noise_state))
        self.noise_state.assign(state + tf.constant([0, 1], state.dtype))
        return random.fold_replica(state)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        scope = random.current_scope()
        key = self._next_key() if scope is None else scope.key_for(self)
        # In a scope a draw is one function, the same kernel for every row:
        # what training estimators do across the rows is not wanted there.
        estimate = (
            type(self)._estimate
            if scope is None
            else estimators.reparameterization
        )
        is_training = scope is None and bool(training)
        with fused.enabled(scope is not None, is_training):
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
        """Kernel and bias; a key of None asks for the posterior means."""
        kernel_op, bias = self._op(), self.bias_posterior
        if key is None:
            outputs = estimators.mean(kernel_op, inputs, self.kernel_posterior)
        else:
            kernel_key, bias_key = random.fold(key, 0), random.fold(key, 1)
            outputs = estimate(
                kernel_op, inputs, self.kernel_posterior, kernel_key
            )
        if bias is None:
            return outputs
        axis = kernel_op.y_axes[-1]
        if key is None or not bias.is_random:
            return _add_bias(outputs, bias, axis)
        return outputs + estimate(
            linear_ops.bias(axis), outputs, bias, bias_key
        )

    def get_config(self) -> Config:
        serialize = keras.saving.serialize_keras_object
        config = super().get_config() | {
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "activity_regularizer": regularizers.serialize(
                self.activity_regularizer
            ),
            "kl_weight": self.initial_kl_weight,
            "seed": self.seed,
        }
        for part in ("kernel", "bias"):
            for kind in ("initializer", "regularizer", "constraint"):
                value = getattr(self, f"{part}_{kind}")
                config[f"{part}_{kind}"] = value and serialize(value)
            prior = getattr(self, f"{part}_prior")
            config[f"{part}_prior"] = prior and prior.serialize()
        config["kernel_posterior"] = self.kernel_posterior.serialize()
        config["bias_posterior"] = (
            self.bias_posterior.serialize()
            if self._has_bias_posterior and self.bias_posterior is not None
            else None
        )
        return config


def _add_bias(outputs: Tensor, bias: Family, axis: int) -> Tensor:
    loc = tf.cast(tf.convert_to_tensor(bias.loc), outputs.dtype)
    if axis != -1:
        shape = [1] * len(outputs.shape)
        shape[axis] = -1
        loc = tf.reshape(loc, shape)
    return outputs + loc


def _check_seed(seed: int | None) -> int | None:
    if seed is not None and not isinstance(seed, int):
        raise TypeError(
            f"`seed` must be None or an integer. Received: seed={seed!r}"
        )
    return seed
