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
from tfpbnn.networks.kernels import has_kernel, kernels_in
from tfpbnn.networks.reading import check_readable, leaves, own_class
from tfpbnn.networks.rewriting import NewLayers, Place, rewrite


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
            see no other such layer's outputs. Layers in others, of attention,
            wrappers or blocks of your own, get it by an `MCWrapper`; of a block
            that is itself a first layer, all but the one that it calls first.
            Choose it by the score on validation data.

    Returns:
        A compiled model if the model was. Weights are copied, not shared:
        training one does not change the other.

    Raises:
        ValueError: if the model has no dropout and `rate` is None; if it was
            never built; if `rate` is not from 0 to below 1.
        TypeError: if it is subclassed, or not a Keras model.

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
    check_readable(model)
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
    hidden = {} if found else _hidden_kernels(model)
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


def _is_noise(layer: Any) -> bool:
    """Whether a layer's noise is to be random, also if its rate is zero."""
    return has_twin(layer) or isinstance(layer, MCWrapper) or has_noise(layer)


def _place(
    rate: float | None,
    hidden: dict[int, str],
    before: dict[int, MCDropout],
    call: Call,
    new: NewLayers,
) -> Place:
    """What takes the place of a call.

    Args:
        rate: of all dropout; None for that of each layer.
        hidden: the layers that get dropout before kernels, by their ids.
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
    if hidden[id(op)] != "before":
        make = functools.partial(_wrapped, new.copier, rate, hidden[id(op)])
        return Place(new.make(op, make))
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
    return _wrapped(copier, rate, None, layer)


def _wrapped(
    copier: copying.Copier,
    rate: float | None,
    before_kernels: str | None,
    layer: Any,
) -> MCWrapper:
    return MCWrapper(
        copier(layer),
        rate=rate,
        before_kernels=before_kernels,
        name=layer.name,
        dtype=layer.dtype_policy,
    )


def _inner(layer: Any) -> Any:
    """The layer in a wrapper."""
    return layer.layer if isinstance(layer, MCWrapper) else layer


def _hidden_kernels(model: keras.Model) -> dict[int, str]:
    """The layers that get dropout before kernels, by their ids.

    Returns:
        "before" for one dropout in front of the layer, which has the kernel
        itself, and else what `MCWrapper` calls it.
    """
    behind: set[int] = set()  # tensors
    found: dict[int, str] = {}
    first: dict[int, str] = {}
    for call in Graph(model).calls:
        op = call.op
        is_hidden = any(id(x) in behind for x in call.inputs)
        inner = kernels_in(op) if isinstance(op, keras.layers.Layer) else []
        if inner and is_hidden:
            found[id(op)] = "all"
        elif len(inner) > 1:
            first[id(op)] = "hidden"
        elif not inner and _takes_dropout(call):
            (found if is_hidden else first)[id(op)] = "before"
        weights = getattr(op, "weights", ())
        if is_hidden or any(len(v.shape) > 1 for v in weights):
            behind.update(id(y) for y in call.outputs)
    # One that is used in front too is a first one.
    hidden = {op: how for op, how in found.items() if op not in first}
    return hidden | {op: how for op, how in first.items() if how == "hidden"}


def _takes_dropout(call: Call) -> bool:
    is_kernel = isinstance(call.op, keras.layers.Layer) and has_kernel(call.op)
    return is_kernel and "float" in str(call.inputs[0].dtype)
