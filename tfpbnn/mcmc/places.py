"""The devices and workers that chains run on."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from tfpbnn.base.types import Config
from tfpbnn.distribute.devices import Devices, strategy_of
from tfpbnn.distribute.workers import Workers, interleaved
from tfpbnn.mcmc.chains import Chains
from tfpbnn.mcmc.program import Trace
from tfpbnn.networks import reading


class Places:
    """What shares the chains: of W workers, worker w has w, w + W, ...

    Attributes:
        devices: those of this worker.
    """

    def __init__(self, model: Any):
        """Finds the strategy of a model, or of the scope."""
        reading.check_built(model)
        strategy = strategy_of(model)
        self.devices = Devices(strategy)
        self._workers = Workers(strategy)

    def seed(self, seed: int) -> int:
        """Returns the seed of the first worker."""
        return self._workers.gathered(seed)[0]

    def check(self, settings: Config, is_pooled: bool) -> None:
        """Raises if the workers can't have the chains of one posterior.

        Raises:
            ValueError: if they have other data or arguments, or chains move all
                at once.
        """
        count = self._workers.count
        if is_pooled and count > 1:
            raise ValueError(
                '`kernel` must be "nuts", "hmc" or "mclmc" where workers share '
                "the chains: those of the others learn from each other. "
                f"Received: kernel={settings['kernel']!r}, and {count} workers"
            )
        self._workers.check_same(settings)

    def own(self, groups: list[Chains]) -> list[Chains]:
        """Returns those of all chains that this worker has."""
        return groups[self._workers.index :: self._workers.count]

    def path(self, checkpoint: Any) -> Any:
        """Returns the path of this worker's file."""
        if self._workers.count == 1:
            return checkpoint
        path = pathlib.Path(checkpoint)
        return path.with_name(f"{path.name}.{self._workers.index}")

    def joined(
        self, run: Callable[[], tuple[Sequence[Trace | None], bool]]
    ) -> tuple[list[Trace | None], bool]:
        """Runs each worker's chains; returns all draws, and if all are done."""
        found = self._workers.together(run)
        traces = interleaved([traces for traces, _ in found])
        return traces, all(finished for _, finished in found)
