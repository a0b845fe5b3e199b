"""Functions compiled by XLA, and by TensorFlow alone where XLA can't."""

import warnings
from collections.abc import Callable
from typing import Any

import tensorflow as tf

# What TensorFlow raises if XLA does not know an operation or its shapes.
_REFUSED = (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError)


class Compiler:
    """Compiles functions of one model by XLA, as long as XLA takes them.

    The first function that XLA refuses gives a warning. It and all others are
    ordinary graphs from then on.
    """

    def __init__(self) -> None:
        self._is_refused = False

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, compiled at its first call.

        Errors of the function itself are raised as they are: they come from
        the ordinary graph too.
        """
        fast = tf.function(function, jit_compile=True, autograph=False)
        plain = tf.function(function, autograph=False)

        def run(*arguments: Any) -> Any:
            if self._is_refused:
                return plain(*arguments)
            try:
                return fast(*arguments)
            except _REFUSED as error:
                found = plain(*arguments)
                self._is_refused = True
                reason = str(error).strip().splitlines()[0]
                warnings.warn(
                    "XLA can't compile this model, so its chains run without "
                    f"it, which is slower: {reason}",
                    stacklevel=2,
                )
                return found

        return run
