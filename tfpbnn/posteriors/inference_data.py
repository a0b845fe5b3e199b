"""Chains, and what they predict, in the form that ArviZ takes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfpbnn.base.by_output import by_output, one_or_each
from tfpbnn.base.types import Array
from tfpbnn.diagnostics import convergence
from tfpbnn.prediction.predict import Outputs
from tfpbnn.prediction.results import by_draw
from tfpbnn.prediction.results.targets import aligned

ONE_OUTPUT = "y"


def inference_data(groups: Mapping[str, Mapping[str, Array]]) -> Any:
    """An `arviz.InferenceData` of groups of arrays.

    Slashes in names become dots, since files of ArviZ take a slash for a
    folder.

    Args:
        groups: arrays by name, `[C, S, ...]`; of observed data `[N, ...]`.
    """
    az = convergence.arviz()
    made = {}
    for group, arrays in groups.items():
        observed = group == "observed_data"
        about_rows = observed or "predict" in group or "likelihood" in group
        named = {k.replace("/", "."): np.asarray(a) for k, a in arrays.items()}
        made[group] = az.dict_to_dataset(
            named,
            dims={key: ["row"] for key in named} if about_rows else None,
            default_dims=[] if observed else None,
        )
    return az.InferenceData(**made)


def sample_stats(statistics: Mapping[str, Array]) -> dict[str, Array]:
    """A sampler's statistics by ArviZ's names."""
    steps: Array = statistics["num_gradients"].astype("int64")
    return {
        "lp": statistics["log_prob"],
        "acceptance_rate": statistics["acceptance"],
        "diverging": statistics["is_divergent"].astype(bool),
        "energy": statistics["energy"],
        "n_steps": steps,
        "tree_depth": np.ceil(np.log2(steps + 1)).astype("int64"),
        "step_size": statistics["step_size"],
    }


def predictive_samples(
    outputs: Outputs, order: Array, shape: tuple[int, int], seed: int | None
) -> dict[str, Array]:
    """A sample of the targets by each draw, `[C, S, N, ...]`, by output.

    Args:
        outputs: the predictions.
        order: which draw of all each of theirs is.
        shape: chains C, and draws S of each.
        seed: of the noise.
    """
    return {
        name: by_chain(by_draw.samples(p, seed), order, shape)
        for name, p in _named(outputs).items()
    }


def likelihood_groups(
    outputs: Outputs,
    order: Array,
    shape: tuple[int, int],
    y: Any,
    sample_weight: Any,
) -> dict[str, dict[str, Array]]:
    """The groups that need targets: log-likelihoods, and the targets.

    Args:
        outputs: the predictions.
        order: which draw of all each of theirs is.
        shape: chains C, and draws S of each.
        y: targets of all outputs that have a likelihood.
        sample_weight: weights of rows or places, for all outputs or for each;
            or None.
    """
    names = outputs.names, list(outputs.predictives)
    given = by_output("`y`", y, *names)
    weights = one_or_each("`sample_weight`", sample_weight, *names)
    pairs = zip(given, weights, strict=True)
    by_name = dict(zip(outputs.names, pairs, strict=True))
    likelihood, observed = {}, {}
    predictives = zip(_named(outputs).items(), outputs.predictives, strict=True)
    for (name, p), output in predictives:
        target, weight = by_name[output]
        found = by_draw.log_prob(p, target, weight)
        likelihood[name] = by_chain(found, order, shape)
        values, counted, _ = aligned(
            target, weight, p.mask, p.likelihood, p.outputs_shape
        )
        if counted is not None:
            values = values.astype("float64")
            values[~counted] = np.nan
        observed[name] = values
    return {"log_likelihood": likelihood, "observed_data": observed}


def by_chain(values: Array, order: Array, shape: tuple[int, int]) -> Array:
    """Values of draws in some order, `[C * S, ...]`, as `[C, S, ...]`."""
    return values[np.argsort(order)].reshape((*shape, *values.shape[1:]))


def _named(outputs: Outputs) -> dict[str, Any]:
    found = outputs.predictives
    if len(outputs.names) == 1:
        (only,) = found.values()
        return {ONE_OUTPUT: only}
    return dict(found)
