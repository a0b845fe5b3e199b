"""Conformal intervals from small data, of which all are trained on."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfpbnn.base import checks, data, registry
from tfpbnn.base.types import Array, Config
from tfpbnn.calibration.conformal.files import save_with_models
from tfpbnn.calibration.draws import draws_of
from tfpbnn.prediction import predict


@registry.register("calibration")
class JackknifePlus:
    """Intervals from models that were each trained without some of the rows.

    With `num_folds=None` each row is left out once (jackknife+), else a fold of
    rows (CV+), which needs fewer models. No rows are set aside. Of new targets
    a share of 2 `coverage` - 1 or more is inside, whatever the model, and about
    `coverage` in practice.

    Args:
        fit_model: a function that takes inputs and targets `(x, y)`, builds and
            trains a model, and returns it: a Keras model that `tfpbnn.predict`
            takes, another model with a `predict`, or a function, from inputs to
            means `[N]` or `[N, k]`.
        num_folds: K, 2 or more; None for as many as there are rows.
        seed: that of the shuffling of rows into folds, 0 or more.

    Raises:
        TypeError: if `fit_model` is no function.
        ValueError: if another argument is not as above.

    Example:
    ```python
    def fit_model(x, y):
        weights, *_ = np.linalg.lstsq(x, y, rcond=None)
        return lambda x: x @ weights

    found = tfpbnn.calibration.JackknifePlus(fit_model, num_folds=10)
    low, high = found.fit(x, y, coverage=0.8).interval(x_test)
    ```

    Of Keras models `found.save("folds.zip")` writes a file.

    Reference:
        [Barber et al., 2021](https://arxiv.org/abs/1905.02928)
    """

    def __init__(
        self,
        fit_model: Callable[[Any, Any], Any],
        num_folds: int | None = None,
        seed: int = 0,
    ):
        if not callable(fit_model):
            raise TypeError(
                "`fit_model` must be a function of (x, y) that returns a "
                f"trained model. Received: fit_model={fit_model!r}"
            )
        self.fit_model = fit_model
        if num_folds is not None:
            num_folds = checks.integer("num_folds", num_folds, least=2)
        self.num_folds = num_folds
        self.seed = checks.integer("seed", seed, least=0)
        self.coverage = math.nan
        self._models: list[Any] = []
        # The fold of each row, and its error by the model without this fold.
        self._fold: Array = np.empty(0, np.int64)
        self._errors: Array = np.empty(0)

    def fit(self, x: Any, y: Any, coverage: float = 0.9) -> "JackknifePlus":
        """Trains the models, and keeps each row's error without it.

        Args:
            x: the inputs, N rows: an array, or a list or dict of arrays.
            y: the targets, `[N]` or `[N, k]`.
            coverage: the wanted share of targets inside, between 0 and 1.

        Returns:
            The predictor itself.

        Raises:
            ValueError: if there are fewer rows than folds, or too few for the
                coverage; if y is not finite; if a model predicts another shape.
        """
        coverage = checks.open_fraction("coverage", coverage)
        y = _targets(x, y)
        count = len(y)
        folds = count if self.num_folds is None else self.num_folds
        least = max(folds, int(np.ceil(round(coverage / (1 - coverage), 9))))
        if count < least:
            raise ValueError(
                f"`y` must have {least} or more rows for a coverage of "
                f"{coverage} and {folds} folds. Received: {count}"
            )
        order = np.random.default_rng(self.seed).permutation(count)
        place: Array = np.empty(count, np.int64)
        place[order] = np.arange(count) % folds
        models: list[Any] = []
        errors = np.empty(y.shape, np.float64)
        for fold in range(folds):
            left_out = place == fold
            model = self.fit_model(_rows(x, ~left_out), y[~left_out])
            if any(model is before for before in models):
                raise ValueError(
                    "`fit_model` must build a new model each time, which has "
                    "not seen the rows that are left out. Received: one model "
                    "twice"
                )
            rest = y[left_out]
            found = _predicted(model, _rows(x, left_out), rest.shape)
            errors[left_out] = np.abs(rest - found)
            models.append(model)
        self.coverage, self._models = coverage, models
        self._fold, self._errors = place, errors
        return self

    def interval(self, x: Any) -> tuple[Array, Array]:
        """Finds the intervals of new rows' targets.

        Args:
            x: the inputs, N rows.

        Returns:
            The ends (lower, upper), `[N]` or `[N, k]`, as y had axes.

        Raises:
            ValueError: if it was not fitted.
        """
        self._check_fitted()
        shape = (len(keras.tree.flatten(x)[0]), *self._errors.shape[1:])
        means = np.stack(
            [_predicted(model, x, shape) for model in self._models]
        )[self._fold]  # of each row that was left out, `[n, N, ..]`
        errors = self._errors[:, np.newaxis]
        count = len(errors)
        place = int(np.ceil(round(self.coverage * (count + 1), 9)))
        upper = np.sort(means + errors, axis=0)[place - 1]
        lower = np.sort(means - errors, axis=0)[count - place]
        return lower, upper

    def save(self, path: Any) -> None:
        """Writes the models and errors to a file; `calibration.load` reads it.

        What was loaded has intervals, and can't be fitted anew: `fit_model` is
        code, which files don't hold.

        Args:
            path: the path of the file, a zip archive.

        Raises:
            TypeError: if `fit_model` returns other than Keras models.
            ValueError: if it was not fitted.
        """
        self._check_fitted()
        for model in self._models:
            if not isinstance(model, keras.Model):
                raise TypeError(
                    "`fit_model` must return Keras models for `save`. "
                    f"Received: it returned {model!r}"
                )
        arrays = {"errors": self._errors, "fold": self._fold}
        save_with_models(path, self, arrays, self._models)

    def restore(self, arrays: dict[str, Array], models: list[Any]) -> None:
        """Takes what `save` wrote in place of a fit."""
        self._errors, self._fold = arrays["errors"], arrays["fold"]
        self._models = models

    def get_config(self) -> Config:
        """Returns plain data, of which `fit_model` is none."""
        return {
            "num_folds": self.num_folds,
            "seed": self.seed,
            "coverage": self.coverage,
        }

    @classmethod
    def from_config(cls, config: Config) -> "JackknifePlus":
        """Makes one that can't be fitted."""
        found = cls(_unknown, config["num_folds"], config["seed"])
        found.coverage = config["coverage"]
        return found

    def _check_fitted(self) -> None:
        if not self._models:
            raise ValueError(
                "`JackknifePlus` must be fitted first: `fit(x, y)`. Received: "
                "one that is not"
            )


def _unknown(*_: Any) -> Any:
    """Stands for the `fit_model` of a file."""
    raise ValueError(
        "`fit_model` must be known to fit. Received: a `JackknifePlus` that "
        "was loaded from a file, which holds no code. Make a new one"
    )


def _targets(x: Any, y: Any) -> Array:
    """Returns the targets, if they are arrays and fit the inputs."""
    y = np.asarray(y)
    if y.ndim == 0:
        raise ValueError(
            "`y` must be an array of targets, with their inputs in x: the rows "
            "are put into folds, for which they have to be known. Received: "
            f"y={y}. Turn a dataset into arrays first"
        )
    data.check_finite("y", y)
    rows_of = len(keras.tree.flatten(x)[0])
    if rows_of != len(y):
        raise ValueError(
            "`y` must have one row for each of the inputs. Received: "
            f"{rows_of} rows of x, {len(y)} of y"
        )
    return y


def _rows(x: Any, rows: Array) -> Any:
    return keras.tree.map_structure(lambda leaf: np.asarray(leaf)[rows], x)


def _predicted(model: Any, x: Any, shape: Any) -> Array:
    """Predicts means of the shape of targets."""
    found = np.asarray(_predictor(model)(x), np.float64)
    if found.size != np.prod(shape):
        raise ValueError(
            "`fit_model` must return a model of the means of y, of shape "
            f"{tuple(shape)} here. Received: predictions of shape {found.shape}"
        )
    return found.reshape(shape)


def _predictor(model: Any) -> Callable[[Any], Array]:
    if isinstance(model, keras.Model):
        draws = draws_of(model)
        return lambda x: predict(model, x, draws=draws, seed=0, verbose=0).mean
    return model.predict if hasattr(model, "predict") else model
