"""Makes models anew from the calls of others."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import keras

from tfpbnn.networks import copying, reading
from tfpbnn.networks.calls import Call, Graph


class Place(NamedTuple):
    """The layers to call in the place of one call of a model.

    Attributes:
        layer: the layer that takes the call's arguments.
        before: layers that the first argument goes through first.
        after: layers that the outputs go through.
    """

    layer: Any
    before: Sequence[Any] = ()
    after: Sequence[Any] = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        for layer in self.before:
            args = (layer(args[0]), *args[1:])
        outputs = self.layer(*args, **kwargs)
        for layer in self.after:
            outputs = layer(outputs)
        return outputs


Make = Callable[[Any], Any]


class NewLayers:
    """The layers of a new model, by the layers of another.

    Attributes:
        made: pairs of a layer and what `make` made of it.
        copier: copies layers, also those which `make` puts into others.
    """

    def __init__(
        self, copier: copying.Copier | None = None, shares: bool = False
    ):
        """Begins without layers.

        Args:
            copier: the copier of layers; None for a new one.
            shares: whether a layer that stays is shared, not copied. Then
                what `make` makes of a layer may hold the layer itself.
        """
        self._shares = shares
        self.made: list[tuple[Any, Any]] = []
        self.copier = copying.Copier() if copier is None else copier
        self._copy: Make = (lambda layer: layer) if shares else self.copier
        self._copied: list[tuple[Any, Any]] = []
        self._found: dict[int, Any] = {}
        self._taken: set[str] = set()
        self._reserved: set[str] = set()

    def copy(self, op: Any) -> Any:
        """Copies a layer, the same for all its calls.

        Its weights are copied when the model is complete. An operation stays.
        """
        if not isinstance(op, keras.layers.Layer):
            return op
        return self._once(op, self._copy, self._copied)

    def make(self, layer: Any, make: Make) -> Any:
        """Makes a layer's replacement, the same for all its calls."""
        return self._once(layer, make, self.made)

    def make_each(self, layer: Any, make: Make) -> Any:
        """Makes a layer's replacement, another one for each of its calls."""
        new = self._named(layer, make(layer))
        self.made.append((layer, new))
        return new

    @contextlib.contextmanager
    def named_for(self, names: Iterable[str]) -> Iterator[None]:
        """Gives layers that are made inside of it different names.

        Args:
            names: the names that only layers which have them may use.
        """
        outer = self._taken, self._reserved
        self._taken, self._reserved = set(), set(names)
        yield
        self._taken, self._reserved = outer

    def copy_weights(self) -> None:
        """Copies the weights of the model's layers to their copies.

        Raises:
            ValueError: if layers of the model share weights, but the new ones
                don't.
        """
        for old, new in self._copied:
            if new is not old:
                copying.copy_state(old, new)
        check_tied([*self._copied, *self.made], may_share=self._shares)

    def copy_frozen(self, models: list[tuple[Any, Any]]) -> None:
        """Freezes the copies of frozen models, but no other layers."""
        frozen = [new for old, new in models if not old.trainable]
        for new in reversed(frozen):
            new.trainable = False
        for old, new in [*self._copied, *self.made] if frozen else ():
            if new.trainable != old.trainable:
                new.trainable = old.trainable

    def _once(self, op: Any, make: Make, pairs: list[tuple[Any, Any]]) -> Any:
        if id(op) not in self._found:
            self._found[id(op)] = new = self._named(op, make(op))
            pairs.append((op, new))
        return self._found[id(op)]

    def _named(self, old: Any, new: Any) -> Any:
        # Models that are laid open may have layers of the same name.
        if new is not old and new.name in self._taken:
            known = self._taken | self._reserved
            number = len(known)
            while f"{old.name}_{number}" in known:
                number += 1
            new.name = f"{old.name}_{number}"
        self._taken.add(new.name)
        return new


Visit = Callable[[Call, NewLayers], Place]


def rewrite(
    model: keras.Model,
    cls: Any,
    visit: Visit,
    *,
    touches: Callable[[Any], bool] = lambda _: False,
    inner_class: Callable[[Any], Any] = reading.plain_class,
    new: NewLayers | None = None,
    graph: Graph | None = None,
    enter: Callable[[Any], Any] = lambda x: x,
) -> Any:
    """Makes a model of class `cls` that replaces each call of a model.

    Each layer has one layer in its place, so layers of several calls, also in
    different models in the model, stay shared. Frozen layers stay frozen.
    The new model is not compiled: `copying.copy_compiled` does that.

    Models in the model stay models, and are made anew if they are plain or have
    layers that are changed; other models are visited like layers.

    Args:
        model: a built Functional or Sequential model.
        cls: the class of the new model, Sequential for one of layers (then
            `model` must be Sequential too), or one of inputs and outputs.
        visit: a function that returns the `Place` of a call of the model.
        touches: a function that says whether a layer, or what is around it,
            is changed.
        inner_class: a function that returns the new class of a model in the
            model.
        new: the object that keeps the new layers; None for a new one.
        graph: the calls of the model; if given, the models in it become part
            of the new model's graph.
        enter: a function that is called on each input first.
    """
    new = NewLayers() if new is None else new
    rewriting = _Rewriting(visit, touches, inner_class, new, graph is not None)
    read = Graph(model, opened=False) if graph is None else graph
    made = rewriting.rebuild(model, cls, read, enter)
    new.copy_frozen(rewriting.models)
    new.copy_weights()
    return made


def replace(
    model: keras.Model,
    cls: Any,
    is_replaced: Callable[[Any], bool],
    make: Make,
    copier: copying.Copier,
    shares: bool = False,
) -> tuple[Any, list[tuple[Any, Any]]]:
    """Makes a model like another, with other layers in place of some.

    Args:
        model: as in `rewrite`.
        cls: as in `rewrite`.
        is_replaced: a function that says whether a layer is replaced.
        make: a function that makes the other layer, without its weights.
        copier: the copier, with which `make` copies parts of a layer.
        shares: as in `NewLayers`.

    Returns:
        The model and pairs of a layer and the one in its place, whose weights
        are for the caller to set.
    """

    def visit(call: Call, new: NewLayers) -> Place:
        is_layer = isinstance(call.op, keras.layers.Layer)
        if is_layer and is_replaced(call.op):
            return Place(new.make(call.op, make))
        return Place(new.copy(call.op))

    new = NewLayers(copier, shares)
    made = rewrite(model, cls, visit, touches=is_replaced, new=new)
    return made, new.made


class _Rewriting:
    """The state of one `rewrite`."""

    def __init__(
        self,
        visit: Visit,
        touches: Callable[[Any], bool],
        inner_class: Callable[[Any], Any],
        new: NewLayers,
        is_open: bool,
    ):
        self.models: list[tuple[Any, Any]] = []
        self._visit = visit
        self._touches = touches
        self._inner_class = inner_class
        self._new = new
        self._is_open = is_open
        self._inner: dict[int, Any] = {}

    def rebuild(
        self, model: Any, cls: Any, read: Graph, enter: Callable[[Any], Any]
    ) -> Any:
        inputs = reading.inputs_like(model)
        names = [] if self._is_open else [layer.name for layer in model.layers]
        with self._new.named_for(names):
            places: Iterable[Place] = map(self._place, read.calls)
            if isinstance(model, keras.Sequential) and not self._is_open:
                places = list(places)  # made before they are built, as there
            if issubclass(cls, keras.Sequential):
                layers = [
                    x for p in places for x in (*p.before, p.layer, *p.after)
                ]
                made = cls([inputs, *layers], name=model.name)
            else:
                entered = map(enter, keras.tree.flatten(inputs))
                outputs = _replay(read, entered, places)
                made = cls(inputs, outputs, name=model.name)
        self.models.append((model, made))
        return made

    def _place(self, call: Call) -> Place:
        op = call.op
        if self._is_open or not self._is_rebuilt(op):
            return self._visit(call, self._new)
        if id(op) not in self._inner:
            read = Graph(op, opened=False)
            cls = self._inner_class(op)
            made = self.rebuild(op, cls, read, lambda x: x)
            self._inner[id(op)] = made
            self._new.copier.know(op, made)
        return Place(self._inner[id(op)])

    def _is_rebuilt(self, op: Any) -> bool:
        """Says whether a model in the model is made anew."""
        return reading.can_read(op) and (
            reading.is_plain(op) or any(map(self._touches, reading.leaves(op)))
        )


def _replay(read: Graph, inputs: Iterable[Any], places: Iterable[Place]) -> Any:
    """Computes outputs by calling what takes the place of a graph's calls."""
    tensors = dict(zip(map(id, read.inputs), inputs, strict=True))

    def get(leaf: Any) -> Any:
        is_tensor = isinstance(leaf, keras.KerasTensor)
        return tensors[id(leaf)] if is_tensor else leaf

    for call, place in zip(read.calls, places, strict=True):
        args, kwargs = call.arguments(get)
        call.put(place(*args, **kwargs, **call.mode), tensors)
    return keras.tree.map_structure(get, read.outputs)


def check_tied(
    pairs: Iterable[tuple[Any, Any]], may_share: bool = False
) -> None:
    """Raises unless new layers share weights like the layers they replace.

    Args:
        pairs: pairs of a layer and the one in its place.
        may_share: whether the two of a pair may have weights in common.
    """
    pairs = list(pairs)
    holders: dict[int, list[tuple[Any, Any]]] = {}
    for pair in pairs:
        for weight in pair[0].weights:
            holders.setdefault(id(weight), []).append(pair)
    for old, new in pairs:
        is_copy = new is not old and not may_share
        if is_copy and any(id(v) in holders for v in new.weights):
            raise ValueError(
                f"The copy of the layer {old.name!r} of `model`, of type "
                f"{type(old).__name__}, would share weights with `model`: its "
                "`get_config` gives layers themselves, where it must give "
                "`keras.saving.serialize_keras_object` of them."
            )
    for first, *others in holders.values():
        own = {id(weight) for weight in first[1].weights}
        for other in others:
            if not any(id(weight) in own for weight in other[1].weights):
                raise ValueError(
                    f"The layers {first[0].name!r} and {other[0].name!r} of "
                    "`model` share weights, and those in their place would "
                    "not: leave both as they are."
                )


def name_of(call: Call) -> str:
    """Names what is called, for error messages."""
    name = getattr(call.op, "name", "an operation")
    return f"The layer {name!r} ({type(call.op).__name__})"
