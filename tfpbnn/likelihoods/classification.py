"""Defines likelihoods of class labels."""

import abc
from typing import Any

import tensorflow as tf

from tfpbnn.base import checks, registry
from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Array, Config, Tensor
from tfpbnn.likelihoods.base import Likelihood
from tfpbnn.likelihoods.parameters import Support
from tfpbnn.likelihoods.places import fits

# How far from 0 to 1 probabilities of half precision may be.
_ROUNDING = 1e-2


class _Labels(Likelihood):
    """A likelihood whose outputs are logits, or probabilities."""

    is_classification = True

    def __init__(self, from_logits: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        self.from_logits = bool(from_logits)

    def check_outputs(self, outputs: Array) -> None:
        """Raises if outputs that should be probabilities are none.

        Raises:
            ValueError: if one is below 0 or above 1, as logits are.
        """
        low, high = outputs.min(initial=0), outputs.max(initial=1)
        if not self.from_logits and (low < -_ROUNDING or high > 1 + _ROUNDING):
            raise ValueError(
                f"`{type(self).__name__}(from_logits=False)`, which Keras's "
                "losses are by default, needs outputs that are probabilities. "
                f"Received: outputs from {low:.4g} to {high:.4g}. End the "
                "model in a softmax or sigmoid, or compile it with a loss of "
                "from_logits=True"
            )

    @abc.abstractmethod
    def logits(self, outputs: Tensor) -> Tensor:
        """Returns the logits of one draw, before any recalibration."""

    def calibrated_logits(self, outputs: Tensor) -> Tensor:
        """Returns the logits of one draw, before one of the mixture."""
        found = self.logits(outputs)
        after = self.recalibration
        return found if after is None else after.logits(found)

    def get_config(self) -> Config:
        return super().get_config() | {"from_logits": self.from_logits}


@registry.register("likelihoods")
class Categorical(_Labels):
    """The distribution of one of K classes; the model gives K logits.

    Targets are integer labels, `[...]` or `[..., 1]`, or probabilities of the K
    classes (one-hot or soft), `[..., K]`.

    Args:
        from_logits: whether the outputs are logits; False if they are
            probabilities (of a softmax). The default differs from Keras's,
            since logits are numerically safer.
        ignore_class: the label, such as 255 or -1, of places that don't count,
            neither in the loss nor in any score; None if there is none.
        reduction, name, dtype: as in any Keras loss.

    Raises:
        ValueError: if `ignore_class` is no integer; in use, on fewer than 2
            outputs, or one-hot targets of another width.
        tf.errors.InvalidArgumentError: in `fit`, for labels outside of [0, K).

    Example:
    ```python
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10)])
    model.compile(
        "adam", tfpbnn.likelihoods.Categorical(), metrics=["accuracy"]
    )
    ```
    """

    def __init__(
        self,
        from_logits: bool = True,
        *,
        ignore_class: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(from_logits, **kwargs)
        self.ignore_class = checks.any_integer.optional(
            "ignore_class", ignore_class, "no label is ignored"
        )

    @property
    def parameters(self) -> tuple[str, ...]:
        return ("logit",) if self.from_logits else ("probability",)

    def params_size(self, event_size: int = 1) -> int:
        """Returns the number of outputs for `event_size` classes, the same."""
        return event_size

    def event_size(self, num_outputs: int) -> int:
        if num_outputs < 2:
            raise ValueError(
                "`Categorical` needs one output for each of 2 or more classes. "
                f"Received: {num_outputs} output. For one output per yes-or-no "
                "target use `Bernoulli`."
            )
        return num_outputs

    def marginals(self, outputs: Tensor) -> Any:
        """Makes the TFP distribution of the label, of batch shape `[...]`."""
        outputs = tf.convert_to_tensor(outputs)
        self.event_size(outputs.shape[-1])
        return self._marginals(outputs)

    def _marginals(self, *parameters: Tensor) -> Any:
        (values,) = parameters
        if self.recalibration is not None:
            logits = self.log_probabilities(values)
            return tfp.distributions.Categorical(logits=logits)
        if self.from_logits:
            return tfp.distributions.Categorical(logits=values)
        return tfp.distributions.Categorical(probs=values)

    def distribution(self, outputs: Tensor) -> Any:
        """Makes the TFP distribution of the label, of batch shape `[...]`."""
        return self.marginals(outputs)

    def align(self, y: Tensor, outputs: Tensor) -> Tensor:
        classes, rank = self.event_size(outputs.shape[-1]), len(outputs.shape)
        if fits(y, outputs.shape) and y.shape[-1] == classes:
            return tf.cast(y, outputs.dtype)
        if len(y.shape) == rank and y.shape[-1] == 1:
            y = y[..., 0]
        if not fits(y, outputs.shape[:-1]):
            raise ValueError(
                "`y` does not fit: `Categorical` on outputs of shape "
                f"{tuple(outputs.shape)} "
                f"needs integer labels of one axis less, or {classes} "
                f"probabilities each. Received: targets of shape "
                f"{tuple(y.shape)}"
            )
        return tf.cast(y, tf.int32)

    def support(self, num_outputs: int) -> Support:
        last = num_outputs - 1
        words = f"labels from 0 to {last} for {num_outputs} outputs"
        return Support(words, 0.0, last)

    def is_integral(self, y: Any, outputs: Tensor) -> bool:
        return not fits(y, outputs.shape)

    def ignored(self, y: Any, outputs: Any) -> Any:
        if self.ignore_class is None or not self.is_integral(y, outputs):
            return None
        return y == self.ignore_class

    def log_prob(self, y: Tensor, outputs: Tensor) -> Tensor:
        y = self.align(y, outputs)
        log_probabilities = self.log_probabilities(outputs)
        if y.dtype != tf.int32:
            return tf.reduce_sum(y * log_probabilities, axis=-1)
        return tf.gather(log_probabilities, y, axis=-1, batch_dims=len(y.shape))

    def log_probabilities(self, outputs: Tensor) -> Tensor:
        """Computes normalized log-probabilities of the classes, `[..., K]`.

        They are those of one draw, before a recalibration of the mixture.
        """
        if self.recalibration is not None:
            return tf.nn.log_softmax(self.calibrated_logits(outputs))
        logits = self.logits(outputs)
        return tf.nn.log_softmax(logits) if self.from_logits else logits

    def logits(self, outputs: Tensor) -> Tensor:
        """Returns the logits of one draw, before any recalibration.

        They are log-probabilities if the outputs are probabilities.
        """
        if self.from_logits:
            return outputs
        tiny = tf.constant(1e-7, outputs.dtype)
        outputs = outputs / tf.reduce_sum(outputs, axis=-1, keepdims=True)
        return tf.math.log(tf.maximum(outputs, tiny))

    def get_config(self) -> Config:
        return super().get_config() | {"ignore_class": self.ignore_class}


@registry.register("likelihoods")
class Bernoulli(_Labels):
    """The distribution of independent yes-or-no labels, one for each output.

    Args:
        from_logits: whether the outputs are logits; False if they are
            probabilities (of a sigmoid).
        reduction, name, dtype: as in any Keras loss.

    Raises:
        tf.errors.InvalidArgumentError: in `fit`, for targets outside of [0, 1].

    Example:
    ```python
    model = keras.Sequential([keras.Input((30,)), keras.layers.Dense(1)])
    model.compile("adam", tfpbnn.likelihoods.Bernoulli())
    ```
    """

    @property
    def parameters(self) -> tuple[str, ...]:
        return ("logit",) if self.from_logits else ("probability",)

    def _marginals(self, *parameters: Tensor) -> Any:
        (values,) = parameters
        if self.recalibration is not None:
            logits = self.calibrated_logits(values)
            return tfp.distributions.Bernoulli(logits=logits)
        if self.from_logits:
            return tfp.distributions.Bernoulli(logits=values)
        values = _inside(values)
        return tfp.distributions.Bernoulli(probs=values, dtype=tf.int32)

    def logits(self, outputs: Tensor) -> Tensor:
        """Returns the logits of one draw, before any recalibration."""
        if self.from_logits:
            return outputs
        p = _inside(outputs)
        return tf.math.log(p) - tf.math.log1p(-p)

    def support(self, num_outputs: int) -> Support:
        return Support("labels 0 or 1", 0.0, 1.0)


def _inside(probabilities: Tensor) -> Tensor:
    tiny = tf.constant(1e-7, probabilities.dtype)
    return tf.clip_by_value(probabilities, tiny, 1 - tiny)
