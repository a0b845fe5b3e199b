"""Makes Masksembles of plain Keras models."""

import keras

from tfpbnn.base import registry
from tfpbnn.ensembles.one_network.members import MemberModel
from tfpbnn.ensembles.one_network.splits import is_kernel
from tfpbnn.layers import Masksembles as Masks
from tfpbnn.networks import copying, reading
from tfpbnn.networks.calls import Call, Graph
from tfpbnn.networks.rewriting import NewLayers, Place, rewrite

_DROPOUT = (
    keras.layers.AlphaDropout,
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
)


@registry.register("ensembles")
class Masksembles(MemberModel):
    """A model with `tfpbnn.layers.Masksembles` in it.

    `to_masksembles` makes such models. It can be made of inputs and outputs
    too.

    In `fit` the rows of a batch are shared out among the members, so that it
    costs what that of one network does. `predict` and `evaluate` repeat each
    batch for the members, and are of the mean of their outputs.
    `tfpbnn.predict` gives one draw for each member.

    Example:
    ```python
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(32, activation="relu")(inputs)
    masked = tfpbnn.layers.Masksembles(num_members=4)(hidden)
    outputs = keras.layers.Dense(2)(masked)
    ensemble = tfpbnn.ensembles.Masksembles(inputs, outputs)
    ensemble.compile("adam", loss=tfpbnn.likelihoods.Normal())
    ensemble.fit(x, y, verbose=0)
    ```

    Reference:
        [Durasov et al., 2021](https://arxiv.org/abs/2012.08334)
    """

    _repeats_in_inference = True

    def _groups_in_training(self) -> int:
        return 1  # the rows are shared out


def to_masksembles(
    model: keras.Model,
    num_members: int,
    scale: float = 2.0,
    seed: int | None = None,
) -> Masksembles:
    """Copies a model, so that members see fixed parts of its features.

    `tfpbnn.layers.Masksembles` takes the place of each dropout layer. In a
    model without, it comes before each layer with a kernel (dense or
    convolution) but the first ones. Weights are copied; a model that was
    trained without masks is to be trained on. A compiled model's copy is
    compiled likewise.

    Args:
        model: a built Functional or Sequential model, which is not changed.
        num_members: how many members there are, a positive integer.
        scale: as in `tfpbnn.layers.Masksembles`.
        seed: of the masks; those of different layers differ.

    Raises:
        TypeError: if `model` is subclassed.
        ValueError: if `model` is not built or has no place for masks, or as
            `tfpbnn.layers.Masksembles`.

    Example:
    ```python
    plain = keras.Sequential([
        keras.Input((4,)),
        keras.layers.Dense(32, activation="relu"),
        keras.layers.Dropout(0.2),
        keras.layers.Dense(1),
    ])
    plain.compile("adam", loss="mse")
    ensemble = tfpbnn.ensembles.to_masksembles(plain, num_members=4)
    ensemble.fit(x, y, verbose=0)
    ```

    Reference:
        [Durasov et al., 2021](https://arxiv.org/abs/2012.08334)
    """
    reading.check_readable(model)
    graph = Graph(model)
    places = _places(graph)
    if not places:
        raise ValueError(
            "`model` must have dropout, or a hidden layer with a kernel, for "
            f"masks to be put there. Received: model={model!r}"
        )

    def visit(call: Call, new: NewLayers) -> Place:
        if id(call) not in places:
            return Place(new.copy(call.op))
        is_dropout = isinstance(call.op, _DROPOUT)
        masks = Masks(
            num_members,
            scale,
            None if seed is None else seed + places.index(id(call)),
            name=None if is_dropout else f"{call.op.name}_masks",
            dtype=call.op.dtype_policy,
        )
        if is_dropout:
            return Place(masks)
        return Place(new.copy(call.op), before=[masks])

    ensemble = rewrite(model, Masksembles, visit, graph=graph)
    copying.copy_compiled(model, ensemble)
    return ensemble


def _places(graph: Graph) -> list[int]:
    """Gives the ids of the calls of dropout, or else of hidden kernels."""
    dropout = [id(c) for c in graph.calls if isinstance(c.op, _DROPOUT)]
    if dropout:
        return dropout
    found, hidden = [], set[int]()
    for call in graph.calls:
        has_kernel = is_kernel(call.op)
        is_hidden = any(id(x) in hidden for x in call.inputs)
        if has_kernel and is_hidden:
            found.append(id(call))
        if has_kernel or is_hidden:
            hidden.update(id(y) for y in call.outputs)
    return found
