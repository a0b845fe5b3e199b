"""A served model takes named tensors, batch first."""

import collections
import dataclasses
import keyword
import re
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base import data
from tfpbnn.base.types import Array, Tensor
from tfpbnn.networks.reading import (
    can_read,
    input_of,
    keys_of,
    template_of,
)

# What Keras calls inputs without a name, and numbers anew in each process.
UNNAMED = re.compile(r"(keras_tensor|input_layer)(_\d+)?")
# For sizes that the model leaves open, where only costs are counted.
_TYPICAL_SIZE = 32
# What no argument of a Python function, or of TensorFlow's own, is called.
_WORDS = {*keyword.kwlist, "self"}
_RESERVED = ["seed", "num_samples"]


@dataclasses.dataclass(frozen=True)
class Inputs:
    """These are the inputs of a model as a flat dict, and back.

    Attributes:
        specs: `[None, ...]`, by name.
        structure: of the model's own inputs, with names as leaves.
    """

    specs: dict[str, tf.TensorSpec]
    structure: Any

    def pack(self, tensors: Mapping[str, Any]) -> Any:
        """Puts tensors by name into the model's structure."""
        return keras.tree.map_structure(tensors.__getitem__, self.structure)

    def unpack(self, x: Any) -> dict[str, Array]:
        """Names arrays in the model's structure, and gives them its types."""
        names = keras.tree.flatten(self.structure)
        given = keras.tree.flatten(x)
        for name, leaf in zip(names, given, strict=False):
            if leaf is None:
                raise ValueError(
                    "`warmup` must have an array for each of the inputs "
                    f"{names}, optional ones too, since requests give all of "
                    f"them. Received: None for the input {name!r}. To serve "
                    "without it, export a model that does not have it."
                )
        arrays = keras.tree.flatten(data.as_arrays("warmup", x))
        if len(arrays) != len(names):
            raise ValueError(
                f"`warmup` must have an array for each of the inputs {names}. "
                f"Received: {len(arrays)}"
            )
        named = dict(zip(names, arrays, strict=True))
        for name, array in named.items():
            spec = self.specs[name]
            if not spec.shape.is_compatible_with(array.shape):
                raise ValueError(
                    f"`warmup` must fit the input {name}, of shape "
                    f"{_shown(spec)}. Received: shape {array.shape}"
                )
            if spec.dtype != tf.string:
                named[name] = array.astype(spec.dtype.as_numpy_dtype)
        return named

    def typical(self) -> Any:
        """Returns specs of one row without open sizes, in its structure."""
        return self.pack(
            {
                name: tf.TensorSpec(
                    [1, *(n or _TYPICAL_SIZE for n in spec.shape[1:])],
                    spec.dtype,
                )
                for name, spec in self.specs.items()
            }
        )

    def checked(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns the tensors, with an error that names one that is wrong."""
        return {
            name: _checked(name, tensors[name], spec)
            for name, spec in self.specs.items()
        }


def inputs_of(model: Any, example: Any) -> Inputs:
    """Returns a model's inputs, or those like an example if unknown.

    Raises:
        ValueError: if neither tells, or a name is that of an input of ours.
    """
    structure = _known_inputs(model)
    if structure is None and example is None:
        raise ValueError(
            f"`warmup` must be given, an example of inputs, since `posterior` "
            f"({model.name}) does not tell its inputs' shapes, as Functional "
            "and Sequential models do. Received: warmup=None"
        )
    if structure is None:
        structure = keras.tree.map_structure(
            lambda a: keras.KerasTensor((None, *a.shape[1:]), _dtype(a, model)),
            data.as_arrays("warmup", example),
        )
    leaves = keras.tree.flatten(structure)
    for leaf in leaves:
        if getattr(leaf, "ragged", False):
            raise ValueError(
                "`posterior` must have inputs that are tensors, since requests "
                "have no ragged rows: padded ones would count as data. "
                f"Received: the ragged input {leaf.name!r}. Take padded rows "
                "and a mask, as by Embedding(..., mask_zero=True)."
            )
    names = _served_names(_own_names(structure, leaves))
    specs = {
        name: tf.TensorSpec([None, *leaf.shape[1:]], leaf.dtype, name=name)
        for name, leaf in zip(names, leaves, strict=True)
    }
    return Inputs(specs, keras.tree.pack_sequence_as(structure, names))


def _known_inputs(model: Any) -> Any:
    """Returns KerasTensors in the model's structure; None if unknown."""
    model = template_of(model)
    return input_of(model) if can_read(model) else None


def _dtype(array: Array, model: Any) -> str:
    kind = array.dtype.kind
    if kind == "f":
        return "float64" if model.compute_dtype == "float64" else "float32"
    return "string" if kind in "OSU" else array.dtype.name


def _own_names(structure: Any, leaves: list[Any]) -> list[str]:
    """Returns names: keys of a flat dict, else Keras's, else positions."""
    if isinstance(structure, Mapping) and len(structure) == len(leaves):
        found = keys_of(structure)
    else:
        found = [leaf.name for leaf in leaves]
    by_place = (
        [f"inputs_{place}" for place in range(len(leaves))]
        if len(leaves) > 1
        else ["inputs"]
    )
    return [
        place if UNNAMED.fullmatch(name) else name
        for name, place in zip(found, by_place, strict=True)
    ]


def _served_names(own: list[str]) -> list[str]:
    """Makes the names that a signature can have, by the rules of Keras.

    Signs become underscores, and what does not begin with a letter then
    begins with "arg_".

    Raises:
        ValueError: if a name has letters that graphs do not take, or if two
            names are no longer different, or one is that of an input of ours.
    """
    served = []
    for name in own:
        if not (name and name.isascii()) or name in _WORDS:
            raise ValueError(
                "`posterior` must have inputs with names of ASCII letters, "
                "digits and underscores that are no words of Python, since "
                f"TensorFlow takes no others. Received: the input {name!r}. "
                'Give it another name, as keras.Input(..., name="size"), with '
                "the same key in a dict of inputs."
            )
        clean = re.sub(r"\W", "_", name)
        served.append(clean if clean[0].isalpha() else f"arg_{clean}")
    taken = collections.Counter([*served, *_RESERVED])
    clashes = {
        name: new
        for name, new in zip(own, served, strict=True)
        if taken[new] > 1
    }
    if clashes or len(set(own)) < len(own):
        raise ValueError(
            "`posterior` must have inputs of different names, also when signs "
            f"are replaced by underscores, none of them among {_RESERVED}. "
            f"Received: the inputs {own}, of which {sorted(clashes)} clash as "
            f"{sorted(set(clashes.values()))}. Rename them."
        )
    return served


def _checked(name: str, x: Tensor, spec: tf.TensorSpec) -> Tensor:
    # Opaque to the optimizer, which would take the spec's shape for granted.
    found = tf.shape(tf.raw_ops.PlaceholderWithDefault(input=x, shape=None))
    sizes = [-1 if n is None else n for n in spec.shape]
    same_rank = tf.equal(tf.size(found), len(sizes))
    # Of another rank it must not be compared, but the graph has no branches.
    aligned = tf.concat([found, [-1] * len(sizes)], 0)[: len(sizes)]
    fits = tf.reduce_all((aligned == sizes) | (tf.constant(sizes) == -1))
    check = tf.debugging.Assert(
        same_rank & fits,
        [f"`{name}` must have shape {_shown(spec)}. Received: shape", found],
    )
    with tf.control_dependencies([check]):
        return tf.identity(x)


def _shown(spec: tf.TensorSpec) -> str:
    return "[" + ", ".join(["rows", *map(str, spec.shape[1:])]) + "]"


def finite_rows(tensors: Mapping[str, Tensor]) -> Tensor | None:
    """Returns which rows are finite, `[B]`; None if all must be."""
    found = [
        tf.reduce_all(tf.math.is_finite(x), axis=list(range(1, len(x.shape))))
        for x in map(_at_least_single, tensors.values())
        if x.dtype.is_floating
    ]
    if not found:
        return None
    return tf.reduce_all(tf.stack(found), axis=0)


def _at_least_single(x: Tensor) -> Tensor:
    """Turns half precision into float32, as other formats' checks need."""
    is_half = x.dtype.is_floating and x.dtype.size < tf.float32.size
    return tf.cast(x, tf.float32) if is_half else x


def rows_of(tensors: Mapping[str, Tensor]) -> Tensor:
    """Returns the number of rows, int64."""
    return tf.shape(next(iter(tensors.values())), tf.int64)[0]
