"""Warns of layers that stayed at their prior, of which losses say nothing."""

import warnings
import weakref
from typing import Any

from tfpbnn.layers import kl_parts

_warned: weakref.WeakSet[Any] = weakref.WeakSet()


def warn(model: Any) -> None:
    """Warns, once for each model, if most units of a layer stayed at the prior.

    Args:
        model: a model after its `fit`.
    """
    if model in _warned or not model.built:
        return
    found = kl_parts.collapsed(model)
    if not found:
        return
    _warned.add(model)
    layers = ", ".join(
        f"{count} of {size} units of `{name}`"
        for name, (count, size) in found.items()
    )
    warnings.warn(
        f"Most of a layer stayed at the prior: {layers}. These units add noise "
        "to predictions and hold nothing of the data. Make the layer smaller; "
        "or let the KL begin small, by "
        "`tfpbnn.callbacks.KLWeight(len(x), warmup_epochs=...)`; begin with "
        "the weights of a trained network (`tfpbnn.to_variational`, or "
        '`kernel_prior="moped"`); or give a narrower prior, such as '
        "`kernel_prior=tfpbnn.priors.Normal(scale=0.3)`. "
        "`tfpbnn.diagnostics.collapse(model)` has the numbers",
        stacklevel=3,
    )
