"""Writes conformal predictors to files, and reads them."""

import io
import json
import pathlib
import tempfile
import zipfile
from typing import Any

import keras
import numpy as np

from tfpbnn.base.types import Array

_CONFIG, _ARRAYS = "predictor.json", "arrays.npz"


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
        The predictor, as it was; a `JackknifePlus` without its `fit_model`.

    Raises:
        TypeError: if the file holds something else.

    Example:
    ```python
    tfpbnn.calibration.CQR().fit(p, y_test).save("split.json")
    low, high = tfpbnn.calibration.load("split.json").interval(p)
    ```
    """
    if zipfile.is_zipfile(path):
        return _with_models(path)
    config = json.loads(pathlib.Path(path).read_text())
    found = keras.saving.deserialize_keras_object(config)
    if not isinstance(found, Saved):
        raise TypeError(
            "`path` must be a file written by a conformal predictor's `save`. "
            f"Received: one of a {type(found).__name__}"
        )
    return found


def save_with_models(
    path: Any, predictor: Any, arrays: dict[str, Array], models: list[Any]
) -> None:
    """Writes a predictor, its arrays and its Keras models to one zip file.

    Args:
        path: the path of the file.
        predictor: a registered object.
        arrays: what it has found, by name.
        models: built models.
    """
    numbers = io.BytesIO()
    np.savez(numbers, **arrays)  # type: ignore[arg-type]
    config = json.dumps(keras.saving.serialize_keras_object(predictor))
    with (
        zipfile.ZipFile(path, "w") as archive,
        tempfile.TemporaryDirectory() as folder,
    ):
        archive.writestr(_CONFIG, config)
        archive.writestr(_ARRAYS, numbers.getvalue())
        for number, model in enumerate(models):
            name = f"{number}.keras"
            model.save(pathlib.Path(folder, name))
            archive.write(pathlib.Path(folder, name), name)


def _with_models(path: Any) -> Any:
    """Reads what `save_with_models` wrote."""
    with (
        zipfile.ZipFile(path) as archive,
        tempfile.TemporaryDirectory() as folder,
    ):
        names = archive.namelist()
        if _CONFIG not in names or _ARRAYS not in names:
            raise TypeError(
                "`path` must be a file written by a conformal predictor's "
                f"`save`. Received: a zip file of {names[:5]}"
            )
        config = json.loads(archive.read(_CONFIG))
        numbers = io.BytesIO(archive.read(_ARRAYS))
        with np.load(numbers, allow_pickle=False) as file:
            arrays = dict(file)
        models = [
            keras.saving.load_model(archive.extract(f"{number}.keras", folder))
            for number in range(len(names) - 2)
        ]
    predictor: Any = keras.saving.deserialize_keras_object(config)
    predictor.restore(arrays, models)
    return predictor
