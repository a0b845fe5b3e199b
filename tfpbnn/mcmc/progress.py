"""The progress bar of chains."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfpbnn.base import progress
from tfpbnn.mcmc.chains import Chains


class ChainBar:
    """Keras's bar, with the state of the chains beside it.

    It shows the mean step size and acceptance of the chains' last steps, how
    many steps after warm-up diverged, and the mean depth of trees.
    """

    def __init__(self, verbose: Any, total: int):
        self._verbose = verbose
        self._total = total
        self.begin(0)

    def begin(self, done: int) -> None:
        """Starts the clock, by which the time that is left is estimated.

        Args:
            done: steps that were made before, which took no time now.
        """
        self._bar = progress.Bar(self._verbose)
        self._bar.expect(self._total - done)
        self._done = done

    def show(self, groups: Sequence[Chains]) -> None:
        """Brings the bar to where the chains are."""
        done = sum(group.done for group in groups)
        last = [group.last for group in groups if group.last is not None]
        if done > self._done and last:
            gradients = np.concatenate([t.num_gradients[-1] for t in last])
            values = {
                "step_size": _mean([t.step_size[-1] for t in last]),
                "acceptance": _mean([t.acceptance.mean() for t in last]),
                "tree_depth": _mean(np.log2(gradients + 1)),
                "divergences": sum(group.num_divergent for group in groups),
            }
            self._bar.step(done - self._done, values)
            self._done = done

    def close(self) -> None:
        """Ends the line."""
        self._bar.close()


def _mean(values: Any) -> float:
    return float(np.mean(values))
