"""Makes packed ensembles of the shape of plain Keras models."""

import re
from typing import Any

import keras

from tfpbnn import layers as layer_classes
from tfpbnn.base import checks, registry
from tfpbnn.ensembles.one_network.members import MemberModel
from tfpbnn.ensembles.one_network.splits import Splits, is_kernel, last_config
from tfpbnn.networks import copying, reading
from tfpbnn.networks.calls import Call, Graph
from tfpbnn.networks.rewriting import (
    NewLayers,
    Place,
    name_of,
    rewrite,
)

# What does the same to all channels, or to each one by itself.
_BY_CHANNEL = re.compile(
    r"Activation|Add|Average|BatchNormalization|Cropping\dD|"
    r"DepthwiseConv\dD|Dropout|ELU|GaussianDropout|GaussianNoise|"
    r"(Global)?(Average|Max)Pooling\dD|Identity|LeakyReLU|Maximum|Minimum|"
    r"Multiply|PReLU|ReLU|SpatialDropout\dD|Subtract|UpSampling\dD|"
    r"ZeroPadding\dD"
)
_ACROSS_CHANNELS = (keras.activations.softmax, keras.activations.log_softmax)


@registry.register("ensembles")
class PackedEnsemble(MemberModel):
    """A model whose channels are in groups, which are members.

    `to_packed_ensemble` makes such models. It can be made of inputs and outputs
    too, with layers such as `tfpbnn.layers.PackedDense`.

    `fit` takes the mean of the members' losses. `predict` and `evaluate` are of
    the mean of their outputs, and `tfpbnn.predict` gives one draw for each
    member; all from one pass.

    Example:
    ```python
    inputs = keras.Input((4,))
    hidden = tfpbnn.layers.PackedDense(
        32, "relu", num_members=4, first=True
    )(inputs)
    outputs = tfpbnn.layers.PackedDense(2, num_members=4, last=True)(hidden)
    outputs = tfpbnn.layers.SplitMembers(num_members=4)(outputs)
    ensemble = tfpbnn.ensembles.PackedEnsemble(inputs, outputs)
    ensemble.compile("adam", loss=tfpbnn.likelihoods.Normal())
    ensemble.fit(x, y, verbose=0)
    ```

    Reference:
        [Laurent et al., 2023](https://arxiv.org/abs/2210.09184)
    """


def to_packed_ensemble(
    model: keras.Model,
    num_members: int,
    alpha: float = 2.0,
    gamma: int = 1,
) -> PackedEnsemble:
    """Makes an ensemble of small networks of a model's shape, in one network.

    `Dense` becomes `PackedDense`, `Conv2D` a `PackedConv2D`, and so on. What
    comes before them stays; the last ones, of which the outputs are, give those
    of each member. Weights from the first of them on are new: members are
    smaller networks. A compiled model's copy is compiled likewise.

    Args:
        model: a built Functional or Sequential model, which is not changed.
        num_members: how many members there are, a positive integer.
        alpha: how many times as wide as the model all members together are.
        gamma: groups of channels in each member.

    Raises:
        TypeError: if `model` is subclassed.
        ValueError: if `model` is not built, has layers that would mix channels
            of members (as LayerNormalization, attention, Concatenate;
            the message names them), or outputs that are not those of dense
            layers or convolutions, or as `tfpbnn.layers.PackedDense`.

    Example:
    ```python
    plain = keras.Sequential([
        keras.Input((4,)),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(1),
    ])
    plain.compile("adam", loss="mse")
    ensemble = tfpbnn.ensembles.to_packed_ensemble(plain, num_members=4)
    ensemble.fit(x, y, verbose=0)
    tfpbnn.predict(ensemble, x).num_samples                      # 4
    ```

    Reference:
        [Laurent et al., 2023](https://arxiv.org/abs/2210.09184)
    """
    reading.check_readable(model)
    checks.positive_integer("num_members", num_members)
    graph = Graph(model)
    packing = _Packing(graph, num_members, alpha, gamma)
    ensemble = rewrite(model, PackedEnsemble, packing.visit, graph=graph)
    copying.copy_compiled(model, ensemble)
    return ensemble


class _Packing:
    """Knows which tensors have channels of members, and what layers become."""

    def __init__(
        self, graph: Graph, num_members: int, alpha: float, gamma: int
    ):
        self._splits = Splits(graph, num_members)
        self._arguments: dict[str, Any] = {
            "num_members": num_members,
            "alpha": alpha,
            "gamma": gamma,
        }
        self._packed: set[int] = set()
        self._copier = copying.Copier()
        # Whether a layer is the first, by its id.
        self._is_first: dict[int, bool] = {}

    def visit(self, call: Call, new: NewLayers) -> Place:
        op = call.op
        packed = {id(x) in self._packed for x in call.inputs}
        is_as_it_was = packed == {False} and not is_kernel(op)
        if self._splits.are_rows(call) or is_as_it_was:
            return Place(new.copy(op))
        self._check(call, packed)
        self._is_first[id(op)] = packed == {False}
        is_layer = isinstance(op, keras.layers.Layer)
        layer = new.make(op, self._make) if is_layer else op
        if id(op) in self._splits.last:
            return Place(layer, after=self._splits.after(op))
        self._packed.update(id(y) for y in call.outputs)
        return Place(layer)

    def _make(self, layer: Any) -> Any:
        if isinstance(layer, keras.layers.Flatten):
            groups = self._arguments["num_members"] * self._arguments["gamma"]
            return layer_classes.PackedFlatten(
                groups, name=layer.name, dtype=layer.dtype_policy
            )
        if not is_kernel(layer):  # of other channels
            return self._copier(layer)
        cls: Any = getattr(layer_classes, f"Packed{type(layer).__name__}")
        is_last = id(layer) in self._splits.last
        config = last_config(layer) if is_last else layer.get_config()
        config = copying.arguments(config, cls)
        first = self._is_first[id(layer)]
        return cls.from_config(
            config | self._arguments | {"first": first, "last": is_last}
        )

    def _check(self, call: Call, packed: set[bool]) -> None:
        """Raises if a call would mix channels of members."""
        op, reason = call.op, ""
        if packed == {True, False}:
            reason = "takes channels of members together with others"
        elif is_kernel(op):
            first = self._is_first.get(id(op), packed == {False})
            if first != (packed == {False}):
                reason = "is used on channels of members and on others"
            elif getattr(op, "groups", 1) != 1:
                reason = "has groups of its own"
        elif isinstance(op, keras.Operation):  # else the way into a model
            known = _BY_CHANNEL.fullmatch(type(op).__name__)
            across = getattr(op, "activation", None) in _ACROSS_CHANNELS
            is_flatten = isinstance(op, keras.layers.Flatten)
            if not (known or is_flatten) or across:
                reason = "would mix channels of members"
        if getattr(op, "data_format", None) == "channels_first":
            reason = 'has data_format="channels_first"'
        if reason:
            raise ValueError(
                f"{name_of(call)} of `model` {reason}, and so can't be packed."
            )
