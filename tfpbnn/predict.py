"""From a posterior and data to a predictive distribution."""

import math
import time
from typing import Any

import keras
import numpy as np

from tfpbnn import data, likelihoods, particles, random
from tfpbnn.likelihoods import Likelihood
from tfpbnn.predictive import (
    ClassificationPredictive,
    Predictive,
    RegressionPredictive,
)
from tfpbnn.predictive.base import check_num_samples
from tfpbnn.types import Array

_BATCH_SIZE = 1024
# Draws of one call of the compiled model: the bar moves, an interrupt is heard.
_DRAWS_PER_STEP = 25
# With verbose="auto", the bar appears on work that takes longer (seconds).
_QUIET = 2.0


def predict(
    model: keras.Model,
    x: Any,
    num_samples: int = 100,
    batch_size: int | None = None,
    seed: int | None = None,
    verbose: Any = "auto",
    *,
    draws: str = "coherent",
    likelihood: Likelihood | None = None,
) -> Predictive:
    """The predictive distribution of a model's targets, over draws of weights.

    The same seed gives the same numbers, whatever the batch size, on one
    machine up to rounding. Dropout is off and BatchNorm in inference mode.

    Args:
        model: a built Keras model with random layers in it.
        x: inputs: an array, a tensor, a list or dict of them, or a
            tf.data.Dataset or PyDataset, whose targets are ignored.
        num_samples: the number of draws S of the weights. Errors of the mean
            fall with its square root; 100 are enough for most plots.
        batch_size: rows at a time, of arrays; default 1024.
        seed: an integer; None takes one from Python's `random`, which
            `keras.utils.set_random_seed` seeds.
        verbose: "auto" (a progress bar if it takes over 2 s), 0 or 1.
        draws: "coherent": a draw is one function, the same weights for every
            row. "mean": one pass at the posterior means, without epistemic
            uncertainty; also for models with nothing random.
        likelihood: what the outputs mean, for a model that was not compiled;
            by default read off the compiled loss.

    Returns:
        A `RegressionPredictive` or `ClassificationPredictive`.

    Raises:
        ValueError: if the model was not built, has no likelihood for a loss,
            has nothing random in it or several outputs; if the outputs don't
            fit the likelihood; if `num_samples` is not positive; if x has NaN.
        TypeError: if x is not one of the forms above.

    Example:
    ```python
    model = keras.Sequential([keras.Input((4,)), tfpbnn.layers.DenseFlipout(2)])
    model.compile("adam", loss=tfpbnn.likelihoods.Normal())
    p = tfpbnn.predict(model, keras.random.normal((10, 4)), seed=0)
    p.mean, p.epistemic_variance, p.aleatoric_variance      # [10, 1] each
    ```
    """
    predictive, _ = _predict(
        model, x, num_samples, batch_size, seed, verbose, draws, likelihood
    )
    return predictive


def evaluate(
    model: keras.Model,
    x: Any,
    y: Any = None,
    num_samples: int = 100,
    batch_size: int | None = None,
    seed: int | None = None,
    verbose: Any = "auto",
    *,
    draws: str = "coherent",
    likelihood: Likelihood | None = None,
) -> dict[str, float]:
    """Scores of the predictive distribution against known targets.

    Regression: nll, rmse, crps, coverage_90, calibration_error.
    Classification: nll, accuracy, brier, ece.

    Args:
        model: as for `predict`.
        x: as for `predict`; a dataset may bring the targets.
        y: targets or labels; None to take them from the dataset.
        num_samples: as for `predict`.
        batch_size: as for `predict`.
        seed: as for `predict`.
        verbose: as for `predict`.
        draws: as for `predict`.
        likelihood: as for `predict`.

    Raises:
        ValueError: as `predict`; if there are no targets, or they don't fit
            the outputs or are NaN or out of range.

    Example:
    ```python
    model = keras.Sequential([keras.Input((4,)), tfpbnn.layers.DenseFlipout(2)])
    model.compile("adam", loss=tfpbnn.likelihoods.Normal())
    x, y = keras.random.normal((10, 4)), keras.random.normal((10,))
    tfpbnn.evaluate(model, x, y)                    # {"nll": .., "rmse": ..}
    ```
    """
    predictive, targets = _predict(
        model, x, num_samples, batch_size, seed, verbose, draws, likelihood
    )
    y = targets if y is None else y
    if y is None:
        raise ValueError(
            "`y` must be given, unless x is a dataset of (x, y) batches. "
            "Received: y=None"
        )
    return predictive.evaluate(y)


def _predict(
    model: keras.Model,
    x: Any,
    num_samples: int,
    batch_size: int | None,
    seed: int | None,
    verbose: Any,
    draws: str,
    likelihood: Likelihood | None,
) -> tuple[Predictive, Array | None]:
    check_num_samples(num_samples)
    batch_size = _check_batch_size(batch_size)
    if draws not in ("coherent", "mean"):
        raise ValueError(
            f'`draws` must be "coherent" or "mean". Received: draws={draws!r}'
        )
    _check_built(model)
    loss = likelihood or _compiled_loss(model)
    if not data.is_stream(x):
        x = data.as_arrays("x", x)
    if seed is None:
        seed = random.any_seed()
    stops = [0] if draws == "mean" else _stops(num_samples)
    run = _Run(model, random.as_key(seed), stops)
    outputs, targets = run.over(x, batch_size, verbose)
    if draws != "mean":
        run.check_random()
    resolved = likelihoods.from_loss(loss, outputs.shape[-1])
    kind = (
        ClassificationPredictive
        if resolved.is_classification
        else RegressionPredictive
    )
    return kind(outputs, resolved), targets


def _stops(num_samples: int) -> list[int]:
    return [
        min(start + _DRAWS_PER_STEP, num_samples)
        for start in range(0, num_samples, _DRAWS_PER_STEP)
    ]


class _Run:
    """One pass of a model over data, in steps of rows and draws."""

    def __init__(self, model: keras.Model, key: Any, stops: list[int]):
        self._model = model
        self._key = key
        self._stops = stops  # [0] for the posterior mean
        self._states = particles.random_states(model)
        self._function: particles.DrawFunction | None = None

    def over(
        self, x: Any, batch_size: int, verbose: Any
    ) -> tuple[Array, Array | None]:
        """Outputs `[S, N, ..., P]`, and the targets that x brought."""
        total = data.num_batches(x, batch_size)
        steps = None if total is None else total * len(self._stops)
        bar = _Bar(steps, verbose)
        outputs, targets = [], []
        for batch, y in data.batches(x, batch_size):
            outputs.append(self._batch(batch, bar))
            if y is not None:
                targets.append(np.asarray(y))
        bar.close()
        if not outputs:
            raise ValueError("`x` must have one row or more. Received: none")
        joined = np.concatenate(outputs, axis=1)
        return joined, np.concatenate(targets) if targets else None

    def _batch(self, batch: Any, bar: "_Bar") -> Array:
        self._function = particles.draw_function(self._model, batch)
        parts, start = [], 0
        for stop in self._stops:
            if stop == 0:
                parts.append(self._function.mean(batch))
            else:
                parts.append(
                    self._function.draws(batch, self._key, start, stop)
                )
            start = stop
            bar.step()
        return np.concatenate(parts)

    def check_random(self) -> None:
        """Raises if every draw was the same by construction."""
        states = particles.random_states(self._model)
        moved = any(
            np.any(before != after)
            for before, after in zip(self._states, states, strict=True)
        )
        assert self._function is not None
        if not moved and self._function.num_random_layers == 0:
            raise ValueError(
                "`model` has nothing random in it, so all draws are the same. "
                "Replace some of its layers by variational ones (such as "
                'tfpbnn.layers.DenseFlipout), or pass draws="mean" for a '
                "single pass."
            )


class _Bar:
    """Keras's progress bar, shown at once, never, or when work is long."""

    def __init__(self, total: int | None, verbose: Any):
        if verbose not in ("auto", 0, 1, 2, True, False):
            raise ValueError(
                f'`verbose` must be "auto", 0 or 1. Received: {verbose!r}'
            )
        self._total = total
        self._verbose = verbose
        self._done = 0
        self._started = time.monotonic()
        self._bar: Any = None

    def step(self) -> None:
        self._done += 1
        elapsed = time.monotonic() - self._started
        if self._bar is None and self._verbose:
            expected = elapsed * (self._total or math.inf) / self._done
            is_long = elapsed > _QUIET / 2 and expected > _QUIET
            if self._verbose != "auto" or is_long:
                self._bar = keras.utils.Progbar(self._total, verbose=1)
        if self._bar is not None:
            self._bar.update(self._done, finalize=False)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.update(self._done, finalize=True)


def _check_batch_size(batch_size: int | None) -> int:
    if batch_size is None:
        return _BATCH_SIZE
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(
            "`batch_size` must be None or a positive integer. Received: "
            f"batch_size={batch_size!r}"
        )
    return batch_size


def _check_built(model: Any) -> None:
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`model` must be a keras.Model. Received: {type(model).__name__}"
        )
    if not model.built:
        raise ValueError(
            f"`model` ({model.name}) was never built, so it has no weights: "
            "fit it, load its weights, or give it a keras.Input first."
        )


def _compiled_loss(model: keras.Model) -> Any:
    loss = getattr(model, "loss", None)
    if loss is None:
        raise ValueError(
            f"`model` ({model.name}) was never compiled with a loss, so the "
            "meaning of its outputs is unknown: compile it with a likelihood "
            "(such as tfpbnn.likelihoods.Normal()) or pass `likelihood=`."
        )
    return loss
