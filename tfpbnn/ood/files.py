"""Reads scores from files."""

import json
from typing import Any

import numpy as np

from tfpbnn.ood.base import FeatureScore
from tfpbnn.ood.deup import DEUP
from tfpbnn.ood.mahalanobis import Mahalanobis
from tfpbnn.ood.nearest import NearestNeighbors

_CLASSES: dict[str, Any] = {
    cls.__name__: cls for cls in (DEUP, Mahalanobis, NearestNeighbors)
}


def load(path: Any, model: Any) -> FeatureScore | DEUP:
    """Reads a score that `save` wrote.

    The file holds arrays and plain text; no code in it is run.

    Args:
        path: the file's path, which ends in ".npz".
        model: the model that the score was fitted with, loaded from its own
            file.

    Raises:
        ValueError: if the file is not of a score, or the model has other
            layers; when scoring, if it has other features.

    Example:
    ```python
    score = tfpbnn.ood.Mahalanobis().fit(model, x)
    score.save("score.npz")
    tfpbnn.ood.load("score.npz", model).score(x_test)
    ```
    """
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    try:
        saved = json.loads(str(arrays.pop("config")))
        cls = _CLASSES[saved["class_name"]]
    except (KeyError, ValueError) as error:
        raise ValueError(
            "`path` must be a file that a score of tfpbnn.ood has saved. "
            f"Received: path={str(path)!r}"
        ) from error
    score = cls(**saved["config"])
    return score.restore(model, saved["layer"], arrays)
