"""Scores rows by the error that a second model expects there."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfpbnn.base import checks, data
from tfpbnn.base.types import Array, Config
from tfpbnn.metrics.uncertainty import uncertainty
from tfpbnn.ood import trees
from tfpbnn.ood.base import rows_of, write
from tfpbnn.ood.mahalanobis import Mahalanobis
from tfpbnn.particles.effects import is_random
from tfpbnn.prediction import Predictive, predict
from tfpbnn.prediction.results.targets import by_place


class DEUP:
    """A learned predictor of a model's error on rows that it hasn't seen.

    Trees regress errors on rows that were held out of training: squared errors
    of the predictive mean, summed over targets; of labels minus the log
    probability. Their inputs are what the prediction says of itself (epistemic
    and total variance), how far the row is (the Mahalanobis distance of
    features) and, if asked for, the features. So the score knows where the
    model is wrong though it is sure. It is in units of the errors, and contains
    the noise of the targets. Beyond the held-out rows it stays at what the
    farthest of these have.

    Args:
        use_features: whether features are inputs of the trees too, for errors
            that depend on where a row is. They need some hundred rows.
        num_trees: the number of trees.
        num_samples: the number of draws of predictions.
        seed: of the draws and trees, so that scores are the same each time.
        batch_size: the number of rows at once.

    Example:
    ```python
    score = tfpbnn.ood.DEUP(num_samples=10)
    score.fit(model, x, y, held_out=(x_test, y_test))
    score.score(x_test)                                     # [N]
    ```

    Reference:
        [Lahlou et al., 2023](https://arxiv.org/abs/2102.08501)
    """

    def __init__(
        self,
        use_features: bool = False,
        num_trees: int = 100,
        num_samples: int = 30,
        seed: int = 0,
        batch_size: int = 256,
    ):
        self.use_features = bool(use_features)
        self.num_trees = checks.positive_integer("num_trees", num_trees)
        self.num_samples = checks.positive_integer("num_samples", num_samples)
        self.seed = checks.integer("seed", seed, least=0)
        self.batch_size = checks.positive_integer("batch_size", batch_size)
        self.density = self._new_density()
        self._model: Any = None
        self._layer: str | None = None
        self._trees: dict[str, Array] = {}

    def fit(
        self,
        model: Any,
        x: Any,
        y: Any,
        *,
        held_out: tuple[Any, Any] | None = None,
        train: Callable[[Any, Any], Any] | None = None,
        folds: int = 5,
        layer: str | None = None,
    ) -> "DEUP":
        """Learns the errors, of held-out rows or by cross-fitting.

        Args:
            model: a compiled model or posterior with one output.
            x: the inputs that it was trained on, arrays.
            y: their targets.
            held_out: inputs and targets that it was not trained on; errors are
                learned of these. They should be as varied as what is to come.
            train: in place of held-out rows a function that trains a new model
                on inputs and targets, and returns it; it is called for each
                fold.
            folds: the number of parts of the training data that such models do
                without, one after the other.
            layer: as in `FeatureScore.fit`.

        Returns:
            The score itself.

        Raises:
            ValueError: if neither or both of `held_out` and `train` are given,
                there are fewer than 10 rows to learn from, or the model has
                several outputs.
        """
        if (held_out is None) == (train is None):
            raise ValueError(
                "`held_out` or `train` must be given, one of them: errors on "
                "training rows are too small to learn from. Received: "
                f"held_out={held_out!r}, train={train!r}"
            )
        self.density = self._new_density().fit(model, x, layer=layer)
        if held_out is not None:
            found = [self._examples(model, self.density, *held_out)]
        else:
            assert train is not None
            found = self._crossed(train, x, y, folds, layer)
        inputs, errors = (
            np.concatenate(part) for part in zip(*found, strict=True)
        )
        if len(errors) < 10:
            raise ValueError(
                "`held_out` must have 10 rows that count or more. Received: "
                f"{len(errors)}"
            )
        self._trees = trees.fit(inputs, errors, self.num_trees, self.seed)
        self._model, self._layer = model, layer
        return self

    def score(self, x: Any) -> Array:
        """Predicts the error of each row, `[N]`; higher is less sure.

        Args:
            x: inputs; arrays, or a dataset, which is read several times.
        """
        self._check_fitted()
        inputs, _ = self._inputs(self._model, self.density, x)
        known = np.isfinite(inputs).all(axis=1)
        found = np.full(len(inputs), np.nan)
        if known.any():
            found[known] = trees.predict(self._trees, inputs[known])
        return found

    def save(self, path: Any) -> None:
        """Writes what was learned to a file; `tfpbnn.ood.load` reads it.

        Args:
            path: a path that ends in ".npz".
        """
        self._check_fitted()
        density = {
            f"density_{k}": v for k, v in self.density._learned().items()
        }
        write(path, self, self._layer, self._trees | density)

    def restore(
        self, model: Any, layer: str | None, arrays: dict[str, Array]
    ) -> "DEUP":
        """Takes what `save` wrote in place of a fit."""
        own = {
            name.removeprefix("density_"): value
            for name, value in arrays.items()
            if name.startswith("density_")
        }
        self.density = self._new_density().restore(model, layer, own)
        self._trees = {name: arrays[name] for name in trees.NAMES}
        self._model, self._layer = model, layer
        return self

    def arguments(self) -> Config:
        """Returns the arguments of the constructor."""
        return {
            "use_features": self.use_features,
            "num_trees": self.num_trees,
            "num_samples": self.num_samples,
            "seed": self.seed,
            "batch_size": self.batch_size,
        }

    def _check_fitted(self) -> None:
        if not self._trees:
            raise ValueError(
                "`DEUP` must be fitted first: call `fit(model, x_train, "
                "y_train, held_out=...)`"
            )

    def _new_density(self) -> Mahalanobis:
        return Mahalanobis(batch_size=self.batch_size)

    def _crossed(
        self, train: Any, x: Any, y: Any, folds: int, layer: str | None
    ) -> list[tuple[Array, Array]]:
        """Lists examples of errors, by models that have not seen the rows."""
        checks.integer("folds", folds, least=2)
        x, y = data.as_arrays("x", x, is_finite=False), rows_of("y", y)
        rows = np.random.default_rng(self.seed).permutation(len(y))

        def part(arrays: Any, at: Array) -> Any:
            return keras.tree.map_structure(lambda a: a[at], arrays)

        found = []
        for fold in range(folds):
            out = rows[fold::folds]
            kept: Array = np.delete(rows, np.s_[fold::folds])
            model = train(part(x, kept), y[kept])
            density = self._new_density()
            density.fit(model, part(x, kept), layer=layer)
            found.append(self._examples(model, density, part(x, out), y[out]))
        return found

    def _examples(
        self, model: Any, density: Mahalanobis, x: Any, y: Any
    ) -> tuple[Array, Array]:
        """Computes the trees' inputs `[n, P]`, and the errors `[n]`."""
        inputs, p = self._inputs(model, density, x)
        errors = errors_of(p, y)
        known = np.isfinite(inputs).all(axis=1) & np.isfinite(errors)
        return inputs[known], errors[known]

    def _inputs(
        self, model: Any, density: Mahalanobis, x: Any
    ) -> tuple[Array, Predictive]:
        how = "auto" if is_random(model) else "mean"
        p = predict(
            model, x, self.num_samples, seed=self.seed, verbose=0, draws=how
        )
        if not isinstance(p, Predictive):
            raise ValueError(
                "`model` must have one output with a likelihood. Received: "
                f"outputs {sorted(p)}"
            )
        own = [
            density.score(x),
            _of_rows(uncertainty(p, "epistemic_variance"), len(p)),
            _of_rows(uncertainty(p, "variance"), len(p)),
        ]
        if not self.use_features:
            return np.stack(own, axis=1), p
        assert density.features is not None
        batches = density.features.batches(x, self.batch_size)
        rows = np.concatenate([batch.features for batch in batches])
        return np.concatenate([np.stack(own, axis=1), rows], axis=1), p


def errors_of(p: Predictive, y: Any) -> Array:
    """Computes the error of each row, `[N]`; NaN where no place counts."""
    if p.likelihood.is_classification:
        return -_of_rows(p.log_prob(y), len(p))

    def squares(p: Any, y: Array) -> Array:
        return np.sum((p.mean - y) ** 2, axis=-1)

    return _of_rows(by_place(squares, p, y), len(p))


def _of_rows(values: Array, count: int) -> Array:
    """Averages over the places of each row that are not NaN."""
    flat: Array = np.reshape(values, (count, -1))
    known = np.isfinite(flat)
    total = np.where(known, flat, 0.0).sum(axis=1)
    counts = known.sum(axis=1)
    return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)
