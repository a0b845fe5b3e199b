"""Writes conformal predictors to files, and reads them."""

import json
import pathlib
from typing import Any

import keras


class Saved:
    """What `save` writes to a file and `load` reads, by its config."""

    def save(self, path: Any) -> None:
        """Writes the predictor to a JSON file, which `load` reads.

        Args:
            path: the path of the file.
        """
        config = keras.saving.serialize_keras_object(self)
        pathlib.Path(path).write_text(json.dumps(config))


def load(path: Any) -> Any:
    """Reads a conformal predictor from a file that `save` wrote.

    Args:
        path: the path of the file.

    Returns:
        The predictor, as it was.

    Raises:
        TypeError: if the file holds something else.

    Example:
    ```python
    tfpbnn.calibration.CQR().fit(p, y_test).save("split.json")
    low, high = tfpbnn.calibration.load("split.json").interval(p)
    ```
    """
    config = json.loads(pathlib.Path(path).read_text())
    found = keras.saving.deserialize_keras_object(config)
    if not isinstance(found, Saved):
        raise TypeError(
            "`path` must be a file written by a conformal predictor's `save`. "
            f"Received: one of a {type(found).__name__}"
        )
    return found
