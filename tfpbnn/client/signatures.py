"""This says what a served model takes, and makes inputs that fit it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from tfpbnn.base.types import Array

# Inputs that say how to draw, rather than what of.
CONTROLS = ("num_samples", "seed")
# What conformal sets and intervals are asked with, of one or each output.
CONFORMAL = (
    "conformal_groups",
    "conformal_sample_weight",
    "conformal_uniforms",
)
_KINDS = {"f": "biuf", "i": "biu", "u": "biu", "b": "b"}


@dataclasses.dataclass(frozen=True)
class Signature:
    """A signature is one way to call a served model.

    Attributes:
        inputs: a `tf.TensorSpec` for each input, by name.
        outputs: likewise.
    """

    inputs: Mapping[str, tf.TensorSpec]
    outputs: Mapping[str, tf.TensorSpec]

    @property
    def features(self) -> list[str]:
        """These are the inputs that the model itself takes."""
        return [
            name
            for name in self.inputs
            if name not in CONTROLS and not name.endswith(CONFORMAL)
        ]


@dataclasses.dataclass(frozen=True)
class Metadata:
    """Metadata is a server's description of a model.

    Attributes:
        name: the model's.
        version: the version that answered.
        signatures: a `Signature` for each of its names.
    """

    name: str
    version: int
    signatures: Mapping[str, Signature]

    @property
    def num_samples(self) -> int:
        """This is S, the number of draws in `samples`; 0 if not told."""
        if "samples" not in self.signatures:
            return 0
        outputs = self.signatures["samples"].outputs.values()
        shapes = [spec.shape for spec in outputs]
        known = [s[1] for s in shapes if s.rank is not None and s.rank > 1]
        return next((size for size in known if size is not None), 0)


def from_proto(proto: meta_graph_pb2.SignatureDef) -> Signature:
    """Returns the signature that a `SignatureDef` describes."""
    return Signature(_specs(proto.inputs), _specs(proto.outputs))


def _specs(tensors: Mapping[str, Any]) -> dict[str, tf.TensorSpec]:
    return {
        name: tf.TensorSpec(
            tf.TensorShape(info.tensor_shape), tf.as_dtype(info.dtype), name
        )
        for name, info in sorted(tensors.items())
    }


def describe(specs: Mapping[str, tf.TensorSpec]) -> str:
    """Describes tensors, as "features: float32 [None, 8]"."""
    return ", ".join(f"{n}: {_describe(spec)}" for n, spec in specs.items())


def _describe(spec: tf.TensorSpec) -> str:
    rank = spec.shape.rank
    shape = "of any shape" if rank is None else spec.shape.as_list()
    return f"{spec.dtype.name} {shape}"


def controls_of(
    given: Mapping[str, Any], conformal: Mapping[str, Any]
) -> dict[str, Any]:
    """Names the inputs beside features that are given, as signatures do.

    Args:
        given: `CONTROLS`, by name; None for those that are not given.
        conformal: what conformal sets need, or dicts of it by outputs.
    """
    found = dict(given)
    for kind, value in conformal.items():
        by_output = isinstance(value, Mapping)
        parts = (
            {f"{output}_": part for output, part in value.items()}
            if by_output
            else {"": value}
        )
        for prefix, part in parts.items():
            found[f"{prefix}conformal_{kind}"] = part
    return {name: value for name, value in found.items() if value is not None}


def arrange(
    signature: Signature, x: Any, controls: Mapping[str, Any]
) -> dict[str, Array]:
    """Returns arrays by the names of inputs, of the signature's dtypes.

    Args:
        signature: what they must fit.
        x: an array, if there is one input; or a dict of arrays by name.
        controls: the other inputs that are given, by name.

    Raises:
        ValueError: if names, shapes or dtypes don't fit.
    """
    features = signature.features
    if not isinstance(x, Mapping):
        if len(features) != 1:
            raise ValueError(
                "`x` must be a dict of arrays by the names of the inputs. "
                f"Received: {type(x).__name__}, where the signature takes "
                f"{describe(signature.inputs)}"
            )
        x = {features[0]: x}
    if unknown := sorted(set(x) - set(signature.inputs)):
        raise ValueError(
            f"`x` has inputs that the signature lacks: {unknown}. It takes "
            f"{describe(signature.inputs)}"
        )
    if missing := sorted(set(features) - set(x)):
        raise ValueError(
            f"`x` lacks the inputs {missing}. The signature takes "
            f"{describe(signature.inputs)}"
        )
    arrays = {name: _fit(signature.inputs[name], x[name]) for name in x}
    sizes = {n: len(array) for n, array in arrays.items() if array.ndim}
    if len(set(sizes.values())) > 1 or 0 in sizes.values():
        raise ValueError(
            "`x` must have at least one row, and as many in each input. "
            f"Received: {sizes}"
        )
    rows = next(iter(sizes.values()), 1)
    return arrays | _fit_controls(signature, controls, rows)


def _fit_controls(
    signature: Signature, controls: Mapping[str, Any], rows: int
) -> dict[str, Array]:
    """Makes one number or name for all rows one for each."""
    arrays = {}
    for name, value in controls.items():
        if name not in signature.inputs:
            of = (
                "signatures `seeded` or `dynamic`"
                if name in CONTROLS
                else "signatures with conformal sets or intervals that need it"
            )
            raise ValueError(
                f"`{name}` is an input of the {of} of an export. This "
                f"signature takes {describe(signature.inputs)}"
            )
        spec = signature.inputs[name]
        if np.ndim(value) == 0 and spec.shape.rank == 1:
            value = np.full(rows, value)
        arrays[name] = _fit(spec, value)
        if arrays[name].ndim and len(arrays[name]) != rows:
            raise ValueError(
                f"`{name}` must be one value, or one for each of the {rows} "
                f"rows. Received: {len(arrays[name])} of them"
            )
    return arrays


def _fit(spec: tf.TensorSpec, value: Any) -> Array:
    """Returns the value as an array of the spec's dtype, if it fits."""
    is_string = spec.dtype == tf.string
    array = np.asarray(value, object if is_string else None)
    if not spec.shape.is_compatible_with(array.shape):
        raise _misfit(spec, f"an array of shape {list(array.shape)}")
    if is_string:
        words = [x for x in array.ravel() if not isinstance(x, str | bytes)]
        if words:
            raise _misfit(spec, f"an array with {words[0]!r} in it")
        return array
    dtype = np.dtype(spec.dtype.as_numpy_dtype)
    kind, found = _kind(dtype), _kind(array.dtype)
    received = (
        f"{array.dtype} values such as {array.flat[0] if array.size else array}"
    )
    if found not in _KINDS.get(kind, kind) and array.dtype != dtype:
        raise _misfit(spec, received)
    with np.errstate(over="ignore"):
        cast = array.astype(dtype)
    if kind in "iu" and not np.array_equal(cast, array):
        raise _misfit(spec, received)
    if kind == "f" and np.any(np.isinf(cast) & ~np.isinf(array)):
        raise _misfit(spec, f"{received}, some of them too large for it")
    return cast


def _kind(dtype: Any) -> str:
    """Returns NumPy's letter for numbers; it knows none for bfloat16."""
    return "f" if dtype == tf.bfloat16.as_numpy_dtype else str(dtype.kind)


def _misfit(spec: tf.TensorSpec, received: str) -> ValueError:
    return ValueError(
        f"`{spec.name}` must be {_describe(spec)}. Received: {received}"
    )
