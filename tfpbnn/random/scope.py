"""What random layers and `predict` say to each other about draws.

A `DrawScope` tells the layers that are called inside of it which draws to use,
and a layer's `Drawing` tells what it can do in a scope.
"""

import contextlib
import dataclasses
import threading
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tfpbnn.base.types import Tensor
from tfpbnn.random.keys import fold

# Above the indices of layers.
_POSTERIORS = 2**30


@dataclasses.dataclass(frozen=True)
class Drawing:
    """What a layer can do in a draw scope.

    All but the first two may depend on the shape of the inputs.

    Attributes:
        is_random: whether its outputs differ between draws of one input.
        num_draws: how many draws differ; None if there is no end of them.
        can_stack: whether it takes S draws at once.
        can_be_marginal: whether it takes draws of each row's own, and each
            row's outputs then have their exact distribution.
        has_output_noise: whether noise on the outputs, which the layer's
            method `output_noise` describes, can stand for its weights in mixed
            draws.
        num_normals: how many normals the weights of one draw take.
    """

    is_random: bool = True
    num_draws: int | None = None
    can_stack: bool = False
    can_be_marginal: bool = False
    has_output_noise: bool = False
    num_normals: int = 0


class DrawScope:
    """Tells every random layer called inside which draws to use.

    A layer takes its key from the scope's and from its own index: the order of
    first call inside the scope, so a layer that is called twice gets the same
    draw, and draws don't depend on the process. There are four kinds of scope:

    - *mean*: `key` is None, and layers use their posterior means;
    - *coherent*, looped: `key [2]` is that of one draw, with the same weights
      for all rows;
    - *coherent*, stacked: `key [S, 2]` has those of S draws at once. Layers
      give `[S * B, ...]`, draw by draw, from inputs that are stacked likewise,
      or `[B, ...]` if `is_shared`;
    - *marginal*: the same with `rows [B]`, and each row has draws of its own.
      The key may be `[S, B, 2]`, one for each row.

    *Mixed* draws are coherent ones, in which layers that the scope knows an
    `OutputNoise` of draw their outputs, each row's apart.

    Attributes:
        key: as above.
        rows: the indices of the rows.
        is_shared: whether the layer that is called next is given `[B, ...]`.
        signs: of the noise of antithetic draws, 1 or -1, `[S]` (`[1]` for one
            draw); None if all are 1.
        known: what was computed for an object before the draws, by its id.
        indices: those of the draws, a number or `[S]`; None if they have none.
    """

    def __init__(
        self,
        key: Tensor | None,
        rows: Tensor | None = None,
        signs: Tensor | None = None,
        known: dict[int, Any] | None = None,
        indices: Tensor | None = None,
    ):
        self.key = key
        self.rows = rows
        self.signs = None if signs is None else tf.reshape(signs, [-1])
        self.is_shared = False
        self.known = known or {}
        self.indices = indices
        self._layers: dict[int, int] = {}
        self._posteriors: dict[int, int] = {}

    @property
    def is_stacked(self) -> bool:
        """Whether the scope has several draws at once."""
        return self.key is not None and len(self.key.shape) > 1

    def key_for(self, layer: Any) -> Tensor | None:
        """The key of a layer's draws, like the scope's; None for the means."""
        index = self._layers.setdefault(id(layer), len(self._layers))
        return None if self.key is None else fold(self.key, index)

    def key_for_posterior(self, posterior: Any) -> Tensor | None:
        """The key of a posterior over a whole network; None for its means.

        The first one's is the scope's own: alone, or within another model, it
        has the same draws.
        """
        index = self._posteriors.setdefault(
            id(posterior), len(self._posteriors)
        )
        if self.key is None or index == 0:
            return self.key
        return fold(self.key, _POSTERIORS + index)


_local = threading.local()


def current_scope() -> DrawScope | None:
    """The innermost open `DrawScope` of this thread."""
    return getattr(_local, "scope", None)


def known(owner: Any) -> Any:
    """What the current scope knows of an object; None if nothing."""
    scope = current_scope()
    return None if scope is None else scope.known.get(id(owner))


def signs_of_draws() -> Tensor | None:
    """The signs of the noise of the current scope's draws; None for all 1."""
    scope = current_scope()
    return None if scope is None else scope.signs


def signed(noise: Tensor) -> Tensor:
    """Noise with the signs of the current scope's antithetic draws.

    A unit that is dropped by a normal below the threshold for its rate is as
    often dropped by minus that normal, and other ones then.

    Args:
        noise: symmetric about 0, `[S, ...]`, or of any shape for one draw.
    """
    signs = signs_of_draws()
    if signs is None:
        return noise
    shape = ([-1] + [1] * len(noise.shape))[: len(noise.shape)]
    return noise * tf.cast(tf.reshape(signs, shape), noise.dtype)


@contextlib.contextmanager
def entered(scope: DrawScope) -> Iterator[DrawScope]:
    """Makes a scope that of the layers called inside."""
    outer = current_scope()
    _local.scope = scope
    try:
        yield scope
    finally:
        _local.scope = outer


def draw_scope(
    key: Tensor | None,
) -> contextlib.AbstractContextManager[DrawScope]:
    """A scope for one draw, or for the means, of all layers called inside."""
    return entered(DrawScope(key))
