"""Reads uncertainty scores off predictions, by their names."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tfpbnn.base import checks
from tfpbnn.base.places import over_targets
from tfpbnn.base.types import Array
from tfpbnn.metrics import between_draws


def uncertainty(predictive: Any, name: str | None = None) -> Array:
    """Computes how uncertain a prediction is of each row; higher is less sure.

    Of labels there are:

    - "max_probability": one minus the probability of the top class (default);
    - "predictive_entropy": in nats, of the averaged probabilities;
    - "expected_entropy": in nats, the mean over draws: aleatoric;
    - "mutual_information": in nats, the difference: epistemic;
    - "variation_ratio": the share of draws with another label than most: votes;
    - "pairwise_kl": in nats, the mean KL between two draws: epistemic; it needs
      2 draws, kept;
    - "max_logit": minus the largest logit, of the mean over kept draws;
    - "energy": minus the logsumexp of logits, the mean over kept draws.

    Of numbers, and of labels summed over their classes:

    - "variance" (the default for numbers), "epistemic_variance" and
      "aleatoric_variance": in squared units of the targets.

    Args:
        predictive: a `Predictive` of N rows.
        name: one of these names; None for the default of the kind.

    Returns:
        `[N, ...]` for places with one class each; `[N, ..., k]` for k numbers,
        or k yes-or-no labels. It is NaN at places that the mask leaves out.

    Raises:
        ValueError: if the name is not known for this kind of prediction, or
            needs draws or logits that it has not.

    Example:
    ```python
    p = tfpbnn.predict(model, x_test)
    scores = tfpbnn.metrics.uncertainty(p, "epistemic_variance")
    most_uncertain = np.argsort(scores[:, 0])[::-1][:10]
    ```
    """
    is_labels = predictive.likelihood.is_classification
    known = OF_LABELS if is_labels else OF_NUMBERS
    if name is None:
        name = "max_probability" if is_labels else "variance"
    checks.one_of("name", name, sorted(known))
    found = known[name](predictive)
    if predictive.mask is None:
        return found
    return np.where(over_targets(predictive.mask, found), found, np.nan)


def _of_classes(index: int) -> Callable[[Any], Array]:
    """Makes a score that sums a variance over classes.

    Args:
        index: 0 for the total, 1 for the epistemic and 2 for the aleatoric.
    """

    def score(predictive: Any) -> Array:
        p, epistemic = predictive.summaries[:2]
        total = p * (1 - p)
        parts = (total, epistemic, total - epistemic)
        return np.maximum(np.sum(parts[index], axis=-1), 0.0)

    return score


# A name that is added here can be asked for everywhere.
OF_LABELS: dict[str, Callable[[Any], Array]] = {
    "aleatoric_variance": _of_classes(2),
    "energy": between_draws.energy,
    "epistemic_variance": _of_classes(1),
    "expected_entropy": lambda p: p.expected_entropy,
    "max_logit": between_draws.max_logit,
    "max_probability": lambda p: 1 - np.max(p.summaries[0], axis=-1),
    "mutual_information": lambda p: p.mutual_information,
    "pairwise_kl": between_draws.pairwise_kl,
    "predictive_entropy": lambda p: p.predictive_entropy,
    "variance": _of_classes(0),
    "variation_ratio": lambda p: p.variation_ratio,
}
OF_NUMBERS: dict[str, Callable[[Any], Array]] = {
    "aleatoric_variance": lambda p: p.aleatoric_variance,
    "epistemic_variance": lambda p: p.epistemic_variance,
    "variance": lambda p: p.variance,
}
