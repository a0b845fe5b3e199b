"""Chooses rows of a pool by a trained model."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from tfpbnn import random
from tfpbnn.acquisition import selecting
from tfpbnn.acquisition.pool import Part, Pool
from tfpbnn.acquisition.selecting import Acquisition, Candidates
from tfpbnn.acquisition.state import State
from tfpbnn.base import data
from tfpbnn.base.progress import Bar
from tfpbnn.base.types import Array, Config
from tfpbnn.prediction import predict


@dataclasses.dataclass(frozen=True)
class Chooser:
    """A way to choose rows of a pool; `ActiveLearner` has the arguments."""

    pool: Pool
    acquisition: Any
    selector: Any
    num_candidates: int
    options: Mapping[str, Any]
    features: Callable[[Any, Any], Any] | None
    output: str | None
    verbose: Any

    def __post_init__(self) -> None:
        """Checks the names."""
        selecting.selector_of(self.selector)
        if self.acquisition is not None:
            selecting.acquisition_of(self.acquisition)
        Bar(self.verbose)

    def choose(
        self, model: Any, state: State, count: int, seed: int | None
    ) -> Part:
        """Chooses rows without labels, or as many as there are.

        Args:
            model: what predicts.
            state: which rows have labels.
            count: how many rows to choose.
            seed: an integer, for the same rows each time, or None.
        """
        selector = selecting.selector_of(self.selector)
        if selector.keys is not None:
            generator, keys_of = random.generator(seed), selector.keys

            def keys(x: Any) -> Array:
                noise = generator.gumbel(size=data.length(x))
                scores = noise
                if not selector.is_blind:
                    scores = self._scores(model, x, seed)
                return keys_of(scores, noise)

            return self._highest(keys, state, count)
        part = self._candidates(model, state, seed)
        count = min(count, len(part.rows))
        if not count:
            return part
        predictive = self._predicted(model, part.x, seed)
        features = known = None
        if self.features is not None:
            features = self.features(model, part.x)
            known = self.features(model, state.x)
        elif self.selector == "k_center":
            known = self._predicted(model, state.x, seed)
        rows = Candidates(
            predictive, self._acquisition(predictive), features, known
        )
        return part.take(selector.choose(rows, count, seed))

    def _candidates(self, model: Any, state: State, seed: int | None) -> Part:
        """Finds the rows among which to choose: all, if they are few."""
        size = self.pool.size
        if size is not None and size <= self.num_candidates:
            return self._highest(
                lambda x: np.zeros(data.length(x)), state, size
            )
        return self._highest(
            lambda x: self._scores(model, x, seed), state, self.num_candidates
        )

    def _highest(
        self, keys: Callable[[Any], Array], state: State, count: int
    ) -> Part:
        first = data.length(state.x) - len(state.asked)
        known = keras.tree.map_structure(lambda leaf: leaf[first:], state.x)
        bar = Bar(self.verbose)
        found = self.pool.highest(keys, count, state.asked, known, bar)
        bar.close()
        return found

    def _scores(self, model: Any, x: Any, seed: int | None) -> Array:
        predictive = self._predicted(model, x, seed)
        return self._acquisition(predictive)(predictive)

    def _acquisition(self, predictive: Any) -> Acquisition:
        if self.acquisition is not None:
            return selecting.acquisition_of(self.acquisition)
        name = "bald"
        if not predictive.likelihood.is_classification:
            by_best = self.selector == "thompson"
            name = "ucb" if by_best else "epistemic_variance"
        return selecting.acquisition_of(name)

    def _predicted(self, model: Any, x: Any, seed: int | None) -> Any:
        options: Config = {"verbose": 0, "seed": seed}
        if selecting.selector_of(self.selector).is_joint:
            options["draws"] = "coherent"
        found = predict(model, x, **options | dict(self.options))
        if self.output is None and not isinstance(found, list | dict):
            return found
        names = list(found) if isinstance(found, dict) else []
        if self.output not in names:
            raise ValueError(
                "`output` must be the name of an output to go by, where a "
                f"model has several in a dict. Received: output={self.output!r}"
                f", for the outputs {names or type(found).__name__}"
            )
        return found[self.output]
