"""Tells optimizers that leave a posterior how many rows it is of.

They are told by their method `weigh`, which takes the numbers.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from tfpbnn.base import data
from tfpbnn.base.kept import kept_with
from tfpbnn.callbacks import divisor as divisors
from tfpbnn.callbacks.kl_weight import DataLengthKLWeight, KLWeight
from tfpbnn.callbacks.training_data import TrainingData
from tfpbnn.layers import kl
from tfpbnn.training.optimizer_step import inner


def count(model: Any, given: Mapping[str, Any]) -> None:
    """Tells a model's optimizer, if it asks, the rows and the loss's divisor.

    The losses of an epoch's batches are divided by the number of rows in all if
    they are means over rows, and by the number of batches if they are sums: it
    is what the weight of a KL depends on.

    Args:
        model: the model that is about to be trained.
        given: the arguments of `fit`, by name.

    Raises:
        ValueError: if the optimizer was not given the number of rows, and the
            data don't tell it; if the model draws its weights itself.
    """
    optimizer = _asking(model)
    if optimizer is None:
        return
    if optimizer.num_examples is None and given.get("x") is None:
        raise _unknown(optimizer, "there are no data to count")
    counter = _counter(model, given, optimizer.num_examples)
    with _explained(optimizer):
        rows, divisor = counter.examples_and_divisor()
    optimizer.weigh(rows, divisor / rows)


def count_batch(model: Any, given: Mapping[str, Any]) -> None:
    """Tells a model's optimizer, if it asks, what a batch's loss is.

    The number of rows in all is what it was given, or `fit` has counted.

    Args:
        model: the model that is about to be trained on one batch.
        given: the arguments of `train_on_batch`, by name.

    Raises:
        ValueError: if the batch is no array or structure of them; if the model
            draws its weights itself.
    """
    optimizer = _asking(model)
    if optimizer is None:
        return
    with _explained(optimizer):
        size = data.count_examples(given["x"])
        seen = TrainingData({**given, "batch_size": size})
        names, parts = _parts(model, seen)
        rows, values = seen.count(model, names, parts)
    divisor = divisors.joint(model, parts, values) if parts else rows
    optimizer.weigh(None, divisor / rows)


def _parts(
    model: Any, seen: TrainingData
) -> tuple[list[str], list[divisors.Divisor]]:
    """Finds the model's outputs and their losses, once for a loss and shapes.

    It traces the loss, which takes as long as many steps of small networks.
    """
    x, y = seen.example()
    leaves = keras.tree.flatten((x, y))
    shapes = tuple(tuple(getattr(leaf, "shape", ()))[1:] for leaf in leaves)
    kept = kept_with(model, "losses_of_batches")
    if kept.get("loss") is not model.loss:
        kept.clear()
        kept["loss"] = model.loss
    if shapes not in kept:
        outputs = divisors.outputs_of(model, x)
        names = divisors.names_of(model, outputs)
        kept[shapes] = names, divisors.divisors_of(model, outputs, y)
    return kept[shapes]


def _asking(model: Any) -> Any:
    """Returns the optimizer of a model if it asks; None if not."""
    optimizer = inner(getattr(model, "optimizer", None))
    if not hasattr(optimizer, "weigh"):
        return None
    if kl.managed_weights(model) or kl.kl_terms(model):
        raise ValueError(
            "`model` must have plain weights, which its optimizer gives a "
            "posterior. Received: one with variational layers, which have one "
            "of their own. Train it by another optimizer, or take a plain one, "
            "such as tfpbnn.to_deterministic(model)"
        )
    divisors.check_reduced(model)
    return optimizer


@contextlib.contextmanager
def _explained(optimizer: Any) -> Iterator[None]:
    """Says to an optimizer's user what data don't tell."""
    try:
        yield
    except data.Uncounted as error:
        raise _unknown(optimizer, error.received) from error


def _unknown(optimizer: Any, received: str) -> ValueError:
    return ValueError(
        "`num_examples` (of IVON: `ess`) must be given to the optimizer where "
        "the data don't tell the number of rows, and losses must be means over "
        "rows, as those of tfpbnn.likelihoods are, where they don't tell what "
        f"a loss is divided by. Received: {type(optimizer).__name__} with "
        f"{optimizer.num_examples}; {received}"
    )


def _counter(
    model: Any, given: Mapping[str, Any], num_examples: float | None
) -> KLWeight:
    """Makes what counts for the weight of a KL, for this model and data."""
    if num_examples is None:
        counter: KLWeight = DataLengthKLWeight(given)
    else:
        counter = KLWeight(num_examples)  # type: ignore[arg-type]
        if given.get("x") is not None:
            counter.see(given)
    counter.set_model(model)
    counter.set_params({"steps": given.get("steps_per_epoch")})
    return counter
