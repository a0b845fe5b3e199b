"""Checks the data of `fit`, `evaluate` and `predict` before Keras reads them.

Otherwise a NaN shows only in the logs, and a label out of range raises in the
first step's graph, with TensorFlow's long traceback.
"""

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn import likelihoods
from tfpbnn.base import data, keras_private
from tfpbnn.base.by_output import entry_per_output
from tfpbnn.base.places import over_places
from tfpbnn.base.types import Array
from tfpbnn.distribute import starting
from tfpbnn.likelihoods import Likelihood, assumed
from tfpbnn.networks import missing, reading
from tfpbnn.networks.calls import may_be_masked
from tfpbnn.training.losses import check_names

# Keras's losses whose targets must be labels. Its Poisson takes any number,
# and its categorical cross entropy weighted one-hot rows.
_LABEL_LOSSES = (
    keras.losses.BinaryCrossentropy,
    keras.losses.SparseCategoricalCrossentropy,
    keras.losses.binary_crossentropy,
    keras.losses.sparse_categorical_crossentropy,
)


class CheckedData:
    """A mixin for Keras models, whose `evaluate` and `predict` check data."""

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluates the model like `keras.Model.evaluate`, after checks.

        Raises:
            TypeError: if targets are strings or other objects.
            ValueError: if arrays have NaN among them, or targets that the
                compiled loss can't take, or if the model's strategy can't
                evaluate it as one device does.
        """
        plain = super().evaluate  # type: ignore[misc]
        # What `fit` has kept for between epochs was looked at when it began.
        if keras_private.is_called_by_fit(kwargs):
            return plain(*args, **kwargs)
        bound = inspect.signature(plain).bind(*args, **kwargs)
        data.as_keras_takes(bound.arguments)
        starting.begin(self, bound.arguments, is_training=False)
        check_data(self, bound.arguments)
        return plain(*bound.args, **bound.kwargs)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.predict`, of all forms of data that `fit` takes.

        Raises:
            TypeError: if an array holds neither numbers nor strings.
        """
        plain = super().predict  # type: ignore[misc]
        bound = inspect.signature(plain).bind(*args, **kwargs)
        data.as_keras_takes(bound.arguments)
        return plain(*bound.args, **bound.kwargs)


def check_data(model: Any, given: Mapping[str, Any]) -> None:
    """Raises if arrays have values that can't be learned or scored.

    Args:
        model: a compiled model.
        given: the arguments of Keras's `fit` or `evaluate`, by name.

    Raises:
        TypeError: if targets are not numbers.
        ValueError: if there is a NaN, or a target that the loss can't take, or
            if targets have other names than the outputs.
    """
    rows = tuple(map(given.get, ("x", "y", "sample_weight")))
    _check_rows(model, rows)
    validation = given.get("validation_data")
    if isinstance(validation, tf.data.Dataset):
        _check_target_names(model, _targets_of(validation))
    elif isinstance(validation, list | tuple):
        rows = keras.utils.unpack_x_y_sample_weight(tuple(validation))
        _check_rows(model, rows, " of `validation_data`")


def _check_rows(model: Any, rows: tuple[Any, ...], of: str = "") -> None:
    x, y, sample_weight = rows
    _check_target_names(model, _targets_of(x) if data.is_stream(x) else y)
    missing.check_inputs(model, x, of)
    data.check_finite("y", _counted(model, y, sample_weight), of)
    if sample_weight is None:  # some may count for nothing
        check(model, y, of)


def _targets_of(stream: Any) -> Any:
    """Finds the structure of a dataset's targets; None if it must be read."""
    if not isinstance(stream, tf.data.Dataset):
        return None
    return keras.utils.unpack_x_y_sample_weight(stream.element_spec)[1]


def _check_target_names(model: Any, y: Any) -> None:
    """Raises if names of targets are not those of the model's outputs."""
    if outputs := _outputs(model):
        # A Sequential model has no `output` before it is called by another.
        network = reading.template_of(model)
        check_names(model, y, getattr(network, "output", outputs[0]))


def _counted(model: Any, y: Any, sample_weight: Any) -> Any:
    """Leaves out targets that no likelihood looks at, which may be NaN.

    These are masked, or have a weight of 0 under a likelihood. Keras's own
    losses multiply by the weight, and 0 times NaN is NaN.
    """
    outputs, names = _outputs(model), reading.output_names(model)
    if y is None or data.is_stream(y) or len(outputs) != len(names):
        return y
    losses = entry_per_output(model.loss, names, model.loss)
    weights = entry_per_output(sample_weight, names, sample_weight)
    found = []
    masked = may_be_masked(model, outputs)
    for target, loss, weight, is_masked in zip(
        entry_per_output(y, names, None), losses, weights, masked, strict=True
    ):
        values = None if target is None else data.to_numpy(target)
        if values is None or not isinstance(loss, Likelihood):
            found.append(target)
        elif not is_masked:
            found.append(without_weightless(values, weight))
    return [target for target in found if target is not None]


def without_weightless(y: Array, weight: Any) -> Array:
    """Targets with 0, which all likelihoods take, where the weight is 0."""
    given = None if weight is None else data.to_numpy(weight)
    spread = None if given is None else over_places(given, y.shape)
    return y if spread is None else np.where(spread == 0, 0, y)


def counted(
    y: Array, weights: Any, mask: Any, likelihood: Likelihood, output: Any
) -> Array:
    """Checks the targets that count, and puts 0 for the others.

    Args:
        y: targets of one output.
        weights: of rows or places, or None.
        mask: of places, or None; one of other places than the targets' is that
            of steps which a layer has joined, and is left out.
        likelihood: of the targets.
        output: the output, or a symbol of it.

    Raises:
        ValueError: if one is not finite, or none that the likelihood can give.
    """
    found = without_weightless(without_weightless(y, weights), mask)
    data.check_finite("y", found)
    check_values(found, likelihood, output)
    return found


def check(model: keras.Model, y: Any, of: str = "") -> None:
    """Raises if array targets have values that the compiled loss can't take.

    Data that may be right all the same pass: targets that are masked or have an
    unknown loss, other forms of data, and the data of models that have a user's
    own training steps or don't know their outputs yet.

    Args:
        model: a compiled model.
        y: the targets, in any form that `fit` takes.
        of: the words for what the targets are part of, for the message.

    Raises:
        TypeError: if the targets are not numbers.
        ValueError: if the loss can't take a value; the message names the first
            such value and its index.
    """
    outputs = _outputs(model)
    if not outputs or y is None or data.is_stream(y):
        return
    names = reading.output_names(model)
    parts = zip(
        names,
        outputs,
        may_be_masked(model, outputs),
        entry_per_output(y, names, None),
        entry_per_output(model.loss, names, model.loss),
        strict=True,
    )
    for name, output, is_masked, target, loss in parts:
        values = None if target is None else data.to_numpy(target)
        likelihood = None if is_masked else _likelihood(loss, output)
        if values is not None and likelihood is not None:
            part = f" of the output `{name}`" if len(names) > 1 else ""
            check_values(values, likelihood, output, part + of)


def _outputs(model: Any) -> list[Any]:
    """Lists a model's symbolic outputs; none if its steps are a user's own."""
    steps = (type(model).train_step, type(model).compute_loss)
    ours = all(
        step.__module__.split(".")[0] in ("keras", "tfpbnn") for step in steps
    )
    network = reading.template_of(model)
    return getattr(network, "outputs", []) if ours else []


def _likelihood(loss: Any, output: Any) -> Likelihood | None:
    """Finds the likelihood whose targets a loss takes; None if unknown."""
    if loss is None or isinstance(loss, Likelihood):
        return loss
    try:
        resolved = keras.losses.get(loss)
    except ValueError:
        return None
    known = type(resolved) in _LABEL_LOSSES or resolved in _LABEL_LOSSES
    ignored = getattr(resolved, "ignore_class", None)
    if not known or ignored is not None:
        return None
    return likelihoods.from_loss(resolved, output.shape[-1])


def check_values(
    y: Array, likelihood: Likelihood, output: Any, of: str = ""
) -> None:
    """Raises if targets are none that a likelihood can give.

    A warning says if they vary by far more, or less, than a noise that a Keras
    loss stands for.

    Args:
        y: all targets.
        likelihood: theirs.
        output: the model's output, of which the shape is read.
        of: the words for what the targets are part of, for the message.

    Raises:
        ValueError: with the first such value and its index.
    """
    rank = len(output.shape)
    data.check_numbers(f"`y`{of}", y)
    if (
        y.dtype.kind not in "biuf"
        or y.ndim not in (rank - 1, rank)
        or not y.size
    ):
        return
    if noise := assumed.of_targets(likelihood, y, of):
        warnings.warn(noise, stacklevel=4)
    words, low, high = likelihood.support(output.shape[-1])
    whole = y.dtype.kind != "f" or not likelihood.is_integral(y, output)
    # Two passes without a copy, if there is nothing to find.
    if whole and low <= y.min() and y.max() <= high:
        return
    wrong = np.argwhere(~likelihood.supports(y, output))
    if len(wrong):
        index = tuple(map(int, wrong[0]))
        raise ValueError(
            f"`y`{of} must hold {words}. Received: {y[index]} at index "
            f"{index}, the first of {len(wrong)} values"
        )
