"""Functions compiled by XLA, and by TensorFlow alone where XLA can't."""

import warnings
from collections.abc import Callable
from typing import Any

import tensorflow as tf

# What TensorFlow raises if XLA does not know an operation or its shapes.
_REFUSED = (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError)


class Compiler:
    """Compiles functions of one model by XLA, each if XLA takes it.

    A function that XLA refuses is an ordinary graph from then on. The first
    one gives a warning.
    """

    def __init__(self, with_xla: bool = True):
        """Begins with no function.

        Args:
            with_xla: False for functions of several devices, which XLA does
                not know: all are ordinary graphs.
        """
        self._with_xla = with_xla
        self._has_warned = False

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, compiled at its first call.

        Errors of the function itself are raised as they are: they come from
        the ordinary graph too.
        """
        chosen = tf.function(
            function, jit_compile=self._with_xla, autograph=False
        )

        def run(*arguments: Any) -> Any:
            nonlocal chosen
            try:
                return chosen(*arguments)
            except _REFUSED as error:
                chosen = tf.function(function, autograph=False)
                found = chosen(*arguments)
                self._warn(error)
                return found

        return run

    def _warn(self, error: Exception) -> None:
        if self._has_warned:
            return
        self._has_warned = True
        warnings.warn(
            "XLA can't compile this model, so its chains run without it, "
            f"which is slower: {str(error).strip().splitlines()[0]}",
            stacklevel=3,
        )
