"""Monte Carlo dropout of a trained model."""

import functools
from typing import Any

import keras

from tfpbnn.base import checks
from tfpbnn.layers.dropout.mc_noise import MCDropout
from tfpbnn.layers.dropout.mc_wrapper import (
    MCWrapper,
    has_noise,
    has_twin,
    twin,
)
from tfpbnn.layers.random_layer import RandomLayer
from tfpbnn.networks import copying
from tfpbnn.networks.calls import Call, Graph
from tfpbnn.networks.reading import can_read, check_built, leaves, own_class
from tfpbnn.networks.rewriting import NewLayers, Place, rewrite

_WEIGHTED = (
    keras.layers.Dense,
    keras.layers.EinsumDense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)


def mc_dropout(model: keras.Model, rate: float | None = None) -> keras.Model:
    """A copy of a model whose dropout stays random in prediction.

    `tfpbnn.predict` of it is Monte Carlo dropout: each draw has masks of its
    own, which are the same for all rows. Dropout layers become their `MC`
    counterparts (`Dropout` an `MCDropout`), and layers with dropout inside,
    recurrent, attention or of any other kind, are put into an `MCWrapper`;
    names stay. Nothing else changes: a BatchNorm stays in inference mode, and
    `fit` trains as before, though what it reports of validation data is now
    with dropout too.

    Args:
        model: a built Functional or Sequential model, with others in it or not.
        rate: of all dropout layers, instead of the rates that the model was
            trained with. For a model without dropout: of a dropout that is put
            before each layer with a kernel but the first ones, those that
            see no other such layer's outputs. Choose it by the score on
            validation data.

    Returns:
        A compiled model if the model was. Weights are copied, not shared:
        training one does not change the other.

    Raises:
        ValueError: if the model has no dropout and `rate` is None; if it is
            subclassed or was never built; if `rate` is not from 0 to below 1.
        TypeError: if it is not a Keras model.

    Example:
    ```python
    trained = keras.Sequential([
        keras.Input((4,)),
        keras.layers.Dense(16, activation="relu"),
        keras.layers.Dropout(0.2),
        keras.layers.Dense(1),
    ])
    trained.compile("adam", loss="mse")
    mc = tfpbnn.mc_dropout(trained)
    tfpbnn.predict(mc, x, num_samples=50).epistemic_variance
    ```

    Reference:
        [Gal and Ghahramani, 2016](https://arxiv.org/abs/1506.02142);
        [Ledda et al., 2023](https://arxiv.org/abs/2302.02924), for dropout
        that the model was not trained with
    """
    check_built(model)
    _check_readable(model)
    if rate is not None:
        checks.rate("rate", rate)
    found = [
        layer
        for layer in filter(_is_noise, leaves(model))
        if rate is not None
        or isinstance(layer, RandomLayer)
        or has_noise(layer)
    ]
    if not found and rate is None:
        raise ValueError(
            f"`rate` must be given, since `model` ({model.name}) has no "
            "dropout. With a rate, dropout is put before its hidden layers. "
            "Received: rate=None"
        )
    hidden = set() if found else _hidden_kernels(model)
    if not found and not hidden:
        raise ValueError(
            f"`model` ({model.name}) has no hidden layer with a kernel, before "
            "which dropout could be put."
        )
    new = NewLayers()
    mc = rewrite(
        model,
        own_class(model),
        functools.partial(_place, rate, hidden, {}),
        touches=lambda layer: id(layer) in hidden or _is_noise(layer),
        inner_class=own_class,
        new=new,
    )
    for layer, made in new.made:
        if isinstance(made, MCWrapper):
            copying.copy_state(_inner(layer), made.layer)
    copying.copy_compiled(model, mc)
    return mc


def _check_readable(model: keras.Model) -> None:
    if not can_read(model):
        raise ValueError(
            "`model` must be a Functional or Sequential model. Received: "
            f"{model.name}, a {type(model).__name__}. Use the layers of "
            "tfpbnn.layers, such as MCDropout, in it."
        )


def _is_noise(layer: Any) -> bool:
    """Whether a layer's noise is to be random, also if its rate is zero."""
    return has_twin(layer) or isinstance(layer, MCWrapper) or has_noise(layer)


def _place(
    rate: float | None,
    hidden: set[int],
    before: dict[int, MCDropout],
    call: Call,
    new: NewLayers,
) -> Place:
    """What takes the place of a call.

    Args:
        rate: of all dropout; None for that of each layer.
        hidden: the ids of layers that get dropout before them.
        before: that dropout, by these ids.
        call: a call of the model.
        new: the layers of the new model.
    """
    op = call.op
    if isinstance(op, keras.layers.Layer) and _is_noise(op):
        # In training the masks of a dropout that is used in several places
        # differ. Those of one layer would not in one draw.
        has_weights = not has_twin(op) and _inner(op).weights
        make = new.make if has_weights else new.make_each
        return Place(make(op, functools.partial(_random, rate, new.copier)))
    if id(op) not in hidden:
        return Place(new.copy(op))
    if id(op) not in before:
        assert rate is not None
        before[id(op)] = MCDropout(
            rate, name=f"{op.name}_dropout", dtype=op.dtype_policy
        )
    return Place(new.copy(op), before=[before[id(op)]])


def _random(
    rate: float | None, copier: copying.Copier, layer: Any
) -> RandomLayer:
    """A layer of the same noise that is random in prediction too."""
    noise = twin(layer, rate)
    if noise is not None:
        return noise
    if isinstance(layer, MCWrapper):
        given = {} if rate is None else {"rate": rate}
        return MCWrapper.from_config(layer.get_config() | given)
    return MCWrapper(
        copier(layer),
        rate=rate,
        name=layer.name,
        dtype=layer.dtype_policy,
    )


def _inner(layer: Any) -> Any:
    """The layer in a wrapper."""
    return layer.layer if isinstance(layer, MCWrapper) else layer


def _hidden_kernels(model: keras.Model) -> set[int]:
    """The ids of layers all inputs of which come after layers with weights."""
    behind: set[int] = set()  # tensors
    hidden: set[int] = set()
    first: set[int] = set()
    for call in Graph(model).calls:
        is_hidden = any(id(x) in behind for x in call.inputs)
        if isinstance(call.op, _WEIGHTED):
            (hidden if is_hidden else first).add(id(call.op))
        weights = getattr(call.op, "weights", ())
        if is_hidden or any(len(v.shape) > 1 for v in weights):
            behind.update(id(y) for y in call.outputs)
    return hidden - first
