"""Models made anew from the calls of others."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import keras

from tfpbnn.networks import copying, reading
from tfpbnn.networks.calls import Call, Graph


class Place(NamedTuple):
    """What is called in the place of one call of a model.

    Attributes:
        layer: takes the call's arguments.
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
    """The layers of a new model, by those of another.

    Attributes:
        made: pairs of a layer and what `make` made of it.
        copier: copies layers, also those which `make` puts into others.
    """

    def __init__(
        self, copier: copying.Copier | None = None, shares: bool = False
    ):
        """Begins with none.

        Args:
            copier: None for a new one.
            shares: whether a layer that stays is shared, not copied.
        """
        self.made: list[tuple[Any, Any]] = []
        self.copier = copying.Copier() if copier is None else copier
        self._copy: Make = (lambda layer: layer) if shares else self.copier
        self._copied: list[tuple[Any, Any]] = []
        self._found: dict[int, Any] = {}
        self._taken: set[str] = set()
        self._reserved: set[str] = set()

    def copy(self, op: Any) -> Any:
        """The copy of a layer, the same for all its calls.

        Its weights are copied when the model is whole. An operation is itself.
        """
        if not isinstance(op, keras.layers.Layer):
            return op
        return self._once(op, self._copy, self._copied)

    def make(self, layer: Any, make: Make) -> Any:
        """What `make` makes of a layer, the same for all its calls."""
        return self._once(layer, make, self.made)

    def make_each(self, layer: Any, make: Make) -> Any:
        """What `make` makes of a layer, another for each of its calls."""
        new = self._named(layer, make(layer))
        self.made.append((layer, new))
        return new

    @contextlib.contextmanager
    def named_for(self, names: Iterable[str]) -> Iterator[None]:
        """Within it layers are of one model: their names differ.

        Args:
            names: those that are not for others than layers that have them.
        """
        outer = self._taken, self._reserved
        self._taken, self._reserved = set(), set(names)
        yield
        self._taken, self._reserved = outer

    def copy_weights(self) -> None:
        """Gives the copied layers the weights of the model's.

        Raises:
            ValueError: if layers of the model have weights in common that the
                new ones don't.
        """
        for old, new in self._copied:
            if new is not old:
                copying.copy_state(old, new)
        check_tied([*self._copied, *self.made])

    def copy_frozen(self, models: list[tuple[Any, Any]]) -> None:
        """Freezes models that are; that sets `trainable` of their layers."""
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
    """A model of class `cls` that does a model's calls in its own way.

    Each layer has one in its place, so layers of several calls, also of calls
    in different models in the model, stay shared. What is frozen stays frozen.
    The new model is not compiled: `copying.copy_compiled` does that.

    Models in the model stay such, and are made anew if they are plain or have
    layers that are touched; others are visited as layers are.

    Args:
        model: a built Functional or Sequential model.
        cls: of the new model: of Sequential, to be made of layers (then
            `model` must be Sequential too), or else of inputs and outputs.
        visit: gives what is called in the place of a call of the model.
        touches: whether a layer, or what is around it, is changed.
        inner_class: gives the class that a model in the model is to have.
        new: keeps the new layers, also for other uses.
        graph: the calls of the model, for the models in it to be laid open.
        enter: what is called on each input first.
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
    """A model like another, with others in the place of some layers.

    Args:
        model: as in `rewrite`.
        cls: as in `rewrite`.
        is_replaced: whether a layer is.
        make: makes the other one, without its weights.
        copier: with which `make` copies what it needs of a layer.
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
        """A model of a class of its own stays one, if nothing in it changes."""
        return reading.can_read(op) and (
            reading.is_plain(op) or any(map(self._touches, reading.leaves(op)))
        )


def _replay(read: Graph, inputs: Iterable[Any], places: Iterable[Place]) -> Any:
    """The outputs of what takes the place of the calls of a graph."""
    tensors = dict(zip(map(id, read.inputs), inputs, strict=True))

    def get(leaf: Any) -> Any:
        is_tensor = isinstance(leaf, keras.KerasTensor)
        return tensors[id(leaf)] if is_tensor else leaf

    for call, place in zip(read.calls, places, strict=True):
        args, kwargs = call.arguments(get)
        call.put(place(*args, **kwargs, **call.mode), tensors)
    return keras.tree.map_structure(get, read.outputs)


def check_tied(pairs: Iterable[tuple[Any, Any]]) -> None:
    """Raises unless layers share weights as those do that they are made of.

    Args:
        pairs: of a layer, and the one in its place.
    """
    pairs = list(pairs)
    holders: dict[int, list[tuple[Any, Any]]] = {}
    for pair in pairs:
        for weight in pair[0].weights:
            holders.setdefault(id(weight), []).append(pair)
    for old, new in pairs:
        if new is not old and any(id(v) in holders for v in new.weights):
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
    """What is called, for error messages."""
    name = getattr(call.op, "name", "an operation")
    return f"The layer {name!r} ({type(call.op).__name__})"
