"""Scores rows by their distance to Gaussians of the features of classes."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from tfpbnn.base.types import Array, Config
from tfpbnn.ood.base import FeatureScore
from tfpbnn.ood.features import Batch


class Moments:
    """Weighted counts, means and the covariance of rows, batch by batch.

    Attributes:
        weights: the sum of the weights of each class, by label.
    """

    def __init__(self) -> None:
        self.weights: dict[int, float] = {}
        self._sums: dict[int, Array] = {}
        self._squares: Array | None = None
        self._shift: Array | None = None

    def add(self, features: Array, labels: Array, weights: Array) -> None:
        """Adds rows `[n, D]` with their labels and weights `[n]`."""
        if not len(features):
            return
        if self._shift is None:  # so that squares lose no digits
            self._shift = features.mean(axis=0)
            self._squares = np.zeros([features.shape[1]] * 2)
        x = features - self._shift
        self._squares += (x * weights[:, np.newaxis]).T @ x
        for label in np.unique(labels):
            at = labels == label
            key = int(label)
            self.weights[key] = self.weights.get(key, 0) + weights[at].sum()
            total = weights[at] @ x[at]
            self._sums[key] = self._sums.get(key, 0) + total

    @property
    def total(self) -> float:
        """The sum of all weights."""
        return float(sum(self.weights.values()))

    def means(self) -> Array:
        """The mean of each class, `[K, D]`, in the order of the labels."""
        assert self._shift is not None
        return self._shift + np.stack(
            [self._sums[k] / self.weights[k] for k in sorted(self._sums)]
        )

    def mean(self) -> Array:
        """The mean of all, `[D]`."""
        assert self._shift is not None
        return self._shift + sum(self._sums.values()) / self.total

    def covariance(self, within: bool) -> Array:
        """The covariance `[D, D]`, within classes or of all rows."""
        means = self.means() if within else self.mean()[np.newaxis]
        counts = [self.weights[k] for k in sorted(self.weights)]
        if not within:
            counts = [self.total]
        x = means - self._shift
        outer = (x * np.asarray(counts)[:, np.newaxis]).T @ x
        return (self._squares - outer) / self.total


class Mahalanobis(FeatureScore):
    """The Mahalanobis distance of features to the nearest class.

    Features of each class are taken for a Gaussian, with one covariance for
    all; the score is the squared distance to the nearest. The relative one
    subtracts the distance to a Gaussian of all features: what makes any image
    unusual no longer counts, which tells near classes apart better.

    Covariances are shrunk toward a multiple of the unit matrix, by as much as
    the number of rows asks for (OAS): so there may be fewer rows than features,
    or features that are constant. Only moments are kept, so that datasets may
    be larger than the memory.

    Args:
        relative: whether to subtract the distance to all features.
        members: as in `FeatureScore`.
        batch_size: as in `FeatureScore`.

    Example:
    ```python
    score = tfpbnn.ood.Mahalanobis()
    score.fit(model, x)                     # of classes: fit(model, x, labels)
    score.score(x_test)                                     # [N]
    ```

    Reference:
        [Lee et al., 2018](https://arxiv.org/abs/1807.03888);
        [Ren et al., 2021](https://arxiv.org/abs/2106.09022), relative;
        [Chen et al., 2010](https://arxiv.org/abs/0907.4698), OAS
    """

    def __init__(
        self,
        relative: bool = False,
        members: str = "concatenate",
        batch_size: int = 256,
    ):
        super().__init__(members, batch_size)
        self.relative = bool(relative)

    def _fit(self, batches: Iterable[Batch]) -> None:
        moments = Moments()
        for batch in batches:
            labels = labels_of(batch)
            moments.add(batch.features, labels, batch.weights)
        if not moments.weights:
            raise ValueError(
                "`x` must have rows that count. Received: all of weight 0"
            )
        if self.relative and len(moments.weights) < 2:
            raise ValueError(
                "`y` must have 2 classes or more for relative=True: with one "
                "the distance to it and to all is the same. Received: "
                f"{len(moments.weights)}"
            )
        self._means = moments.means()
        self._factor = whitening(moments.covariance(True), moments.total)
        self._mean = moments.mean()
        self._factor_of_all = whitening(
            moments.covariance(False), moments.total
        )

    def _score(self, features: Array) -> Array:
        z, centers = features @ self._factor, self._means @ self._factor
        each = [np.sum((z - center) ** 2, axis=1) for center in centers]
        nearest = np.min(each, axis=0)
        if not self.relative:
            return nearest
        z = (features - self._mean) @ self._factor_of_all
        return nearest - np.sum(z**2, axis=1)

    @property
    def _size(self) -> int:
        return self._means.shape[1]

    def _learned(self) -> dict[str, Array]:
        return {
            "means": self._means,
            "factor": self._factor,
            "mean": self._mean,
            "factor_of_all": self._factor_of_all,
        }

    def _restore(self, arrays: dict[str, Array]) -> None:
        self._means, self._factor = arrays["means"], arrays["factor"]
        self._mean = arrays["mean"]
        self._factor_of_all = arrays["factor_of_all"]

    def arguments(self) -> Config:
        return super().arguments() | {"relative": self.relative}


def labels_of(batch: Batch) -> Array:
    """Reads the labels of classes `[n]`; 0 for all where there are none.

    Raises:
        ValueError: if targets are no labels of rows.
    """
    y: Any = batch.y
    if y is None:
        return np.zeros(len(batch.features), int)
    if y.ndim == 2 and y.shape[1] > 1 and np.all(np.sum(y == 1, axis=1) == 1):
        return np.argmax(y, axis=1)  # one-hot
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    is_label = y.ndim == 1 and y.dtype.kind in "iubf"
    if not is_label or not np.all(y == np.round(y)):
        raise ValueError(
            "`y` must be labels of classes: integers `[N]`, or one-hot rows. "
            f"Received: an array of shape {y.shape} and dtype {y.dtype}. For "
            "other targets leave y out: one Gaussian is fitted to all rows"
        )
    return y.astype(int)


def whitening(covariance: Array, count: float) -> Array:
    """Makes W `[D, D]` such that `W @ W.T` inverts the shrunk covariance.

    Raises:
        ValueError: if all features are constant.
    """
    size = len(covariance)
    mean = np.trace(covariance) / size
    if not mean > 0:
        raise ValueError(
            "`layer` must have features that vary. Received: features that "
            "are constant over the training data"
        )
    # As in sklearn.covariance.OAS.
    square = np.mean(covariance**2)
    low = (count + 1) * (square - mean**2 / size)
    shrinkage = 1.0 if low == 0 else min((square + mean**2) / low, 1.0)
    values, vectors = np.linalg.eigh(covariance)
    values = (1 - shrinkage) * np.maximum(values, 0) + shrinkage * mean
    # Of many rows little is shrunk, and rounding is all that is left.
    values = np.maximum(values, np.finfo(float).eps * size * values.max())
    return vectors / np.sqrt(values)
