"""Recurrent layers are written out step by step, without a loop."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from tfpbnn.base.keras_private import held_layers
from tfpbnn.networks.calls import Graph
from tfpbnn.networks.reading import can_read
from tfpbnn.networks.stand_ins import Attributes, StandIns, calling
from tfpbnn.particles import Posterior

# How Keras begins to say that it does not know the number of steps.
_UNKNOWN = "Cannot unroll"


@contextlib.contextmanager
def unrolled(model: Any) -> Iterator[bool]:
    """Traces the recurrent layers of a posterior step by step.

    Keras's loops keep their outputs in lists of tensors with an open number of
    rows, which LiteRT does not have, nor ONNX but for an LSTM's.

    Yields:
        Whether there are such layers.

    Raises:
        ValueError: if the number of their steps is not known.
    """
    networks = model.templates() if isinstance(model, Posterior) else [model]
    try:
        with calling(StandIns(_unrolled)):
            yield any(map(_recurrent, networks))
    except ValueError as error:
        if _UNKNOWN not in str(error):
            raise
        names = [name for n in networks for name in _open(n)]
        raise ValueError(
            "`posterior` must have a fixed number of time steps for formats "
            "without loops, as with keras.Input((steps, features)). Received: "
            f"the recurrent layers {names}, which take any number. Use "
            'format="savedmodel", or make a model with steps and give it the '
            "weights of this one."
        ) from error


def _unrolled(layer: Any) -> Attributes:
    """Returns what differs in the stand-in of a recurrent layer."""
    if not isinstance(layer, keras.layers.RNN):
        return {}
    if not layer.go_backwards:
        return {"unroll": True}
    return {"unroll": True, "go_backwards": False, "inner_loop": _backwards}


def _backwards(
    rnn: keras.layers.RNN,
    sequences: Any,
    initial_state: Any,
    mask: Any,
    training: bool = False,
) -> Any:
    """Goes backwards in time, as steps forwards on what is turned around.

    Keras (3.15), if it unrolls backwards, takes the mask of its outputs as it
    is forwards.
    """

    def flip(leaf: Any) -> Any:
        return None if leaf is None else keras.ops.flip(leaf, axis=1)

    sequences, mask = keras.tree.map_structure(flip, (sequences, mask))
    return type(rnn).inner_loop(
        rnn, sequences, initial_state, mask, training=training
    )


def _open(network: keras.Model) -> list[str]:
    """Names recurrent layers whose inputs have an open size, or may have."""
    if not can_read(network):
        return [layer.name for layer in _recurrent(network)]
    return [
        call.op.name
        for call in Graph(network).calls
        if isinstance(call.op, keras.layers.Layer)
        and _recurrent(call.op)
        and None in call.inputs[0].shape[1:]
    ]


def _recurrent(layer: keras.layers.Layer) -> list[keras.layers.RNN]:
    parts = [layer, *held_layers(layer)]
    return [part for part in parts if isinstance(part, keras.layers.RNN)]
