"""Calibrates a posterior: fits a map for each output, and puts it in."""

from collections.abc import Mapping
from typing import Any

import keras

from tfpbnn.base import registry
from tfpbnn.base.by_output import by_output
from tfpbnn.calibration.base import Calibrator
from tfpbnn.calibration.classes import BBQ, HistogramBinning, Isotonic
from tfpbnn.calibration.draws import draws_of
from tfpbnn.calibration.logits import (
    Dirichlet,
    MatrixScaling,
    Platt,
    Temperature,
    VectorScaling,
)
from tfpbnn.calibration.noise import Scale
from tfpbnn.calibration.quantiles import IsotonicQuantiles
from tfpbnn.networks import reading
from tfpbnn.networks.copying import clone, compile_like
from tfpbnn.prediction.predict import HeldOut, held_out

METHODS = {
    registry.snake_case(cls.__name__): cls
    for cls in (
        Temperature,
        VectorScaling,
        MatrixScaling,
        Dirichlet,
        Platt,
        Isotonic,
        HistogramBinning,
        Scale,
        IsotonicQuantiles,
    )
} | {"bbq": BBQ}


def calibrate(
    posterior: keras.Model,
    x: Any,
    y: Any = None,
    method: Any = None,
    *,
    sample_weight: Any = None,
    num_samples: int = 100,
    batch_size: int | None = None,
    seed: int | None = 0,
    draws: str | None = None,
    likelihood: Any = None,
) -> keras.Model:
    """Calibrates a posterior on held-out data, and returns a copy that is.

    The copy has the same weights, and a loss that carries the fitted map. So
    what `tfpbnn.predict`, `evaluate` and `export` make of it is calibrated,
    also after it was saved and loaded. Keras's own `predict` gives the
    network's outputs, as before. The model that was given is not changed. If it
    is calibrated already, the new map comes after the one that is there.

    Args:
        posterior: a model that `tfpbnn.predict` takes: a network, an ensemble,
            SWAG, chains; or a plain network without anything random.
        x: held-out inputs, which no training has seen; or a dataset of (x, y).
        y: the targets; None if x brings them. For several outputs, a dict by
            their names, or a list in their order.
        method: a calibrator, or its name as "temperature", for all outputs; or
            a dict by their names or a list of these, in which None leaves an
            output as it is. The default is "temperature" for labels, and for
            numbers "scale", or "isotonic_quantiles" where there is no scale.
        sample_weight: as in `tfpbnn.evaluate`.
        num_samples, batch_size, seed: as in `tfpbnn.predict`.
        draws: as in `tfpbnn.predict`; None for "auto", or for "mean" if nothing
            in the model is random.
        likelihood: as in `tfpbnn.predict`; it is part of the copy.

    Returns:
        A model of the same class. Its `loss` is the calibrated likelihood.

    Raises:
        ValueError: for the reasons of `tfpbnn.predict` and of the calibrator's
            `fit`; if the model can't be copied.

    Example:
    ```python
    calibrated = tfpbnn.calibration.calibrate(model, x_test, y_test)
    tfpbnn.evaluate(calibrated, x, y)
    calibrated.save("calibrated.keras")
    shape = "isotonic_quantiles"
    more = tfpbnn.calibration.calibrate(calibrated, x, y, shape)
    ```

    Reference:
        [Guo et al., 2017](https://arxiv.org/abs/1706.04599)
    """
    names, found = held_out(
        posterior,
        x,
        y,
        sample_weight,
        num_samples=num_samples,
        batch_size=batch_size,
        seed=seed,
        draws=draws or draws_of(posterior),
        likelihood=likelihood,
        verbose=0,
    )
    fitted = {}
    for name, chosen in _methods(method, names, found).items():
        p, y, weights = found[name]
        calibrator = chosen.fit(p, y, weights)
        fitted[name] = p.likelihood.recalibrated(calibrator)
    loss = (
        reading.compiled_loss(posterior) if likelihood is None else likelihood
    )
    loss = _with(loss, names, fitted, reading.has_named_outputs(posterior))
    copy = clone(posterior, compiled=False)
    if posterior.compiled:
        compile_like(copy, posterior, loss=loss)
    else:
        copy.compile("sgd", loss=loss)
    return copy


def _methods(
    method: Any, names: list[str], found: Mapping[str, HeldOut]
) -> dict[str, Calibrator]:
    """Returns an unfitted calibrator for each output that is to have one."""
    if isinstance(method, Mapping):
        method = {**dict.fromkeys(names), **method}
    if isinstance(method, Mapping | list | tuple):
        chosen = by_output("`method`", method, names, list(found))
        pairs = {
            name: one
            for name, one in zip(names, chosen, strict=True)
            if one is not None
        }
    else:
        pairs = {
            name: method or _default(one.predictive.likelihood)
            for name, one in found.items()
        }
    if not pairs:
        raise ValueError(
            "`method` must have a calibrator for one of the outputs "
            f"{list(found)}. Received: method={method!r}"
        )
    made = {
        name: registry.get(one, Calibrator, METHODS, "method")
        for name, one in pairs.items()
    }
    return {name: one.copy() for name, one in made.items() if one is not None}


def _default(likelihood: Any) -> str:
    if likelihood.is_classification:
        return "temperature"
    return "scale" if likelihood.is_location_scale else "isotonic_quantiles"


def _with(
    loss: Any, names: list[str], fitted: Mapping[str, Any], is_named: bool
) -> Any:
    """Returns the loss, with the calibrated likelihoods of outputs in it."""
    if len(names) == 1 and not isinstance(loss, Mapping | list | tuple):
        return fitted[names[0]]
    if isinstance(loss, Mapping):
        return {**loss, **fitted}
    flat = loss if isinstance(loss, list | tuple) else [loss] * len(names)
    flat = keras.tree.flatten(flat)
    by_name = {**dict(zip(names, flat, strict=True)), **fitted}
    return by_name if is_named else list(by_name.values())
