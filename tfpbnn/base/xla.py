"""Functions compiled by XLA, and by TensorFlow alone where XLA can't."""

import warnings
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfpbnn.base.programs import compiled_graph
from tfpbnn.base.types import Tensor

# What TensorFlow raises if XLA does not know an operation or its shapes.
_REFUSED = (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError)


def run_as_graph(function: Callable[..., Any], *arguments: Any) -> Any:
    """Runs a function as a graph that serves once.

    Where a `tf.function` is called that was made for this call, TensorFlow
    warns of retracing from the fifth call on, which users can't help.

    Args:
        function: of tensors, and of structures of them.
        arguments: what it is given.
    """
    graph = tf.function(function, autograph=False)
    return graph.get_concrete_function(*arguments)(*arguments)


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
        """The function of tensors, compiled at its first call of each shape.

        It is an ordinary graph as long as XLA has not taken it.

        Errors of the function itself are raised as they are: they come from
        the ordinary graph too.
        """

        def called(*arguments: Any) -> Any:
            return function(*arguments)  # and so by its defaults

        traced = tf.function(
            called, jit_compile=self._with_xla, autograph=False
        )
        plain = tf.function(called, autograph=False)
        chosen: dict[Any, Callable[..., Any]] = {}

        def run(*arguments: Any) -> Any:
            specs = tf.nest.map_structure(_spec, arguments)
            key = tuple(tf.nest.flatten(specs))
            if key in chosen:
                return chosen[key](*arguments)
            graph = traced.get_concrete_function(*specs)
            program = compiled_graph(graph) if self._with_xla else graph
            try:
                found = program(*arguments)
            except _REFUSED as error:
                program = plain.get_concrete_function(*specs)
                found = program(*arguments)
                self._warn(error)
            chosen[key] = program
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


def _spec(tensor: Tensor) -> tf.TensorSpec:
    return tf.TensorSpec(tensor.shape, tensor.dtype)
