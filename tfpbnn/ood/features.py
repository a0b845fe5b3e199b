"""Reads the outputs of a layer, as rows of features, of any posterior."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np

from tfpbnn.base import checks, data
from tfpbnn.base.types import Array
from tfpbnn.networks import missing, reading
from tfpbnn.networks.calls import Call, Graph
from tfpbnn.networks.posterior import Posterior
from tfpbnn.particles import draw_function
from tfpbnn.posteriors.batch_norm import batch_norms

# What becomes of the features of several members.
JOINTS = ("concatenate", "average")
_POOLS = {
    3: keras.layers.GlobalAveragePooling1D,
    4: keras.layers.GlobalAveragePooling2D,
    5: keras.layers.GlobalAveragePooling3D,
}


class Batch(NamedTuple):
    """Features of some rows, with what a dataset brought with them.

    Attributes:
        features: `[n, D]`, in float64.
        y: targets, or None.
        weights: sample weights, or None.
    """

    features: Array
    y: Any
    weights: Any


class Features:
    """The features `[N, D]` that a layer of a posterior gives of inputs.

    They are at the posterior means, without dropout. Positions in time or space
    are averaged, those that a mask hides left out.

    Attributes:
        layer: the name of the layer.
    """

    def __init__(self, model: Any, layer: str | None, members: str):
        """Makes the networks that end at the layer.

        Args:
            model: any built model or posterior.
            layer: the name of a layer, whose outputs are taken; None for the
                inputs of the last layer that has a kernel.
            members: "concatenate" or "average", for several members.

        Raises:
            TypeError: if the layers' graph is unknown, or no network stands
                for the posterior's draws.
            ValueError: if there is no such layer, or it has several outputs.
        """
        checks.one_of("members", members, JOINTS)
        self.model = model
        self._members = members
        networks = networks_of(model)
        reading.check_readable(networks[0])
        self.layer = layer or _last_with_kernel(networks[0])
        self._networks = [_end(one, layer, self.layer) for one in networks]

    def batches(self, x: Any, batch_size: int) -> Iterator[Batch]:
        """Yields the features of one batch after the other.

        Args:
            x: the inputs, in any form that `predict` takes.
            batch_size: the number of rows at once, unless x has batches.

        Raises:
            ValueError: if inputs are NaN or infinite and features so too, or
                if there are no rows.
        """
        network = self._networks[0]
        if not data.is_stream(x):
            names = reading.input_names(network)
            x = data.as_rows("x", x, names, is_finite=False)
            x = reading.by_input(network, x)
        is_empty = True
        for inputs, y, weights in data.weighted_batches(x, batch_size):
            is_empty = False
            inputs = reading.by_input(network, inputs)
            for each in self._networks:
                missing.check_inputs(each, inputs)
            yield Batch(self._of_batch(inputs), y, weights)
        if is_empty:
            raise ValueError("`x` must have rows. Received: no batches")

    def _of_batch(self, x: Any) -> Array:
        found = [
            np.asarray(draw_function(network, x).mean(x), np.float64)
            for network in self._networks
        ]
        stack = np.concatenate(found)  # [M, n, D]
        if self._members == "average":
            return stack.mean(axis=0)
        return np.concatenate(list(stack), axis=-1)


def networks_of(model: Any) -> list[Any]:
    """Lists the networks that stand for a posterior's draws.

    Raises:
        TypeError: if there are none.
        ValueError: if the posterior lacks statistics of its BatchNorm layers.
    """
    if not isinstance(model, Posterior):
        reading.check_built(model)
        return [model]
    members = getattr(model, "members", None)
    if members is not None:
        return list(members)
    if not model.has_mean:
        raise TypeError(
            "`model` must be a network, an ensemble, or a posterior with a "
            f"mean. Received: {type(model).__name__}, of which no network "
            "stands for all draws. Pass one network, such as the one that it "
            "began with"
        )
    network = model.template()
    if batch_norms(network) and not getattr(model, "has_statistics", True):
        raise ValueError(
            "`model` must have the statistics of its BatchNorm layers: call "
            "`tfpbnn.ensembles.update_batch_norm(model, x)` first. Received: "
            f"{type(model).__name__} without them"
        )
    return [network]


def _end(model: Any, given: str | None, name: str) -> keras.Model:
    """Makes the network from the inputs to the pooled features."""
    found = list(_ends(model, given, name))
    if len(found) != 1:
        words = "is called several times" if found else "isn't there"
        raise ValueError(
            "`layer` must be the name of a layer that the model calls once. "
            f"Received: layer={name!r}, which {words}; the model has "
            f"{_names(model)}"
        )
    layer, network = found[0]
    if len(network.outputs) != 1:
        raise ValueError(
            "`layer` must have one tensor for its features. Received: "
            f"layer={name!r}, with {len(network.outputs)}. Name another "
            f"layer: the model has {_names(model)}"
        )
    return keras.Model(network.input, _pooled(layer, network.outputs[0]))


def _ends(
    model: Any, given: str | None, name: str
) -> Iterator[tuple[Any, keras.Model]]:
    """Yields each layer of that name that is called, with the network to it.

    The layers may be of a model in the model.
    """
    # Not by `layer.output`, which may be of another model with this layer.
    graph = Graph(model, opened=False)
    inputs = keras.tree.pack_sequence_as(reading.input_of(model), graph.inputs)
    for call in graph.calls:
        if _name(call) == name:
            ends = call.outputs if given else call.inputs
            yield call.op, keras.Model(inputs, ends)
        elif reading.can_read(call.op):
            for layer, network in _ends(call.op, given, name):
                ends = network(*call.args, **call.kwargs)
                yield layer, keras.Model(inputs, keras.tree.flatten(ends))


def _pooled(layer: Any, output: keras.KerasTensor) -> keras.KerasTensor:
    pool = _POOLS.get(len(output.shape))
    if pool is not None:
        return pool(data_format=getattr(layer, "data_format", None))(output)
    if len(output.shape) < 2:
        return keras.layers.Reshape((1,))(output)
    return output if len(output.shape) == 2 else keras.layers.Flatten()(output)


def _name(call: Call) -> str | None:
    """Returns the name of the layer that is called; None for an operation."""
    is_layer = isinstance(call.op, keras.layers.Layer)
    return call.op.name if is_layer else None


def _names(model: Any) -> list[str]:
    """Lists the layers that are called, also of models in the model."""
    return [name for name in map(_name, Graph(model).calls) if name]


def _last_with_kernel(model: Any) -> str:
    for call in reversed(Graph(model).calls):
        name, weights = _name(call), getattr(call.op, "weights", ())
        if name and any(len(weight.shape) > 1 for weight in weights):
            return name
    raise ValueError(
        "`layer` must be named where no layer has a kernel. The model has "
        f"{_names(model)}"
    )
