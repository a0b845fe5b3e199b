"""Makes MIMO networks, whose members are several inputs and outputs of one."""

from typing import Any

import keras

from tfpbnn.base import registry
from tfpbnn.ensembles.one_network.members import MemberModel
from tfpbnn.ensembles.one_network.splits import Splits, last_config
from tfpbnn.layers import JoinMembers
from tfpbnn.networks import copying, reading, states
from tfpbnn.networks.calls import Call, Graph
from tfpbnn.networks.reading import layers_of
from tfpbnn.networks.rewriting import NewLayers, Place, name_of, rewrite


@registry.register("ensembles")
class MIMO(MemberModel):
    """A network that takes an input and gives an output for each member.

    `to_mimo` makes such networks. It can be made of inputs and outputs too,
    with `tfpbnn.layers.JoinMembers` and `SplitMembers` at their ends.

    In `fit` the members' inputs are independent rows of the batch, and the loss
    is the mean of theirs. Else all members have the same input: `predict` and
    `evaluate` are of the mean of the members' outputs, and `tfpbnn.predict`
    gives one draw for each member; all from one pass.

    Example:
    ```python
    inputs = keras.Input((4,))
    joined, order = tfpbnn.layers.JoinMembers(num_members=3)(inputs)
    hidden = keras.layers.Dense(64, activation="relu")(joined)
    outputs = keras.layers.Dense(3 * 2)(hidden)
    outputs = tfpbnn.layers.SplitMembers(num_members=3)(outputs, order)
    ensemble = tfpbnn.ensembles.MIMO(inputs, outputs)
    ensemble.compile("adam", loss=tfpbnn.likelihoods.Normal())
    ensemble.fit(x, y, verbose=0)
    ```

    Reference:
        [Havasi et al., 2021](https://arxiv.org/abs/2010.06610)
    """

    def _groups_in_training(self) -> int:
        joins = [x for x in layers_of(self) if isinstance(x, JoinMembers)]
        return self.num_members * max(join.batch_repetition for join in joins)


def to_mimo(
    model: keras.Model,
    num_members: int,
    input_repetition_probability: float = 0.0,
    batch_repetition: int = 1,
    seed: int | None = None,
) -> MIMO:
    """Makes a network of a model's shape, with all members' inputs and outputs.

    Its inputs have the features of all members, and its last layers, dense or
    convolutions, `num_members` times as many outputs; all else stays. Weights
    are new: a network has to learn to tell its members apart. It has to be
    large enough to hold them all, so a few members (2 to 4) are usual. A
    compiled model's copy is compiled likewise.

    Args:
        model: a built Functional or Sequential model with one input, of
            numbers and not of indices, which is not changed.
        num_members: how many members there are, a positive integer.
        input_repetition_probability, batch_repetition, seed: as in
            `tfpbnn.layers.JoinMembers`.

    Raises:
        TypeError: if `model` is subclassed.
        ValueError: if `model` is not built, has several inputs or an input of
            integers, or outputs that are not those of dense layers or
            convolutions, or as `tfpbnn.layers.JoinMembers`.

    Example:
    ```python
    plain = keras.Sequential([
        keras.Input((4,)),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(1),
    ])
    plain.compile("adam", loss="mse")
    ensemble = tfpbnn.ensembles.to_mimo(plain, num_members=3)
    ensemble.fit(x, y, verbose=0)
    tfpbnn.predict(ensemble, x).num_samples                      # 3
    ```

    Reference:
        [Havasi et al., 2021](https://arxiv.org/abs/2010.06610)
    """
    reading.check_readable(model)
    if len(model.inputs) != 1 or "float" not in str(model.inputs[0].dtype):
        raise ValueError(
            "`model` must have one input, of floating-point numbers. Received: "
            f"inputs {[(x.name, str(x.dtype)) for x in model.inputs]}"
        )
    join = JoinMembers(
        num_members, input_repetition_probability, batch_repetition, seed
    )
    joining = _Joining(Graph(model), num_members, join)
    ensemble = rewrite(
        model,
        MIMO,
        joining.visit,
        graph=joining.graph,
        enter=joining.enter,
    )
    copying.copy_compiled(model, ensemble)
    return ensemble


class _Joining:
    """Where members' features become those of one network, and what is new."""

    def __init__(self, graph: Graph, num_members: int, join: JoinMembers):
        self.graph = graph
        self._join = join
        self._num_members = num_members
        self._splits = Splits(graph, num_members)
        self._orders: list[Any] = []
        self._copier = copying.Copier()
        self._place, self._prepared = _entrance(graph)

    def enter(self, x: Any) -> Any:
        """An input, joined if this is to be done at the inputs."""
        at_inputs = self._place in (None, *map(id, self.graph.inputs))
        return self._joined(_row_masks(self.graph, x)) if at_inputs else x

    def visit(self, call: Call, new: NewLayers) -> Place:
        if self._place is not None and id(call) in self._prepared:
            is_there = self._place in map(id, call.outputs)
            after = [self._joined] if is_there else ()
            return Place(new.copy(call.op), after=after)
        if not isinstance(call.op, keras.layers.Layer):
            return Place(call.op)
        if states.frozen_in(call.op):
            raise ValueError(
                f"{name_of(call)} of `model` is adapted to the features of one "
                "member, and must come before all layers that are trained."
            )
        is_last = id(call.op) in self._splits.last
        after = self._splits.after(call.op, *self._orders) if is_last else ()
        return Place(new.make(call.op, self._make), after=after)

    def _joined(self, x: Any) -> Any:
        features, order = self._join(x)
        self._orders.append(order)
        return features

    def _make(self, layer: Any) -> Any:
        if id(layer) not in self._splits.last:
            return self._copier(layer)
        config = last_config(layer)
        size = "units" if "units" in config else "filters"
        return type(layer).from_config(
            config | {size: self._num_members * config[size]}
        )


def _entrance(graph: Graph) -> tuple[int | None, set[int]]:
    """Where the members' features are joined: behind what only prepares data.

    Returns:
        The tensor, or None if all of the model's inputs are joined, and the
        calls before it, by their ids.
    """
    before = {id(x) for x in graph.inputs}
    leading: set[int] = set()
    calls: set[int] = set()
    for call in graph.calls:
        variables = getattr(call.op, "variables", [])
        is_fixed = len(variables) == len(getattr(call.op, "weights", []))
        is_trained = any(v.trainable for v in variables)
        is_ready = all(id(x) in before for x in call.inputs)
        if is_ready and is_fixed and not is_trained:
            before.update(id(y) for y in call.outputs)
            calls.add(id(call))
        else:
            leading.update(id(x) for x in call.inputs if id(x) in before)
    return (leading.pop() if len(leading) == 1 else None), calls


def _row_masks(graph: Graph, x: Any) -> Any:
    """Masks an input as the model does, so that each row has a mask of its own.

    What masks the model's input stays, and masks the joined rows.
    """
    inputs = {id(tensor) for tensor in keras.tree.flatten(graph.inputs)}
    for call in graph.calls:
        is_first = any(id(tensor) in inputs for tensor in call.inputs)
        if is_first and type(call.op) is keras.layers.Masking:
            name = f"{call.op.name}_of_rows"
            config = call.op.get_config() | {"name": name}
            x = keras.layers.Masking.from_config(config)(x)
    return x
