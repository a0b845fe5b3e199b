"""Scores labels of places that have neighbours, such as pixels.

(All other scores of labels take pixels too: each is a place.)
"""

from typing import Any, NamedTuple

import numpy as np

from tfpbnn.base import checks, data
from tfpbnn.base.types import Array
from tfpbnn.metrics import bootstrap, rows
from tfpbnn.metrics.labels import Labelled, labelled


def mean_iou(
    y_true: Any,
    y_pred: Any,
    sample_weight: Any = None,
    *,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> float:
    """Computes the intersection over union of labels, the mean over classes.

    Places of all rows are counted together. Classes that are neither in the
    labels nor predicted are left out, as in `keras.metrics.MeanIoU`.

    Args:
        y_true: the labels, such as `[N, H, W]`, or one-hot `[N, H, W, K]`.
        y_pred: a prediction of labels; or probabilities `[N, H, W, K]`, or
            those of "yes", `[N, H, W, 1]`.
        sample_weight: the weights of rows `[N]` or of places `[N, H, W]`.
        n_boot, seed, level: as in `tfpbnn.metrics.accuracy`; rows (images) are
            resampled, not pixels.

    Returns:
        The mean, in [0, 1]; with `n_boot`, an `Estimate`.

    Raises:
        TypeError, ValueError: as `tfpbnn.metrics.accuracy`.

    Example:
    ```python
    y = np.array([[[0, 1], [1, 1]]])                # one image of 2 x 2
    p = np.array([[[[0.2], [0.7]], [[0.3], [0.6]]]])
    tfpbnn.metrics.mean_iou(y, p)                   # (1/2 + 2/3) / 2
    ```
    """
    read = labelled(y_true, y_pred, sample_weight)
    classes = read.probabilities.shape[-1]
    top = np.argmax(read.probabilities, axis=-1)

    def mean(sums: Array) -> float:
        matrix = sums.reshape(classes, classes)
        both = np.diag(matrix)
        either = matrix.sum(axis=0) + matrix.sum(axis=1) - both
        return float(np.mean(both[either > 0] / either[either > 0]))

    return bootstrap.binned(
        read.labels * classes + top,
        np.empty([len(top), 0]),
        read.rows,
        mean,
        n_boot,
        seed,
        level,
        classes**2,
    )


class PatchScores(NamedTuple):
    """How well uncertainty tells the accurate patches from the others.

    Attributes:
        accurate_if_certain: the share of accurate patches among the certain.
        uncertain_if_inaccurate: the share of uncertain ones among the
            inaccurate.
        pavpu: the share of patches that are accurate and certain, or
            inaccurate and uncertain.
    """

    accurate_if_certain: float
    uncertain_if_inaccurate: float
    pavpu: float


def pavpu(
    y_true: Any,
    y_pred: Any,
    uncertainty: Any = None,
    sample_weight: Any = None,
    *,
    patch_size: int = 4,
    threshold: float | None = None,
    accuracy: float = 0.5,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> PatchScores:
    """Computes patch accuracy against patch uncertainty.

    Images are cut in patches. One is accurate if enough of its pixels are
    right, and uncertain if its mean uncertainty is above a threshold.

    Args:
        y_true: the labels, such as `[N, H, W]`, or one-hot `[N, H, W, K]`.
        y_pred: a prediction of labels; or probabilities `[N, H, W, K]`, or
            those of "yes", `[N, H, W, 1]`.
        uncertainty: a number for each place, such as `p.mutual_information`,
            `[N, H, W]`; None for the entropy of the probabilities.
        sample_weight: the weights of rows `[N]` or of places `[N, H, W]`.
        patch_size: the length of the patches' sides, in pixels; 1 for pixels.
        threshold: the mean uncertainty above which a patch is uncertain; None
            for the mean over all places.
        accuracy: the share of right pixels above which a patch is accurate.
        n_boot, seed, level: as in `tfpbnn.metrics.accuracy`; rows (images) are
            resampled.

    Returns:
        The three shares, in [0, 1]; NaN where they are of no patch, such as
        if all are accurate. With `n_boot`, of `Estimate`s.

    Raises:
        TypeError, ValueError: as `tfpbnn.metrics.accuracy`; if rows have no
            axes to cut; if `uncertainty` is NaN or has another shape.

    Example:
    ```python
    y = np.zeros([1, 8, 8], int)
    p = np.random.default_rng(0).uniform(0.1, 0.6, [1, 8, 8, 1])
    tfpbnn.metrics.pavpu(y, p, patch_size=2).pavpu
    ```

    Reference:
        [Mukhoti and Gal, 2018](https://arxiv.org/abs/1811.12709)
    """
    checks.positive_integer("patch_size", patch_size)
    checks.finite.optional("threshold", threshold, "the mean uncertainty")
    checks.fraction("accuracy", accuracy)
    read = labelled(y_true, y_pred, sample_weight)
    doubt = _uncertainty(uncertainty, read)
    weights = read.rows.weights
    if threshold is None:
        threshold = float(np.average(doubt, weights=weights))
    patch, row = _patches(read, patch_size)
    is_right = np.argmax(read.probabilities, axis=-1) == read.labels
    total = np.bincount(patch, weights)
    right = np.bincount(patch, weights * is_right) / total
    doubts = np.bincount(patch, weights * doubt) / total
    is_accurate, is_sure = right > accuracy, doubts <= threshold
    index = 2 * is_accurate + is_sure
    each = rows.Rows(total / np.bincount(patch), row)
    seed = None if n_boot is None else bootstrap.fixed(seed)

    def share(inside: list[int], of: list[int]) -> float:
        if n_boot is not None and not np.isin(index, of).any():
            return np.nan
        return bootstrap.binned(
            index,
            np.empty([len(index), 0]),
            each,
            lambda sums: _ratio(sums[inside].sum(), sums[of].sum()),
            n_boot,
            seed,
            level,
            num_bins=4,
        )

    return PatchScores(
        accurate_if_certain=share([3], [1, 3]),
        uncertain_if_inaccurate=share([0], [0, 1]),
        pavpu=share([0, 3], [0, 1, 2, 3]),
    )


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else np.nan


def _uncertainty(given: Any, read: Labelled) -> Array:
    """Gives the uncertainty of the places that count, `[n]`."""
    if given is None:
        p = read.probabilities
        return -np.sum(p * np.log(np.where(p > 0, p, 1)), axis=-1)
    array, grid = rows.array("uncertainty", given), read.grid
    if array.shape == grid.shape[: grid.rank]:
        own = [1] * (len(grid.shape) - grid.rank)
        array = array.reshape(*array.shape, *own)
    if (
        array.ndim != len(grid.shape)
        or array.shape[: grid.rank] != (grid.shape[: grid.rank])
    ):
        raise ValueError(
            f"`uncertainty` must have the shape of the labels, {grid.shape}. "
            f"Received: uncertainty of shape {np.shape(given)}"
        )
    found = np.ravel(np.broadcast_to(array, grid.shape))[grid.at]
    data.check_finite("uncertainty", found)
    return found.astype(np.float64)


def _patches(read: Labelled, size: int) -> tuple[Array, Array]:
    """Numbers the patches: that of each label `[n]`, and each one's row."""
    shape, index, rank = read.grid
    if rank < 2:
        raise ValueError(
            "`y_true` must have places to cut in patches, such as `[N, H, W]`. "
            f"Received: labels of shape {shape}"
        )
    at = np.unravel_index(index, shape)
    cut = [a // size if 0 < i < rank else a for i, a in enumerate(at)]
    flat = np.ravel_multi_index(cut, shape)
    _, first, patch = np.unique(flat, return_index=True, return_inverse=True)
    return patch, read.rows.row[first]
