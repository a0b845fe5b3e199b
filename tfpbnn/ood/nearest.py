"""Scores rows by their distance to the nearest training rows."""

import importlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from tfpbnn.base import checks
from tfpbnn.base.types import Array, Config
from tfpbnn.ood.base import FeatureScore
from tfpbnn.ood.features import Batch


class NearestNeighbors(FeatureScore):
    """The distance of features to the k-th nearest row of training.

    Features are scaled to length 1, so the distance is from 0 to 2. Nothing is
    assumed of their distribution, and y is not needed. All training features
    are kept, `[N, D]` in float32.

    Args:
        k: which neighbor; more are less noisy, and blur small clusters.
        members: as in `FeatureScore`.
        batch_size: as in `FeatureScore`.

    Raises:
        ValueError: if `k` is not positive; in `fit`, if there are fewer rows.
        ImportError: in `fit`, if scikit-learn is not installed.

    Example:
    ```python
    score = tfpbnn.ood.NearestNeighbors(k=5).fit(model, x)
    score.score(x_test)                                     # [N]
    ```

    Reference:
        [Sun et al., 2022](https://arxiv.org/abs/2204.06507)
    """

    def __init__(
        self,
        k: int = 10,
        members: str = "concatenate",
        batch_size: int = 256,
    ):
        super().__init__(members, batch_size)
        self.k = checks.positive_integer("k", k)

    def _fit(self, batches: Iterable[Batch]) -> None:
        rows = [_of_length_1(batch.features) for batch in batches]
        self._restore({"rows": np.concatenate(rows).astype("float32")})

    def _score(self, features: Array) -> Array:
        distances, _ = self._index.kneighbors(_of_length_1(features))
        return distances[:, -1]

    @property
    def _size(self) -> int:
        return self._rows.shape[1]

    def _learned(self) -> dict[str, Array]:
        return {"rows": self._rows}

    def _restore(self, arrays: dict[str, Array]) -> None:
        rows = arrays["rows"]
        if len(rows) < self.k:
            raise ValueError(
                "`k` must be at most the number of rows. Received: "
                f"k={self.k}, for {len(rows)} rows"
            )
        neighbors = sklearn("neighbors")
        self._rows = rows
        self._index = neighbors.NearestNeighbors(n_neighbors=self.k).fit(rows)

    def arguments(self) -> Config:
        return super().arguments() | {"k": self.k}


def _of_length_1(features: Array) -> Array:
    """Scales rows to length 1; rows of zeros stay."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(length > 0, length, 1.0)


def sklearn(module: str) -> Any:
    """Imports a module of scikit-learn at its first use.

    Raises:
        ImportError: if it is not installed.
    """
    try:
        return importlib.import_module(f"sklearn.{module}")
    except ImportError as error:
        raise ImportError(
            "This score needs scikit-learn: pip install 'tfpbnn[ood]'"
        ) from error
