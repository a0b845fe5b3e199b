"""This writes a signature as ONNX."""

import pathlib
from typing import Any

import tensorflow as tf

from tfpbnn.exporting.formats.converting import converted

_OPSET = 18
# What ONNX calls the type of shapes.
_INT64 = 7


def write(path: pathlib.Path, saved: pathlib.Path, name: str) -> None:
    """Writes a signature of a SavedModel as ONNX."""
    try:
        import onnx
        import tf2onnx
    except ImportError as error:
        raise ImportError(
            'format="onnx" needs tf2onnx: pip install "tfpbnn[onnx]"'
        ) from error
    loaded = tf.saved_model.load(str(saved))
    function = loaded.signatures[name]
    specs = function.structured_input_signature[1]

    def convert() -> Any:
        @tf.function(input_signature=list(specs.values()), autograph=False)
        def positional(*tensors: Any) -> Any:
            # TensorFlow freezes the variables that it has seen in use.
            seen = [tf.identity(v) for v in loaded.kept_variables]
            with tf.control_dependencies(seen):
                return function(**dict(zip(specs, tensors, strict=True)))

        model, _ = tf2onnx.convert.from_function(
            positional,
            input_signature=list(specs.values()),
            opset=_OPSET,
            custom_op_handlers={"BroadcastArgs": (_broadcast_shape, [])},
        )
        # tf2onnx calls it a success to leave in what it does not know.
        onnx.checker.check_model(model, full_check=True)
        return model

    path.write_bytes(converted("ONNX", convert).SerializeToString())


def _broadcast_shape(context: Any, node: Any, *_: Any) -> None:
    """Makes the shape that two shapes broadcast to; tf2onnx has none.

    Moments of some likelihoods ask for it.
    """
    dtype, (output,) = context.get_dtype(node.output[0]), node.output
    first, second = (
        context.make_node("Cast", [name], attr={"to": _INT64}).output[0]
        for name in node.input
    )
    context.remove_node(node.name)
    filled = context.make_node("ConstantOfShape", [first]).output
    expanded = context.make_node("Expand", [filled[0], second]).output
    shape = context.make_node("Shape", expanded).output
    context.make_node(
        "Cast", shape, attr={"to": dtype}, name=node.name, outputs=[output]
    )
