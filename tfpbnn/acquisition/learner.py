"""Trains, asks for the labels of some rows, and trains again."""

import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from tfpbnn.acquisition import state as states
from tfpbnn.acquisition.choosing import Chooser
from tfpbnn.acquisition.pool import Pool, appended
from tfpbnn.acquisition.state import State
from tfpbnn.base import checks, data
from tfpbnn.base.keras_private import is_seed_state
from tfpbnn.base.types import Array, Config
from tfpbnn.prediction import evaluate


class ActiveLearner:
    """Trains a model, asks for the labels that tell it most, and again.

    Each round trains on all labels so far, scores the pool, asks the oracle for
    the labels of `query_size` rows and adds them. `fit` of this package's
    models weighs the KL by the number of rows, which grows; of other models see
    `tfpbnn.callbacks.KLWeight`.

    A pool may be larger than memory: it is read batch by batch, and only rows
    that may be chosen are kept. "top", "power", "softmax" and "random" are
    exact then; selectors that judge rows together choose among the
    `num_candidates` rows of the highest scores.

    Args:
        model_fn: a function without arguments that returns a new compiled
            model.
        pool: the inputs without labels: an array, a list or dict of arrays, a
            tf.data.Dataset or a PyDataset, which gives the same rows each time.
            Targets that it brings are not looked at.
        oracle: a function `(x, index)` of the inputs of some rows and their
            numbers in the pool, `[k]`, that returns their labels, `[k, ...]`.
        x, y: the rows that have labels at the beginning.
        acquisition: a name or function, as of `select`; None for "bald" of
            labels, "ucb" for Thompson sampling, else "epistemic_variance".
        selector: a name or function, as of `select`.
        query_size: the number of labels to ask for in a round.
        warm_start: whether a round goes on with the model of the last one,
            rather than with a new one.
        fit: keyword arguments of `model.fit`; or a function `(model, x, y)`
            that trains, and may return what predicts, such as a posterior.
        predict: keyword arguments of `tfpbnn.predict`, such as `num_samples`.
        features: for "badge" and "k_center", a function `(model, x)` that
            returns features `[n, D]`.
        output: the name of the output to go by, where a model has several.
        num_candidates: among how many rows to choose together.
        test: `(x, y)` to evaluate each round on; None for no evaluation.
        directory: where to keep the state, so that a learner that is made anew
            goes on where another was interrupted; None for nowhere. What was
            asked is not asked again, unless the oracle itself was interrupted.
        seed: an integer, for the same rounds each time: it seeds Keras before
            each training. None for others.
        verbose: "auto" (a progress bar over the pool if it takes over 2 s), 0
            or 1.

    Attributes:
        model: what predicts, trained in the last round; None before.
        x, y: all rows with labels.
        asked: the numbers in the pool of those that were asked, in their order.
        log: a dict for each training: "round", "num_labels", "fit_seconds", and
            the scores of `test` by name.

    Raises:
        TypeError: if `pool` can be read but once, or functions are none.
        ValueError: if names or numbers are not allowed, or `directory` is of
            another learner.

    Example:
    ```python
    def model_fn():
        model = tfpbnn.Sequential(
            [keras.Input((4,)), tfpbnn.layers.DenseFlipout(2)]
        )
        model.compile("adam", loss=tfpbnn.likelihoods.Normal())
        return model

    learner = tfpbnn.acquisition.ActiveLearner(
        model_fn,
        pool=x[8:],
        oracle=lambda rows, index: y[8:][index],
        x=x[:8],
        y=y[:8],
        query_size=4,
        fit={"epochs": 2, "verbose": 0},
        predict={"num_samples": 5},
    )
    learner.run(rounds=2)
    learner.asked, learner.log                      # 8 rows; 3 trainings
    ```
    """

    def __init__(
        self,
        model_fn: Callable[[], Any],
        pool: Any,
        oracle: Callable[[Any, Array], Any],
        x: Any,
        y: Any,
        *,
        acquisition: Any = None,
        selector: Any = "top",
        query_size: int = 10,
        warm_start: bool = False,
        fit: Any = None,
        predict: Mapping[str, Any] | None = None,
        features: Callable[[Any, Any], Any] | None = None,
        output: str | None = None,
        num_candidates: int = 1000,
        test: tuple[Any, Any] | None = None,
        directory: Any = None,
        seed: int | None = None,
        verbose: Any = "auto",
    ):
        _check_callable(model_fn=model_fn, oracle=oracle)
        self._model_fn, self._oracle = model_fn, oracle
        self._query_size = checks.positive_integer("query_size", query_size)
        self._warm_start = bool(warm_start)
        self._fit, self._predict = fit or {}, dict(predict or {})
        self._chooser = Chooser(
            Pool(pool),
            acquisition,
            selector,
            max(
                checks.positive_integer("num_candidates", num_candidates),
                self._query_size,
            ),
            self._predict,
            features,
            output,
            verbose,
        )
        self._test, self._seed = test, checks.seed(seed)
        given = data.as_arrays("x", x), data.as_arrays("y", y)
        if data.length(given[0]) != data.length(given[1]):
            raise ValueError(
                "`y` must have a label for each row of `x`. Received: "
                f"{data.length(given[1])} labels for {data.length(given[0])}"
            )
        none: Array = np.zeros(0, np.int64)
        self._state = State(none, *given, None, None, [])
        self._settings = {
            "query_size": self._query_size,
            "selector": str(selector),
            "seed": self._seed,
            "warm_start": self._warm_start,
        }
        self._directory = None if directory is None else pathlib.Path(directory)
        if self._directory is not None:
            self._state = states.read(self._path, self._state, self._settings)
        self._network: Any = None
        self.model: Any = None

    @property
    def x(self) -> Any:
        return self._state.x

    @property
    def y(self) -> Any:
        return self._state.y

    @property
    def asked(self) -> Array:
        return self._state.asked

    @property
    def log(self) -> list[Config]:
        return self._state.log

    def run(self, rounds: int) -> "ActiveLearner":
        """Goes on until so many rounds were asked in all, and trains again.

        Args:
            rounds: the number of rounds, with those of a state that was read.
                It ends earlier where the pool has no rows left.

        Returns:
            The learner itself.
        """
        checks.integer("rounds", rounds, least=0)
        while self._round < rounds and self.step():
            pass
        if not self._is_trained:
            self._train()
            self._save()
        return self

    def step(self) -> bool:
        """Trains, asks, and adds the labels.

        Returns:
            Whether there were rows to ask.

        Raises:
            ValueError: if the oracle returns too few labels, or such of another
                shape than those before; nothing is added then.
        """
        if self._state.pending is None:
            if self._state.asked.size == self._chooser.pool.size:
                return False
            if not self._is_trained:
                self._train()
            part = self._chooser.choose(
                self.model,
                self._state,
                self._query_size,
                self._seed_of(1),
            )
            if not part.rows.size:
                self._save()
                return False
            self._state = self._state._replace(
                pending=part.rows, pending_x=part.x
            )
            self._save()
        state = self._state
        assert state.pending is not None
        y = self._asked_labels(state.pending_x, state.pending)
        self._state = State(
            np.concatenate([state.asked, state.pending]),
            appended(state.x, state.pending_x),
            appended(state.y, y),
            None,
            None,
            state.log,
        )
        self._save()
        return True

    @property
    def _round(self) -> int:
        """The number of rounds that were asked."""
        return -(-self._state.asked.size // self._query_size)

    @property
    def _is_trained(self) -> bool:
        """Whether the model is of all labels."""
        is_last = bool(self.log) and self.log[-1]["round"] == self._round
        return is_last and self.model is not None

    @property
    def _path(self) -> pathlib.Path:
        assert self._directory is not None
        return self._directory / "state.npz"

    def _save(self) -> None:
        if self._directory is not None:
            states.write(self._path, self._state, self._settings)

    def _seed_of(self, use: int) -> int | None:
        return seed_of(self._seed, self._round, use)

    def _train(self) -> None:
        """Trains on all labels, and logs it."""
        network = self._network if self._warm_start else None
        network = network or self._loaded()
        # After what was loaded, which draws numbers of its own.
        if (seed := self._seed_of(0)) is not None:
            keras.utils.set_random_seed(seed)
            _seed_layers(network, seed)
        self._network = network or self._model_fn()
        began = time.monotonic()
        found = None
        if callable(self._fit):
            found = self._fit(self._network, self.x, self.y)
        else:
            self._network.fit(self.x, self.y, **{"verbose": 0, **self._fit})
        self.model = self._network if found is None else found
        entry: Config = {
            "round": self._round,
            "num_labels": data.length(self.x),
            "fit_seconds": time.monotonic() - began,
        }
        if self._test is not None:
            options = {"verbose": 0, "seed": self._seed_of(2), **self._predict}
            options.pop("keep_draws", None)
            entry |= evaluate(self.model, *self._test, **options)
        if self._warm_start and self._directory is not None:
            self._network.save(self._model_path(self._round))
        # A round that was interrupted is trained again.
        rest = [e for e in self.log if e["round"] < self._round]
        self._state = self._state._replace(log=[*rest, entry])

    def _model_path(self, number: int) -> pathlib.Path:
        assert self._directory is not None
        self._directory.mkdir(parents=True, exist_ok=True)
        # That of the round before is kept until a round is done.
        return self._directory / f"model_{number % 2}.keras"

    def _loaded(self) -> Any:
        """Loads the model of the last round, if a warm start needs it."""
        if not self._warm_start or self._directory is None or not self._round:
            return None
        return keras.saving.load_model(self._model_path(self._round - 1))

    def _asked_labels(self, x: Any, index: Array) -> Any:
        """Asks the oracle, and checks what it says."""
        given = self._oracle(x, index)
        y = data.as_arrays("oracle(x, index)", given)
        shapes = [
            [leaf.shape[1:] for leaf in keras.tree.flatten(one)]
            for one in (y, self.y)
        ]
        if shapes[0] != shapes[1] or data.length(y) != len(index):
            raise ValueError(
                f"`oracle` must return {len(index)} labels of the shapes "
                f"{shapes[1]}, one for each row. Received: {data.length(y)} of "
                f"the shapes {shapes[0]}"
            )
        return y


def seed_of(seed: int | None, number: int, use: int) -> int | None:
    """Makes the seed of a round, for one use of several; None stays."""
    if seed is None:
        return None
    words = [seed % 2**32, number, use]
    return int(np.random.SeedSequence(words).generate_state(1)[0])


def _seed_layers(network: Any, seed: int) -> None:
    """Sets the states of Keras's layers, such as dropout; no file has them."""
    variables = [] if network is None else network.variables
    states = [each for each in variables if is_seed_state(each)]
    for number, state in enumerate(states):
        words = np.random.SeedSequence([seed, number])
        state.assign(words.generate_state(*state.shape))


def _check_callable(**functions: Any) -> None:
    for name, function in functions.items():
        if not callable(function):
            raise TypeError(
                f"`{name}` must be a function. Received: {name}={function!r}"
            )
