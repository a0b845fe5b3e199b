"""Which draws the random layers that are called inside are to use."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from tfpbnn.base.types import Tensor
from tfpbnn.random.keys import fold


class DrawScope:
    """Tells every random layer called inside which draws to use.

    A layer takes its key from the scope's and from its own number: the order
    of first call inside the scope, so a layer that is called twice gets the
    same draw, and the numbers don't depend on the process. There are four
    kinds of scope:

    - `key` is None: layers use their posterior means;
    - `key [2]`: one draw, the same kernel for all rows;
    - `key [S, 2]`: S draws at once. Layers give `[S * B, ...]`, draw by draw,
      from inputs that are stacked likewise, or `[B, ...]` if `is_shared`;
    - `key [S, 2]` and `rows [B]`: the same, but each row has draws of its own.
      The key may be `[S, B, 2]`, one for each row.

    Attributes:
        key: as above.
        rows: the numbers of the rows.
        is_shared: whether the layer that is called next is given `[B, ...]`.
        signs: of the noise, 1 or -1, `[S]` or a number; None for 1.
        known: what was computed for an object before the draws, by its id.
        numbers: of the draws, a number or `[S]`; None if they have none.
        num_layers: how many random layers have asked so far.
    """

    def __init__(
        self,
        key: Tensor | None,
        rows: Tensor | None = None,
        signs: Tensor | None = None,
        known: dict[int, Any] | None = None,
        numbers: Tensor | None = None,
    ):
        self.key = key
        self.rows = rows
        self.signs = signs
        self.is_shared = False
        self.known = known or {}
        self.numbers = numbers
        self._layers: dict[int, int] = {}

    @property
    def is_stacked(self) -> bool:
        return self.key is not None and len(self.key.shape) > 1

    @property
    def num_layers(self) -> int:
        return len(self._layers)

    def key_for(self, layer: Any) -> Tensor | None:
        number = self._layers.setdefault(id(layer), len(self._layers))
        return None if self.key is None else fold(self.key, number)


_local = threading.local()


def current_scope() -> DrawScope | None:
    """The innermost open `DrawScope` of this thread."""
    return getattr(_local, "scope", None)


def known(owner: Any) -> Any:
    """What the current scope knows of an object; None if nothing."""
    scope = current_scope()
    return None if scope is None else scope.known.get(id(owner))


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
