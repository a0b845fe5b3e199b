"""Tells samplers how many rows their posterior is of.

An optimizer that samples is told by its methods: `weigh` takes the numbers.
"""

from collections.abc import Mapping
from typing import Any

from tfpbnn.callbacks.kl_weight import DataLengthKLWeight, KLWeight
from tfpbnn.layers import kl


def sampler_in(optimizer: Any) -> Any:
    """Returns the sampler that an optimizer is, or wraps; None if neither."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return inner if hasattr(inner, "weigh") else None


def count(model: Any, given: Mapping[str, Any]) -> None:
    """Tells a model's sampler, if it has one, the rows and the loss's divisor.

    The losses of an epoch's batches are divided by the number of rows in all if
    they are means over rows, and by the number of batches if they are sums: it
    is what the weight of a KL depends on.

    Args:
        model: the model that is about to be trained.
        given: the arguments of `fit`, by name.

    Raises:
        ValueError: if the sampler was not given the number of rows, and the
            data don't tell it; if the model draws its weights itself.
    """
    sampler = sampler_in(getattr(model, "optimizer", None))
    if sampler is None:
        return
    if kl.managed_weights(model) or kl.kl_terms(model):
        raise ValueError(
            "`model` must have plain weights for a sampler to sample. "
            "Received: one with variational layers, which have a posterior of "
            "their own. Train it by another optimizer, or sample a plain one, "
            "such as tfpbnn.to_deterministic(model)"
        )
    if given.get("x") is None:
        sampler.check_counted()
    counter = _counter(model, given, sampler.num_examples)
    try:
        rows, divisor = counter.examples_and_divisor()
    except ValueError as error:
        raise ValueError(
            "`num_examples` of the optimizer must be given where the data "
            "don't tell the number of rows, and losses that are sums need "
            "batches that can be counted. Received: num_examples="
            f"{sampler.num_examples} (see above). Pass "
            f"{type(sampler).__name__}(..., num_examples=...)"
        ) from error
    sampler.weigh(rows, divisor)


def _counter(
    model: Any, given: Mapping[str, Any], num_examples: int | None
) -> KLWeight:
    """Makes what counts for the weight of a KL, for this model and data."""
    if num_examples is None:
        counter: KLWeight = DataLengthKLWeight(given)
    else:
        counter = KLWeight(num_examples)
        if given.get("x") is not None:
            counter.see(given)
    counter.set_model(model)
    counter.set_params({"steps": given.get("steps_per_epoch")})
    return counter
