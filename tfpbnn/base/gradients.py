"""Lets custom gradients go with their graphs, which TensorFlow keeps for ever.

In a graph, `tf.custom_gradient` writes its function into a registry of names,
and never takes it out again; the function holds the tensors of the graph, and
these the graph with all constants in it. Keras's optimizers have one in every
step of `fit`, and so no trained model would leave its graph behind: a few
megabytes each, in a loop over hundreds of models all memory.
"""

import inspect
import weakref
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.ops import gradient_registry

_NAMES = "CustomGradient-"
# Graphs that are made of a graph, and files, take only what strings name.
_COLLECTION = ("tfpbnn", "gradients")


def release() -> None:
    """Ties all custom gradients in the registry to the graphs they are of.

    As long as a graph is there, its gradients are; with it they are freed, and
    their names leave the registry. What TensorFlow does not keep as expected
    stays as it is.

    TensorFlow has no public way to take a gradient out, nor to write one that
    is not registered: `tf.custom_gradient` always registers.
    """
    entries = getattr(gradient_registry, "_registry", {})
    # Of names alone, since pairs are objects: to make one may begin a garbage
    # collection, which takes names out in the midst of the loop.
    for name in [name for name in list(entries) if name.startswith(_NAMES)]:
        entry = entries.get(name, {})
        function = entry.get("type")
        if isinstance(function, _OfGraph):
            continue
        graph = _graph_of(function)
        if isinstance(graph, tf.Graph):
            graph.get_collection_ref(_COLLECTION).append(function)
            entry["type"] = _OfGraph(function)
            weakref.finalize(function, entries.pop, name, None).atexit = False


class _OfGraph:
    """A gradient that is there as long as its graph."""

    def __init__(self, function: Callable[..., Any]):
        self._function = weakref.ref(function)

    def __call__(self, *arguments: Any) -> Any:
        function = self._function()
        assert function is not None, "its graph is gone, and who calls it?"
        return function(*arguments)


def _graph_of(function: Callable[..., Any]) -> Any:
    """Finds the graph of the tensors that a gradient is computed from."""
    try:
        inner = inspect.getclosurevars(function).nonlocals["tape_grad_fn"]
        results = inspect.getclosurevars(inner).nonlocals["result"]
        return tf.nest.flatten(results, expand_composites=True)[0].graph
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return None
