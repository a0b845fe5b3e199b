"""Defines what scores of features share: fitting, scoring and files."""

import abc
import json
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import numpy as np

from tfpbnn.base import checks, data, forms
from tfpbnn.base.types import Array, Config
from tfpbnn.ood.features import JOINTS, Batch, Features

SelfT = TypeVar("SelfT", bound="FeatureScore")


class FeatureScore(abc.ABC):
    """A score of how far rows are from those it was fitted on.

    Args:
        members: "concatenate" or "average": what becomes of the features of an
            ensemble's members. Members that were trained apart have features
            of their own, which averages mix up.
        batch_size: the number of rows at once, unless x has its own batches.
    """

    def __init__(self, members: str = "concatenate", batch_size: int = 256):
        self.members = checks.one_of("members", members, JOINTS)
        self.batch_size = checks.positive_integer("batch_size", batch_size)
        self.features: Features | None = None
        self._named: str | None = None

    def fit(
        self: SelfT,
        model: Any,
        x: Any,
        y: Any = None,
        *,
        layer: str | None = None,
        sample_weight: Any = None,
    ) -> SelfT:
        """Learns what the training data look like.

        Args:
            model: a built Keras model, or any posterior of networks: features
                are those at its means, or of all members.
            x: the inputs of the training data, in any form that
                `tfpbnn.predict` takes; datasets may bring y and weights.
            y: their targets, where the score needs them.
            layer: the name of the layer whose outputs are the features, which
                may be in a model in the model. None takes the inputs of the
                last layer with a kernel. Positions in time or space are
                averaged, without those that are masked.
            sample_weight: weights of rows `[N]`; rows of weight 0 are left out.

        Returns:
            The score itself.

        Raises:
            TypeError: if the layers' graph of the model is unknown.
            ValueError: if there is no such layer (the message lists those
                there are), or inputs, targets or weights don't fit.
        """
        features = Features(model, layer, self.members)
        self._named = layer
        self._fit(self._batches(features, x, y, sample_weight))
        self.features = features
        return self

    def score(self, x: Any) -> Array:
        """Computes how far rows are; higher is farther.

        Args:
            x: inputs, in any form that `tfpbnn.predict` takes.

        Returns:
            `[N]`. It is NaN for rows of which all positions are masked.
        """
        features = self._ready()
        batches = features.batches(x, self.batch_size)
        return np.concatenate([self._where_known(b.features) for b in batches])

    def save(self, path: Any) -> None:
        """Writes what was learned to a file; `tfpbnn.ood.load` reads it.

        The model isn't in it: save that too.

        Args:
            path: a path that ends in ".npz".
        """
        self._ready()
        write(path, self, self._named, self._learned())

    def restore(
        self: SelfT, model: Any, layer: str | None, arrays: dict[str, Array]
    ) -> SelfT:
        """Takes what `save` wrote in place of a fit."""
        self.features, self._named = Features(model, layer, self.members), layer
        self._restore(arrays)
        return self

    def arguments(self) -> Config:
        """Returns the arguments of the constructor."""
        return {"members": self.members, "batch_size": self.batch_size}

    @abc.abstractmethod
    def _fit(self, batches: Iterable[Batch]) -> None:
        """Learns from all batches, of which weights and rows are checked."""

    @abc.abstractmethod
    def _score(self, features: Array) -> Array:
        """Computes scores `[n]` of finite features `[n, D]`."""

    @abc.abstractmethod
    def _learned(self) -> dict[str, Array]:
        """Returns what was learned, as arrays by name."""

    @abc.abstractmethod
    def _restore(self, arrays: dict[str, Array]) -> None:
        """Takes what `_learned` returned."""

    def _ready(self) -> Features:
        if self.features is None:
            raise ValueError(
                f"`{type(self).__name__}` must be fitted first: call "
                "`fit(model, x_train, ...)`"
            )
        return self.features

    def _where_known(self, features: Array) -> Array:
        self._check_size(features)
        known = np.isfinite(features).all(axis=1)
        found = np.full(len(features), np.nan)
        if known.any():
            found[known] = self._score(features[known])
        return found

    def _check_size(self, features: Array) -> None:
        if features.shape[1] != self._size:
            raise ValueError(
                "`model` must have the features that were learned. Received: "
                f"{features.shape[1]} of them, and {self._size} were learned"
            )

    @property
    @abc.abstractmethod
    def _size(self) -> int:
        """The number D of features."""

    def _batches(
        self, features: Features, x: Any, y: Any, sample_weight: Any
    ) -> Iterator[Batch]:
        """Yields batches with their part of y and weights, without rows of 0.

        Raises:
            ValueError: if a dataset was given y too, lengths differ, or
                features are not finite.
        """
        given = {"y": y, "sample_weight": sample_weight}
        given = {k: rows_of(k, v) for k, v in given.items() if v is not None}
        if given and data.is_stream(x):
            raise ValueError(
                f"`{next(iter(given))}` must be in the batches where x is a "
                "dataset or generator. Received: both"
            )
        start = 0
        for batch in features.batches(x, self.batch_size):
            stop = start + len(batch.features)
            own = {k: v[start:stop] for k, v in given.items()}
            start = stop
            batch = Batch(
                batch.features,
                own.get("y", batch.y),
                own.get("sample_weight", batch.weights),
            )
            yield _counted(batch)
        for name, values in given.items():
            if len(values) != start:
                raise ValueError(
                    f"`{name}` must have as many rows as x. Received: "
                    f"{len(values)}, and {start} rows of x"
                )


def rows_of(name: str, value: Any) -> Array:
    """Reads targets or weights, of which none may be hidden.

    Raises:
        ValueError: if there are no rows, or NumPy masks some.
    """
    forms.check_unmasked(f"`{name}`", value)
    found = np.asarray(value)
    if found.ndim == 0:
        raise ValueError(
            f"`{name}` must be one array with a row for each of x. Received: "
            f"{type(value).__name__}. Of several outputs, give one: `y['a']`"
        )
    return found


def write(
    path: Any, score: Any, layer: str | None, arrays: dict[str, Array]
) -> None:
    """Writes a score's class, arguments, layer and arrays to a file."""
    if pathlib.Path(path).suffix != ".npz":
        raise ValueError(
            f'`path` must end in ".npz". Received: path={str(path)!r}'
        )
    config = {
        "class_name": type(score).__name__,
        "config": score.arguments(),
        "layer": layer,
    }
    # As a scalar of text, which needs no pickle.
    np.savez(path, config=np.array(json.dumps(config)), **arrays)  # type: ignore[arg-type]


def _counted(batch: Batch) -> Batch:
    """Leaves out rows of weight 0, and checks the others."""
    features, y, weights = batch
    rows = len(features)
    weights = np.ones(rows) if weights is None else np.asarray(weights, float)
    if (
        weights.shape != (rows,)
        or not ((weights >= 0) & np.isfinite(weights)).all()
    ):
        raise ValueError(
            "`sample_weight` must be one finite number >= 0 for each row. "
            f"Received: an array of shape {weights.shape} for {rows} rows"
        )
    kept = weights > 0
    if not np.isfinite(features[kept]).all():
        raise ValueError(
            "`x` must have finite features in training. Received: NaN or "
            "infinite ones, as of a row of which all positions are masked"
        )
    if y is not None:
        y = np.asarray(y)
        if len(y) != rows:
            raise ValueError(
                "`y` must have as many rows as x. Received: "
                f"{len(y)} for {rows} rows"
            )
        y = y[kept]
    return Batch(features[kept], y, weights[kept])
