"""Does several training steps in one call, where nobody looks between.

Keras returns to Python after each step, which takes as long as the step of a
small network. Its `steps_per_execution` is the number of steps in a call.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base.kept import kept_with
from tfpbnn.networks.calls import Call, Graph
from tfpbnn.networks.reading import can_read, layers_of, size

# The most steps, and floating-point operations, of one call. They take a second
# or less, after which the bar moves and an interrupt is heard.
_MOST_STEPS = 32
_MOST_FLOPS = 2**36
# The work for the product of a weight and an input: forward, two gradients.
_FLOPS_PER_PRODUCT = 6
_BATCH_HOOKS = (
    "on_batch_begin",
    "on_batch_end",
    "on_train_batch_begin",
    "on_train_batch_end",
    "on_test_batch_begin",
    "on_test_batch_end",
)


class StepsPerCall:
    """A mixin that keeps compiled functions by their number of steps.

    Keras keeps only one function of a kind, for the number at its making.
    """

    def make_train_function(self, force: bool = False) -> None:
        self._take("train_function", super().make_train_function, force)  # type: ignore[misc]

    def make_test_function(self, force: bool = False) -> None:
        self._take("test_function", super().make_test_function, force)  # type: ignore[misc]

    def _take(self, name: str, make: Any, force: bool) -> None:
        kept = self.__dict__.get("_functions_by_steps", {})
        if force or getattr(self, name) is None:  # as after `compile`
            kept = {key: value for key, value in kept.items() if key[0] != name}
        key = name, self.steps_per_execution  # type: ignore[attr-defined]
        if key not in kept:
            make(force=True)
            kept[key] = getattr(self, name)
        setattr(self, name, kept[key])
        # Keras would look for layers among a model's attributes.
        object.__setattr__(self, "_functions_by_steps", kept)


@contextlib.contextmanager
def several(
    model: Any, given: dict[str, Any], networks: Sequence[Any], copies: int = 1
) -> Iterator[None]:
    """Lets `fit` do several steps in a call, if that changes no result.

    Nothing is done if the user compiled with a number of steps, if callbacks
    look at batches, if replicas or eager runs are asked for, or if the end of
    the data isn't known.

    Args:
        model: the model whose `fit` is called inside.
        given: the arguments of `fit`, by name.
        networks: the models whose calls tell how much work a row is. This is
            the model itself, unless it stands for others.
        copies: the number of copies of each network.
    """
    count = _steps_at_once(model, given, networks, copies)
    if count < 2:
        yield
        return
    model.steps_per_execution = count
    try:
        yield
    finally:
        model.steps_per_execution = 1


def _steps_at_once(
    model: Any, given: dict[str, Any], networks: Sequence[Any], copies: int
) -> int:
    rows = _rows(given)
    is_open = rows and _is_plain(model) and _is_unseen(given)
    if not (is_open and all(map(can_read, networks))):
        return 1
    batch_size = given.get("batch_size") or 32
    steps = math.ceil(rows / batch_size)
    per_row = sum(_flops_per_row(network, given["x"]) for network in networks)
    flops = copies * per_row * min(rows, batch_size)
    most = min(steps, _MOST_STEPS, _MOST_FLOPS // max(1, flops))
    if given.get("verbose", "auto") in (0, 2):
        return most
    # The bar ends at the last step, not beyond it.
    return max((n for n in range(1, most + 1) if steps % n == 0), default=1)


def _rows(given: dict[str, Any]) -> int:
    """Counts the rows of an epoch; 0 unless all data are arrays, seen whole.

    If less than an epoch is asked for, several steps would go beyond it.
    """
    limits = [given.get("steps_per_epoch"), given.get("validation_steps")]
    # Older versions of Keras have no limit of their own.
    limit = getattr(keras.config, "max_steps_per_epoch", lambda: None)
    if any(limits) or limit():
        return 0
    data = given.get("x"), given.get("validation_data")
    leaves = [leaf for leaf in keras.tree.flatten(data) if leaf is not None]
    shapes = [tuple(getattr(leaf, "shape", ())) for leaf in leaves]
    if not all(shape and None not in shape for shape in shapes):
        return 0
    return math.floor(shapes[0][0] * (1 - (given.get("validation_split") or 0)))


def _is_plain(model: Any) -> bool:
    return (
        getattr(model, "compiled", False)
        and model.steps_per_execution == 1
        and not model.run_eagerly
        and not tf.distribute.has_strategy()
        and model.distribute_strategy.num_replicas_in_sync == 1
    )


def _is_unseen(given: dict[str, Any]) -> bool:
    """Says whether no callback looks at batches."""
    callbacks = given.get("callbacks")
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return False
    return not any(map(_sees_batches, keras.tree.flatten(callbacks)))


def _sees_batches(callback: Any) -> bool:
    if callback is None or getattr(callback, "save_freq", None) == "epoch":
        return False
    return any(
        getattr(getattr(callback, name), "__func__", None)
        is not getattr(keras.callbacks.Callback, name)
        for name in _BATCH_HOOKS
    )


def _flops_per_row(network: Any, x: Any) -> int:
    graph = _graph_of(network)
    unknown = graph.unknown_size(x)
    return _FLOPS_PER_PRODUCT * sum(
        _positions(call, unknown) * _kernel_size(call) for call in graph.calls
    )


def _graph_of(network: Any) -> Graph:
    """Reads a model once, and anew when its layers were exchanged.

    To read a deep model takes as long as many of its steps.
    """
    layers = layers_of(network)
    kept = kept_with(network, "steps_per_call")
    if not _are_same(kept.get("layers", ()), layers):
        kept.update(layers=layers, graph=Graph(network))
    graph: Graph = kept["graph"]
    return graph


def _are_same(some: Sequence[Any], others: Sequence[Any]) -> bool:
    pairs = zip(some, others, strict=False)
    return len(some) == len(others) and all(a is b for a, b in pairs)


def _positions(call: Call, unknown: int) -> int:
    """Counts a row's places (times, pixels) at which weights are used."""
    tensors = [*call.inputs, *call.outputs]
    return max((size(t.shape[1:-1], unknown) for t in tensors), default=1)


def _kernel_size(call: Call) -> int:
    # Also of frozen ones, such as those that adapters are around.
    variables = getattr(call.op, "variables", ())
    return sum(math.prod(v.shape) for v in variables if len(v.shape) > 1)
