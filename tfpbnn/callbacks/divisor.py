"""Finds what a compiled loss divides the log-likelihood by.

The loss of a batch is minus a sum of log-likelihoods, divided by something: by
its count of rows where Keras averages over rows, of rows times places where it
averages over time steps or pixels too, by the sum of the weights, by 1. Over
the batches of an epoch these divisors add up to what the log-likelihood of all
data is divided by; so must the KL be.
"""

import dataclasses
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base import data, keras_private
from tfpbnn.base.by_output import entry_per_output
from tfpbnn.base.types import Array
from tfpbnn.likelihoods import Likelihood
from tfpbnn.likelihoods.from_loss import targets_per_value
from tfpbnn.networks import reading
from tfpbnn.networks.calls import may_be_masked

_FIX = (
    "Pass `tfpbnn.callbacks.KLWeight(num_examples=..., divisor=...)`, where "
    "`divisor` is what the losses of an epoch's batches are divided by, added "
    "up; or use a loss of tfpbnn.likelihoods, which adds up over places"
)


@dataclasses.dataclass(frozen=True)
class Divisor:
    """Describes what the loss of one output is divided by.

    Attributes:
        name: the output's.
        reduction: the loss's.
        places: the shape of what the loss averages over beside rows, such as
            time steps; None where the length differs from batch to batch.
        targets: how many targets one value of the loss is the mean of, where
            the likelihood adds up: outputs of a binary cross-entropy.
        is_masked: whether places may be masked.
        ignore_class: the label of places that count for nothing, if any.
    """

    name: str
    reduction: str = "sum_over_batch_size"
    places: tuple[int | None, ...] = ()
    targets: int = 1
    is_masked: bool = False
    ignore_class: int | None = None

    @property
    def needs_data(self) -> bool:
        """Says whether the data must be read, even without weights."""
        is_known = self.reduction == "sum" or not (
            None in self.places or self.needs_mask
        )
        return not is_known

    @property
    def needs_mask(self) -> bool:
        """Says whether masked places must be counted."""
        hides = self.is_masked or self.ignore_class is not None
        return hides and self.reduction != "sum"

    def of_counts(self, rows: int, batches: int | None) -> float:
        """Returns the divisor of an epoch of so many rows, if that is enough.

        Raises:
            ValueError: if more need be known.
        """
        if self.reduction == "sum" and batches is not None:
            return float(self.targets * batches)
        if self.needs_data or self.reduction == "sum":
            what = {
                self.reduction == "sum": "the number of batches is unknown",
                self.needs_mask: "it averages over places without a mask",
            }.get(True, "its number of places differs between batches")
            raise data.Uncounted(
                "`num_examples` must tell what the loss is divided by",
                f"the loss of the output `{self.name}`, of which {what}",
                _FIX,
            )
        return float(rows * math.prod(self.places) * self.targets)  # type: ignore[arg-type]

    def of_batch(self, rows: int, y: Any, weights: Any, mask: Any) -> float:
        """Returns the divisor of one batch, or of rows that go into several.

        Args:
            rows: the number of rows.
            y: the targets of this output, or None.
            weights: their sample weights, or None.
            mask: of the output, or None.
        """
        if self.reduction == "sum":
            return float(self.targets)
        shape = (rows, *self._places_of(y))
        counts: Array = np.ones(shape)
        if self.ignore_class is not None and y is not None:
            labels = np.asarray(y)
            counts *= np.reshape(labels, shape) != self.ignore_class
        if mask is not None and self.is_masked:
            mask = np.asarray(mask, bool)
            # Keras divides by the share of places without a mask.
            extra = [1] * (len(shape) - mask.ndim)
            counts = counts * np.reshape(mask, (*mask.shape, *extra))
        if self.reduction == "mean_with_sample_weight" and weights is not None:
            weights = np.asarray(weights, float)
            if not self.needs_mask:  # Keras divides by the weights as given.
                return float(np.sum(weights)) * self.targets
            extra = [1] * (len(shape) - weights.ndim)
            counts = counts * np.reshape(weights, (*weights.shape, *extra))
        return float(np.sum(counts)) * self.targets

    def _places_of(self, y: Any) -> tuple[int, ...]:
        known = self.places
        found = tuple(getattr(y, "shape", ())[1 : 1 + len(known)])
        sizes = [
            size if size is not None or i >= len(found) else found[i]
            for i, size in enumerate(known)
        ]
        if None in sizes:
            raise data.Uncounted(
                f"The targets of the output `{self.name}` must have an axis "
                "for each axis of places that the loss averages over",
                f"targets of shape {getattr(y, 'shape', None)}",
                _FIX,
            )
        return tuple(int(size) for size in sizes if size is not None)


def divisors_of(model: Any, outputs: Any, y: Any = None) -> list[Divisor]:
    """Finds what the losses of a model's outputs are divided by.

    Args:
        model: a compiled model.
        outputs: its symbolic outputs, in its own structure; None if unknown.
        y: some targets, of which the shapes are read; None if unknown.

    Returns:
        One for each output with a loss; none where the loss is a user's own
        code, which is taken for a mean over rows.

    Raises:
        ValueError: if a loss is not reduced at all, or outputs are unknown
            that must be known.
    """
    step = type(model).compute_loss
    is_ours = step.__module__.split(".")[0] in ("keras", "tfpbnn")
    loss = getattr(model, "loss", None)
    if not is_ours or loss is None:
        return []
    if outputs is None and need_outputs(model):
        raise data.Uncounted(
            "The outputs of the model must be known, since the loss averages "
            "over their places",
            f"a model of the class {type(model).__name__}, whose outputs Keras "
            "doesn't know",
            _FIX,
        )
    if outputs is None:
        return [_of_any_output(part) for part in keras.tree.flatten(loss)]
    names = names_of(model, outputs)
    masked = need_outputs(model) and may_be_masked(model, outputs)
    return [
        _of_output(part, name, output, is_masked, target)
        for name, part, output, is_masked, target in zip(
            names,
            entry_per_output(loss, names, loss),
            entry_per_output(outputs, names, None),
            entry_per_output(masked, names, masked),
            entry_per_output(y, names, None),
            strict=True,
        )
        if part is not None and output is not None
    ]


def check_reduced(model: Any) -> None:
    """Raises if a loss of a compiled model is not reduced to a number.

    Raises:
        ValueError: if one is not.
    """
    for part in keras.tree.flatten(getattr(model, "loss", None)):
        if part is not None:
            _reduction(_resolved(part))


def need_outputs(model: Any) -> bool:
    """Says whether the loss's divisor depends on what the outputs are."""
    losses = keras.tree.flatten(getattr(model, "loss", None))
    return not all(
        part is None or isinstance(part, Likelihood) for part in losses
    )


def outputs_of(model: Any, x: Any = None) -> Any:
    """Returns a model's symbolic outputs, in its own structure.

    Args:
        model: any model, built or not.
        x: inputs, or specs of them, for models that don't know theirs; these
            are called with symbolic tensors, and so built.

    Returns:
        None where the outputs can't be known: no inputs were given, to a model
        that was never called.
    """
    network = reading.template_of(model)
    if getattr(network, "outputs", None):
        is_list = isinstance(network, keras.Sequential)
        return network.outputs[0] if is_list else network.output
    if x is None:
        x = _inputs_built_for(network)
    if x is None:
        return None
    return network(keras.tree.map_structure(_symbolic, x))


def _inputs_built_for(network: Any) -> Any:
    """Returns specs of the inputs a model was called with, or None."""
    config = network.get_build_config() if network.built else None
    shape = (config or {}).get("input_shape")
    if not isinstance(shape, list | tuple) or not _is_shape(shape):
        return None
    return tf.TensorSpec(shape, keras.config.floatx())


def _is_shape(shape: Any) -> bool:
    return all(size is None or isinstance(size, int) for size in shape)


def _symbolic(leaf: Any) -> Any:
    """Returns a symbolic tensor like a leaf, with any number of rows."""
    if leaf is None:
        return None
    dtype = getattr(leaf, "dtype", None)
    name = keras.config.floatx() if dtype is None else tf.as_dtype(dtype).name
    return keras.KerasTensor((None, *leaf.shape[1:]), name)


def joint(
    model: Any, divisors: Sequence[Divisor], values: Sequence[float]
) -> float:
    """Returns the divisor of the sum of the losses: the least of theirs.

    It warns if they differ and `compile` was given no `loss_weights`.
    """
    least = min(values)
    arguments = keras_private.compile_arguments(model)
    if arguments.get("loss_weights") or np.allclose(values, least):
        return least
    each = {
        part.name: round(value / least, 6)
        for part, value in zip(divisors, values, strict=True)
    }
    warnings.warn(
        "The losses of the outputs are means over different numbers of "
        f"targets, in the proportions {each}, so the log-likelihood of an "
        "output counts for one over that. For the posterior of the joint "
        "likelihood pass these numbers as `loss_weights` of `compile`, or use "
        "losses of tfpbnn.likelihoods, which add up.",
        stacklevel=2,
    )
    return least


def names_of(model: Any, outputs: Any) -> list[str]:
    """Names the outputs of any model, also where Keras has no names."""
    if outputs is None:
        return []
    if isinstance(outputs, Mapping):
        return sorted(outputs)
    count = len(keras.tree.flatten(outputs))
    names = reading.output_names(model)
    known = names if len(names) == count else map(str, range(count))
    return list(known)


def _reduction(loss: Any) -> str:
    reduction = getattr(loss, "reduction", "sum_over_batch_size")
    if reduction in (None, "none"):
        raise ValueError(
            "`reduction` of the loss must be 'sum_over_batch_size', 'mean', "
            "'mean_with_sample_weight' or 'sum' where weights have a prior, "
            "which counts against the loss as a number. Received: "
            f"reduction={reduction!r}"
        )
    return str(reduction)


def _of_any_output(loss: Any) -> Divisor:
    """Describes a loss that adds up over places, whatever the output."""
    return Divisor("output", _reduction(_resolved(loss)))


def _of_output(
    loss: Any, name: str, output: Any, is_masked: bool, y: Any
) -> Divisor:
    loss = _resolved(loss)
    reduction = _reduction(loss)
    if isinstance(loss, Likelihood):
        return Divisor(name, reduction)
    rank = _rank_of_values(loss, output, y)
    if rank == 0:  # A mean over rows, by code of the user's.
        return Divisor(name)
    return Divisor(
        name,
        reduction,
        tuple(output.shape[1:rank]),
        targets_per_value(loss, output.shape[-1]),
        is_masked,
        getattr(loss, "ignore_class", None),
    )


def _resolved(loss: Any) -> Any:
    return keras.losses.get(loss) if isinstance(loss, str) else loss


def _rank_of_values(loss: Any, output: Any, y: Any) -> int:
    """Finds the rank of what a loss gives before Keras reduces it.

    The loss is traced, in a graph that is never run.
    """
    call = loss.call if isinstance(loss, keras.losses.Loss) else loss
    shape = (None, *output.shape[1:])
    found = getattr(y, "shape", None)
    targets = [] if found is None else [(None, *found[1:])]
    dtype = tf.as_dtype(output.dtype)
    for target in (*targets, shape, shape[:-1]):
        spec = [tf.TensorSpec(target, dtype), tf.TensorSpec(shape, dtype)]
        try:
            traced = tf.function(call, autograph=False)
            values = traced.get_concrete_function(*spec).structured_outputs
            return len(values.shape)
        except (AttributeError, TypeError, ValueError):
            continue
    return max(1, len(shape) - 1)  # As Keras's own losses do.
