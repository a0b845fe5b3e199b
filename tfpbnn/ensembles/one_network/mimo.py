"""Makes MIMO networks, whose members are several inputs and outputs of one."""

from typing import Any

import keras

from tfpbnn.base import registry
from tfpbnn.ensembles.one_network.members import MemberModel
from tfpbnn.ensembles.one_network.splits import Splits, last_config
from tfpbnn.layers import JoinMembers
from tfpbnn.networks import copying, reading
from tfpbnn.networks.calls import Call, Graph
from tfpbnn.networks.reading import layers_of
from tfpbnn.networks.rewriting import NewLayers, Place, rewrite


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
    graph = Graph(model)
    splits = Splits(graph, num_members)
    orders: list[Any] = []

    def enter(x: Any) -> Any:
        features, order = join(_row_masks(graph, x))
        orders.append(order)
        return features

    def make(layer: Any) -> Any:
        if id(layer) not in splits.last:
            return copying.copy_layer(layer)
        config = last_config(layer)
        size = "units" if "units" in config else "filters"
        return type(layer).from_config(
            config | {size: num_members * config[size]}
        )

    def visit(call: Call, new: NewLayers) -> Place:
        if not isinstance(call.op, keras.layers.Layer):
            return Place(call.op)
        is_last = id(call.op) in splits.last
        after = splits.after(call.op, *orders) if is_last else ()
        return Place(new.make(call.op, make), after=after)

    ensemble = rewrite(model, MIMO, visit, graph=graph, enter=enter)
    copying.copy_compiled(model, ensemble)
    return ensemble


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
