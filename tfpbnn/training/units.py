"""Warns of losses that are not made for the targets or weights to come."""

import warnings
import weakref
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tfpbnn.base import data, keras_private
from tfpbnn.base.by_output import entry_per_output
from tfpbnn.base.types import Array
from tfpbnn.likelihoods import Likelihood, assumed, units
from tfpbnn.likelihoods.from_loss import of_errors
from tfpbnn.networks import reading

# A network starts with outputs of about 0 and noises of about 0.7, from where
# targets can be reached fast whose mean and standard deviation are in here.
_MOST = 5.0
_LEAST_STDDEV = 0.05
_warned: weakref.WeakSet[Any] = weakref.WeakSet()


def warn(model: keras.Model, given: Mapping[str, Any]) -> None:
    """Warns, once for each model, of units that slow down training.

    These are array targets far from standardized under a loss that could have
    been adapted to them, or that assumes how noisy they are, and metrics under
    a loss that was adapted, since Keras gives them the outputs as they are, in
    standardized units. A loss that is calibrated is warned of too, since its
    map is not one of the weights to come.

    Args:
        model: a compiled model.
        given: the arguments of Keras's `fit`, by name.
    """
    if model in _warned or not model.compiled:
        return
    names, losses = reading.output_names(model), model.loss
    compiled = keras_private.compile_arguments(model)
    several = len(names) > 1
    found = []
    for name, loss, target, metrics in zip(
        names,
        entry_per_output(losses, names, losses),
        entry_per_output(given.get("y"), names, None),
        entry_per_output(compiled.get("metrics"), names, None),
        strict=True,
    ):
        of = f" of the output `{name}`" if several else ""
        found += _of_output(of, loss, target, metrics)
    if found:
        _warned.add(model)
        warnings.warn("\n".join(found), stacklevel=4)


def _of_output(of: str, loss: Any, y: Any, metrics: Any) -> list[str]:
    """Describes what is to be said of one output."""
    values = _values(y)
    likelihood = _likelihood(loss, values)
    if likelihood is None:
        return []
    texts = [_calibrated(of, likelihood)]
    if likelihood.is_location_scale:
        texts += [_far(of, likelihood, values), _metrics(of, loss, metrics)]
    return [text for text in texts if text]


def _calibrated(of: str, likelihood: Likelihood) -> str:
    """Describes a calibrator, which is that of other weights soon."""
    after = likelihood.recalibration
    if after is None:
        return ""
    return (
        f"The loss{of} is calibrated by {after!r}, which was "
        "fitted to the model as it is now. Once it is trained on, calibrate it "
        "anew; train it with `loss.recalibrated(None)`"
    )


def _values(y: Any) -> Array | None:
    return None if y is None or data.is_stream(y) else data.to_numpy(y)


def _likelihood(loss: Any, values: Array | None) -> Likelihood | None:
    """Returns the likelihood that a loss is or assumes; else None."""
    if loss is None or isinstance(loss, Likelihood):
        return loss
    shape = (1,) if values is None else values.shape
    return of_errors(loss, shape[-1] if len(shape) > 1 else 1)


def _far(of: str, loss: Likelihood, values: Array | None) -> str:
    """Describes targets that are far from standardized; "" if none are."""
    if loss.units is not None or values is None or not values.size:
        return ""
    if loss.assumed_from is not None:
        return assumed.of_targets(loss, values, of)
    if values.dtype.kind not in "iuf" or not np.all(np.isfinite(values)):
        return ""
    mean, stddev = map(np.array, units.of(values))
    far = (np.abs(mean) > _MOST) | (stddev > _MOST) | (stddev < _LEAST_STDDEV)
    if not np.any(far):
        return ""
    first, kind = int(np.argmax(far)), type(loss).__name__
    return (
        f"The targets{of} have a mean of {mean[first]:.4g} and a standard "
        f"deviation of {stddev[first]:.4g}, far from 0 and 1, so that training "
        "will be slow and may end badly. Compile the model with "
        f"`tfpbnn.likelihoods.{kind}(...).adapt(y_train)`: the network is then "
        "trained on standardized targets, and predictions are in the units of y"
    )


def _metrics(of: str, loss: Any, metrics: Any) -> str:
    """Describes metrics under an adapted loss; "" if there are none."""
    given = [m for m in keras.tree.flatten(metrics) if m is not None]
    if not isinstance(loss, Likelihood) or loss.units is None or not given:
        return ""
    return (
        f"The metrics{of} are given the network's outputs as they are, in "
        "standardized units, and targets in the units of y. Leave "
        "`metrics` out of `compile`; `tfpbnn.evaluate` has scores in units of "
        "y, and so has the loss"
    )
