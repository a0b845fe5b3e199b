"""Scores class probabilities."""

from typing import Any, NamedTuple

import numpy as np

from tfpbnn.base import checks
from tfpbnn.base.types import Array
from tfpbnn.metrics import bootstrap, rows
from tfpbnn.metrics.events import equal_width, events
from tfpbnn.metrics.labels import Labelled, labelled


def accuracy(
    y_true: Any,
    y_pred: Any,
    sample_weight: Any = None,
    *,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> float:
    """Computes the share of places whose most probable class is the label.

    Args:
        y_true: the labels, `[N, ...]`, or one-hot `[N, ..., K]`.
        y_pred: a prediction of labels; or probabilities `[N, ..., K]`, or
            those of "yes", `[N, ..., 1]` or `[N]`.
        sample_weight: the weights of rows `[N]` or of places `[N, ...]`.
        n_boot: the number of resamples of rows for an interval, such as 1000;
            None for a plain number.
        seed: an integer for the same resamples each time.
        level: the probability of the interval, between 0 and 1.

    Returns:
        The share, in [0, 1]; with `n_boot`, an `Estimate`.

    Raises:
        TypeError: if something holds other things than numbers.
        ValueError: if probabilities are none, labels are out of range, shapes
            don't fit, or nothing counts.

    Example:
    ```python
    p = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]])
    tfpbnn.metrics.accuracy([0, 1, 1], p)           # 0.667
    ```
    """
    read = labelled(y_true, y_pred, sample_weight)
    is_right = np.argmax(read.probabilities, axis=-1) == read.labels
    return bootstrap.mean(is_right, read.rows, n_boot, seed, level)


def nll(
    y_true: Any,
    y_pred: Any,
    sample_weight: Any = None,
    *,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> float:
    """Computes the negative log-likelihood, in nats, the mean over places.

    Of a prediction it is its own, minus the logarithm of the average density
    or probability over draws, jointly for the targets of a place; labels and
    numbers alike. Of arrays it is minus the logarithm of the probability of the
    label, which is infinite if that is 0.

    Args:
        y_true: the targets of a prediction; or labels `[N, ...]`.
        y_pred: any prediction; or probabilities `[N, ..., K]`, or those of
            "yes", `[N, ..., 1]` or `[N]`.
        sample_weight, n_boot, seed, level: as in `accuracy`.

    Raises:
        TypeError, ValueError: as `accuracy`.

    Example:
    ```python
    tfpbnn.metrics.nll([0, 1], [0.5, 0.5])          # log(2) = 0.693
    ```

    Reference:
        [Good, 1952](https://doi.org/10.1111/j.2517-6161.1952.tb00104.x)
    """
    if rows.is_predictive(y_pred):
        found = rows.places(y_true, y_pred, sample_weight)
        values = -found.predictive.log_prob(found.y)
        if np.any(np.isnan(values)):
            raise ValueError(
                "`y_pred` must be finite. Received: a prediction of which "
                f"{np.sum(np.isnan(values))} log-probabilities are NaN"
            )
        each = found.rows(values)
    else:
        read = labelled(y_true, y_pred, sample_weight)
        with np.errstate(divide="ignore"):
            values = -np.log(of_label(read))
        each = read.rows
    return bootstrap.mean(np.ravel(values), each, n_boot, seed, level)


def brier(
    y_true: Any,
    y_pred: Any,
    sample_weight: Any = None,
    *,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> float:
    """Computes the Brier score: the squared distance to the one-hot label.

    For yes-or-no labels it is summed over no and yes too, so it is twice the
    squared error of P(yes).

    Args:
        y_true, y_pred, sample_weight, n_boot, seed, level: as in `accuracy`.

    Returns:
        The mean over places, in [0, 2]; lower is better.

    Raises:
        TypeError, ValueError: as `accuracy`.

    Example:
    ```python
    tfpbnn.metrics.brier([0, 1], [0.5, 0.5])        # 0.5
    ```

    Reference:
        [Brier,
        1950](https://doi.org/10.1175/1520-0493(1950)078%3C0001:VOFEIT%3E2.0.CO;2)
    """
    read = labelled(y_true, y_pred, sample_weight)
    distances = np.sum(np.square(read.probabilities), axis=-1)
    distances += 1 - 2 * of_label(read)
    return bootstrap.mean(distances, read.rows, n_boot, seed, level)


class BrierParts(NamedTuple):
    """What a Brier score is made of.

    `reliability - resolution + uncertainty + within_variance -
    within_covariance` is the Brier score, exactly.

    Attributes:
        reliability: the squared distance of probabilities and frequencies in
            bins; 0 if calibrated.
        resolution: how far the bins' frequencies are from the base rate; higher
            is better.
        uncertainty: the Brier score of the base rates.
        within_variance: the variance of the probabilities within their bins.
        within_covariance: twice the covariance there of probabilities and
            labels.
    """

    reliability: float
    resolution: float
    uncertainty: float
    within_variance: float
    within_covariance: float


def brier_parts(
    y_true: Any,
    y_pred: Any,
    num_bins: int = 10,
    sample_weight: Any = None,
    *,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> BrierParts:
    """Splits the Brier score in reliability, resolution and uncertainty.

    The probability of each class is put in bins of equal width, and the parts
    are summed over classes. Murphy's three parts are exact only if all
    probabilities in a bin are equal; the two terms within bins make the sum
    exact for any bins. Resolution less the within-bin variance plus covariance
    does not depend on the bins as much as the resolution alone.

    Args:
        y_true, y_pred, sample_weight, n_boot, seed, level: as in `accuracy`.
        num_bins: the number of bins of equal width.

    Returns:
        A `BrierParts`, of `Estimate`s with `n_boot`.

    Raises:
        TypeError, ValueError: as `accuracy`.

    Example:
    ```python
    parts = tfpbnn.metrics.brier_parts([0, 1, 1], [0.2, 0.8, 0.9])
    parts.reliability, parts.resolution, parts.uncertainty
    ```

    Reference:
        [Stephenson et al., 2008](https://doi.org/10.1175/2007WAF2006116.1),
        after [Murphy,
        1973](https://doi.org/10.1175/1520-0450(1973)012%3C0595:ANVPOT%3E2.0.CO;2)
    """
    checks.positive_integer("num_bins", num_bins)
    p, came, group, each = events(y_true, y_pred, sample_weight, "classes")
    index = equal_width(p, group, num_bins)
    columns = np.stack([p, came, p * p, p * came], axis=-1)
    classes = int(group.max()) + 1

    def part(name: str) -> float:
        return bootstrap.binned(
            index,
            columns,
            each,
            lambda sums: _parts(sums, classes)[name],
            n_boot,
            seed,
            level,
            num_bins * classes,
        )

    seed = None if n_boot is None else bootstrap.fixed(seed)
    return BrierParts(**{name: part(name) for name in BrierParts._fields})


def _parts(sums: Array, classes: int) -> dict[str, float]:
    """The parts of the Brier score, of sums in bins `[classes * bins, 5]`."""
    total = sums[:, 0].sum() / classes
    by_class = sums.reshape(classes, -1, sums.shape[-1])
    base = by_class[..., 2].sum(axis=1) / total
    base_of = np.repeat(base, by_class.shape[1])[sums[:, 0] > 0]
    weight, *sums_of = sums[sums[:, 0] > 0].T
    p, event, square, product = sums_of / weight
    share = weight / total
    return {
        "reliability": float(share @ (p - event) ** 2),
        "resolution": float(share @ (event - base_of) ** 2),
        "uncertainty": float(np.sum(base * (1 - base))),
        "within_variance": float(share @ (square - p * p)),
        "within_covariance": float(2 * share @ (product - p * event)),
    }


def of_label(read: Labelled) -> Array:
    """The probability of each place's label, `[n]`."""
    indices = read.labels[:, np.newaxis]
    return np.take_along_axis(read.probabilities, indices, axis=-1)[:, 0]
