"""Tells optimizers that leave a posterior how many rows it is of.

They are told by their method `weigh`, which takes the numbers.
"""

from collections.abc import Mapping
from typing import Any

from tfpbnn.callbacks.kl_weight import DataLengthKLWeight, KLWeight
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
    optimizer = inner(getattr(model, "optimizer", None))
    if not hasattr(optimizer, "weigh"):
        return
    if kl.managed_weights(model) or kl.kl_terms(model):
        raise ValueError(
            "`model` must have plain weights, which its optimizer gives a "
            "posterior. Received: one with variational layers, which have one "
            "of their own. Train it by another optimizer, or take a plain one, "
            "such as tfpbnn.to_deterministic(model)"
        )
    if optimizer.num_examples is None and given.get("x") is None:
        raise _unknown(optimizer, "there are no data to count")
    counter = _counter(model, given, optimizer.num_examples)
    try:
        rows, divisor = counter.examples_and_divisor()
    except ValueError as error:
        raise _unknown(optimizer, str(error)) from error
    optimizer.weigh(rows, divisor)


def _unknown(optimizer: Any, why: str) -> ValueError:
    return ValueError(
        "`num_examples` (of IVON: `ess`) must be given to the optimizer where "
        "the data don't tell the number of rows, and losses that are sums need "
        f"batches that can be counted. Received: {type(optimizer).__name__} "
        f"with {optimizer.num_examples}. ({why})"
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
