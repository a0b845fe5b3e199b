"""TensorFlow Serving's rules of JSON and tensors, as published.

https://www.tensorflow.org/tfx/serving/api_rest
"""

import base64
import json

import numpy as np
import tensorflow as tf


class Refused(Exception):
    """What a server answers instead of outputs."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code, self.message = code, message


def invalid(message):
    return Refused("INVALID_ARGUMENT", message)


def is_b64(value):
    return isinstance(value, dict) and set(value) == {"b64"}


def shape_of(value):
    """The shape by the first elements, as the server takes it."""
    if not isinstance(value, list):
        return []
    return [len(value), *(shape_of(value[0]) if value else [])]


def leaves(value, shape, dtype, level=0):
    """Flat values, all at the same depth and of the right JSON type."""
    if isinstance(value, list):
        if level >= len(shape):
            raise invalid(f"Encountered list at unexpected level: {level}")
        if len(value) != shape[level]:
            raise invalid(f"Encountered list at unexpected size: {len(value)}")
        for item in value:
            yield from leaves(item, shape, dtype, level + 1)
        return
    if level != len(shape):
        raise invalid(f"JSON Value: {value} found at incorrect level: {level}")
    yield leaf(value, dtype)


def leaf(value, dtype):
    if dtype in (tf.float16, tf.bfloat16):
        raise Refused(
            "UNIMPLEMENTED", f"Conversion of JSON Value: {value} to {dtype}"
        )
    if dtype == tf.string:
        if is_b64(value):
            return base64.b64decode(value["b64"])
        fits = isinstance(value, str)
    elif dtype == tf.bool:
        fits = isinstance(value, bool)
    elif dtype.is_integer:
        fits = type(value) is int
    else:
        fits = type(value) in (int, float)
        if type(value) is int and abs(value) >= 2**24 and dtype == tf.float32:
            raise invalid(f"Cannot convert JSON value: {value} without loss")
    if not fits:
        raise invalid(f"JSON Value: {value} is not of expected type: {dtype}")
    return value.encode() if dtype == tf.string else value


def to_array(value, dtype):
    shape = shape_of(value)
    flat = list(leaves(value, shape, dtype))
    return np.array(flat, dtype.as_numpy_dtype).reshape(shape)


def read(text, specs_of):
    """(signature, format, arrays) of a request's body."""
    try:
        body = json.loads(text)
    except ValueError as error:
        raise invalid(f"JSON Parse error: {error}") from error
    name = body.get("signature_name", "serving_default")
    specs = specs_of(name)
    if ("instances" in body) == ("inputs" in body):
        raise invalid("expecting only one of 'inputs' or 'instances'")
    if "instances" in body:
        return name, "row", from_rows(body["instances"], specs)
    return name, "columnar", from_columns(body["inputs"], specs)


def from_columns(inputs, specs):
    if not isinstance(inputs, dict) or is_b64(inputs):
        if len(specs) > 1:
            raise invalid("inputs is a plain value/list, but expecting objects")
        inputs = {next(iter(specs)): inputs}
    if missing := [name for name in specs if name not in inputs]:
        raise invalid(f"Missing named input: {missing[0]} in 'inputs' object.")
    return {n: to_array(inputs[n], dtype) for n, dtype in specs.items()}


def from_rows(rows, specs):
    if not isinstance(rows, list) or not rows:
        raise invalid("No values in 'instances' array")
    if not isinstance(rows[0], dict) or is_b64(rows[0]):
        if len(specs) > 1:
            raise invalid("instances is a plain list, but expecting objects")
        rows = [{next(iter(specs)): row} for row in rows]
    for row in rows:
        if set(row) != set(specs):
            raise invalid(f"{row} must only have keys: {','.join(specs)}")
    columns = {
        n: [to_array(row[n], dtype) for row in rows]
        for n, dtype in specs.items()
    }
    for parts in columns.values():
        if len({part.shape for part in parts}) > 1:
            raise invalid(f"Expecting shape {parts[0].shape}")
    return {name: np.stack(parts) for name, parts in columns.items()}


def write(outputs, layout):
    """The body of an answer; a single output loses its name."""
    for name, array in outputs.items():
        if array.dtype.itemsize == 2 and array.dtype.kind not in "iu":
            raise Refused("UNIMPLEMENTED", f"{name} of type {array.dtype}")
    listed = {name: array.tolist() for name, array in outputs.items()}
    only = next(iter(listed.values())) if len(listed) == 1 else None
    if layout == "columnar":
        return json.dumps({"outputs": only if only is not None else listed})
    sizes = {array.shape[:1] for array in outputs.values()}
    if len(sizes) > 1 or () in sizes:
        raise invalid("Tensors must have the same 0th dimension")
    if only is not None:
        return json.dumps({"predictions": only})
    rows = zip(*listed.values(), strict=True)
    return json.dumps(
        {"predictions": [dict(zip(listed, row, strict=True)) for row in rows]}
    )
