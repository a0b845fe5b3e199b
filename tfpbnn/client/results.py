"""What a server answered becomes predictions here."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfpbnn.base.types import Array
from tfpbnn.likelihoods import Bernoulli, Categorical, Likelihood, Normal
from tfpbnn.prediction.results import (
    ClassificationPredictive,
    Predictive,
    RegressionPredictive,
)

_SUMMARIES = (
    "aleatoric_variance",
    "conformal_lower",
    "conformal_sets",
    "conformal_upper",
    "epistemic_variance",
    "expected_entropy",
    "mean",
    "mutual_information",
    "predictive_entropy",
    "probabilities",
    "quantiles",
    "variance",
)
_ENOUGH = (
    {"aleatoric_variance", "mean"},
    {"predictive_entropy", "probabilities"},
)


def predictive(
    outputs: Mapping[str, Array],
    likelihood: Any,
    levels: Sequence[float],
    num_samples: int,
) -> Any:
    """Returns a prediction, or a dict of them for several outputs.

    Args:
        outputs: what the server gave, by name.
        likelihood: None, one or a dict by outputs.
        levels: those of the quantiles.
        num_samples: S.
    """
    groups = _grouped(outputs)
    if len(groups) == 1:
        ((name, parts),) = groups.items()
        if isinstance(likelihood, Mapping):
            likelihood = likelihood.get(name)
        return _one(name, parts, likelihood, levels, num_samples)
    if likelihood is not None and not isinstance(likelihood, Mapping):
        raise ValueError(
            "`likelihood` must be a dict by the model's outputs, which are "
            f"{sorted(groups)}. Received: likelihood={likelihood!r}"
        )
    return {
        name: _one(
            name, parts, (likelihood or {}).get(name), levels, num_samples
        )
        for name, parts in groups.items()
    }


def _grouped(outputs: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Groups by the model's outputs: "price_mean" is of "price".

    Unless all are summaries, all are draws, whatever their names end in.
    """
    groups: dict[str, dict[str, Array]] = {}
    for full_name, array in outputs.items():
        kinds = [kind for kind in _SUMMARIES if full_name.endswith(kind)]
        kind = max(kinds, key=len, default="draws")
        name = full_name.removesuffix(kind).removesuffix("_")
        groups.setdefault(name, {})[kind] = array
    if all(
        any(needed <= set(g) for needed in _ENOUGH) for g in groups.values()
    ):
        return groups
    return {name: {"draws": array} for name, array in outputs.items()}


def _one(
    name: str,
    parts: Mapping[str, Array],
    likelihood: Likelihood | None,
    levels: Sequence[float],
    num_samples: int,
) -> Predictive:
    if "draws" in parts:
        return _of_draws(name, parts["draws"], likelihood)
    parts = {kind: np.asarray(a, np.float64) for kind, a in parts.items()}
    conformal = _conformal(name, parts)
    if "probabilities" in parts:
        return _classification(parts, likelihood, num_samples, conformal)
    return _regression(parts, likelihood, levels, num_samples, conformal)


def _conformal(name: str, parts: Mapping[str, Array]) -> dict[str, Array]:
    """Returns sets, as booleans, or intervals.

    Raises:
        ValueError: if rows have none, though they have a prediction.
    """
    prefix = "conformal_"
    kinds = [kind for kind in parts if kind.startswith(prefix)]
    found = {kind.removeprefix(prefix): parts[kind] for kind in kinds}
    mean = parts["probabilities" if "probabilities" in parts else "mean"]
    for array in found.values():
        missing = np.any(np.isnan(array), axis=-1)
        missing &= np.all(np.isfinite(mean), axis=-1)
        if np.any(missing):
            of = f" of the output {name!r}" if name else ""
            raise ValueError(
                "`groups` must be some of those that conformal sets or "
                "intervals were fitted to, `sample_weight` 0 or more, and "
                f"`uniforms` from 0 to 1{of}. Received: others in the rows "
                f"{np.argwhere(missing)[:5, 0].tolist()}"
            )
    if "sets" in found:  # of rows without a prediction all labels are in
        found["sets"] = found["sets"] != 0
    return found


def _of_draws(
    name: str, outputs: Array, likelihood: Likelihood | None
) -> Predictive:
    if likelihood is None:
        raise ValueError(
            "`likelihood` must be what the model was compiled with, for draws "
            "of its outputs: TFServingClient(..., "
            "likelihood=tfpbnn.likelihoods.Normal()). Received: "
            f"likelihood=None, and an output {name!r}"
        )
    kind = (
        ClassificationPredictive
        if likelihood.is_classification
        else RegressionPredictive
    )
    # For few rows the server may draw each one's apart.
    return kind(np.moveaxis(outputs, 1, 0), likelihood, "marginal")


def _regression(
    parts: Mapping[str, Array],
    likelihood: Likelihood | None,
    levels: Sequence[float],
    num_samples: int,
    conformal: Mapping[str, Array],
) -> Predictive:
    mean, aleatoric = parts["mean"], parts["aleatoric_variance"]
    is_one_pass = "epistemic_variance" not in parts
    epistemic = parts.get("epistemic_variance", np.zeros_like(mean))
    quantiles = np.moveaxis(parts.get("quantiles", mean[:, :0]), 1, 0)
    if levels and not is_one_pass and len(levels) != len(quantiles):
        raise ValueError(
            "`quantiles` must be the levels of the export. Received: "
            f"{len(levels)} levels, where the server gives {len(quantiles)}"
        )
    return RegressionPredictive.without_draws(
        1 if is_one_pass else num_samples,
        (mean, epistemic, aleatoric),
        likelihood or Normal(),
        "mean" if is_one_pass else "marginal",
        dict(zip(levels, quantiles, strict=False)),
        conformal=conformal,
    )


def _classification(
    parts: Mapping[str, Array],
    likelihood: Likelihood | None,
    num_samples: int,
    conformal: Mapping[str, Array],
) -> Predictive:
    p = parts["probabilities"]
    if likelihood is None:
        # An entropy for each probability, or one for all classes of a row.
        each = parts["predictive_entropy"].ndim == p.ndim
        likelihood = Bernoulli() if each else Categorical()
    if isinstance(likelihood, Bernoulli):
        p = np.stack([1 - p, p], axis=-1)
    is_one_pass = "expected_entropy" not in parts
    if is_one_pass:
        votes = np.eye(p.shape[-1])[np.argmax(p, axis=-1)]
        unknown = np.zeros_like(p)
    else:  # NaN, for the server doesn't say
        votes = unknown = np.full_like(p, np.nan)
    entropy = parts.get("expected_entropy", parts["predictive_entropy"])
    return ClassificationPredictive.without_draws(
        1 if is_one_pass else num_samples,
        (p, unknown, entropy, votes),
        likelihood,
        "mean" if is_one_pass else "marginal",
        conformal=conformal,
    )
