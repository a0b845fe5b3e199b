"""Finds the likelihood that a plain Keras loss belongs to."""

import math
from collections.abc import Callable
from typing import Any

import keras

from tfpbnn.base import registry
from tfpbnn.likelihoods.base import Likelihood
from tfpbnn.likelihoods.classification import Bernoulli, Categorical
from tfpbnn.likelihoods.counts import Poisson
from tfpbnn.likelihoods.regression import Laplace, Normal

# Keras averages these over the outputs: with k of them, minus the logarithm of
# a Normal of variance k / 2 and of a Laplace of scale k, up to a constant.
_BY_NUM_OUTPUTS: dict[str, Callable[[int], Likelihood]] = {
    "mean_absolute_error": lambda k: Laplace(scale=float(k)),
    "mean_squared_error": lambda k: Normal(scale=math.sqrt(k / 2)),
}
_BY_FROM_LOGITS: dict[str, type[Bernoulli] | type[Categorical]] = {
    "binary_crossentropy": Bernoulli,
    "categorical_crossentropy": Categorical,
    "sparse_categorical_crossentropy": Categorical,
}
_KNOWN = sorted([*_BY_NUM_OUTPUTS, *_BY_FROM_LOGITS, "poisson"])


def from_loss(loss: Any, num_outputs: int = 1) -> Likelihood:
    """Finds the likelihood whose negative logarithm a compiled loss is.

    Cross-entropies are Categorical or Bernoulli, with their `from_logits`. Mean
    squared error is a Normal of variance k / 2 for k outputs, since that is
    what minimizing it together with a KL assumes; if the noise is not of that
    size, use `tfpbnn.likelihoods.Normal`.

    Keras averages binary cross-entropies and Poisson losses over several
    outputs too, and all losses over the positions of rank-3 outputs, where a
    likelihood adds up. `fit` divides the KL by the same numbers, so that the
    sum is the bound of the likelihood returned here.

    Args:
        loss: a `Likelihood`, or one of Keras's losses, as an object, a function
            or a string.
        num_outputs: the size of the last axis of the model's outputs.

    Raises:
        ValueError: if the loss belongs to no known likelihood, or is None.

    Example:
    ```python
    tfpbnn.likelihoods.from_loss("mse")             # Normal, scale 0.707
    ```
    """
    if isinstance(loss, Likelihood):
        return loss
    resolved = keras.losses.get(loss) if isinstance(loss, str) else loss
    name = name_of(resolved)
    if found := of_errors(resolved, num_outputs):
        return found
    if name in _BY_FROM_LOGITS:
        from_logits = bool(getattr(resolved, "from_logits", False))
        ignored = getattr(resolved, "ignore_class", None)
        own = {} if ignored is None else {"ignore_class": ignored}
        return _BY_FROM_LOGITS[name](from_logits=from_logits, **own)
    if name == "poisson":
        return Poisson(from_log_rate=False)
    raise ValueError(
        "`loss` must be a likelihood: an object of `tfpbnn.likelihoods`, or "
        f"one of Keras's {_KNOWN}. Received: loss={loss!r}"
    )


def of_errors(loss: Any, num_outputs: int) -> Likelihood | None:
    """Returns what squared and absolute errors assume; else None."""
    name = name_of(loss)
    if name not in _BY_NUM_OUTPUTS:
        return None
    found = _BY_NUM_OUTPUTS[name](num_outputs)
    found.assumed_from = name
    return found


def targets_per_value(loss: Any, num_outputs: int) -> int:
    """Computes how many targets' log-likelihoods a loss's value averages.

    Keras averages elementwise losses over the last axis of the outputs. A
    squared or absolute error is the negative logarithm of a likelihood even so,
    one with more noise, and there the answer is 1, as for cross-entropies of
    classes, which have one target.

    Args:
        loss: one of Keras's losses; for any other the answer is 1.
        num_outputs: the size of the last axis of the model's outputs.
    """
    is_mean = name_of(loss) in ("binary_crossentropy", "poisson")
    return num_outputs if is_mean else 1


def name_of(loss: Any) -> str:
    """Returns the name of a loss's kind, such as "binary_crossentropy".

    Args:
        loss: a loss, as an object, a function or a string.
    """
    loss = keras.losses.get(loss) if isinstance(loss, str) else loss
    return registry.snake_case(getattr(loss, "__name__", type(loss).__name__))
