"""Writes signatures as a SavedModel, for LiteRT or as ONNX."""

import contextlib
import io
import logging
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import tensorflow as tf

from tfpbnn.particles.graph import layers_of

_OPSET = 18
# What ONNX calls the type of shapes.
_INT64 = 7


def write_saved_model(
    path: pathlib.Path, traced: Mapping[str, Any], model: Any
) -> None:
    """Writes traced functions as signatures of a SavedModel.

    Not by `keras.export.ExportArchive`, whose files were half as large again.

    Args:
        path: a folder, which is made.
        traced: the functions.
        model: whose tables of words they use.
    """
    module = tf.Module()
    used = {id(x) for trace in traced.values() for x in trace.captured_inputs}
    variables = [v.value for v in model.variables]
    for trace in traced.values():
        variables += trace.variables
    # Of a graph that was cut, not all of the variables are used.
    module.kept_variables = list(
        {id(v): v for v in variables if id(v.handle) in used}.values()
    )
    module.kept_tables = [
        part
        for layer in layers_of(model)
        for part in vars(layer).values()
        if isinstance(part, tf.saved_model.experimental.TrackableResource)
    ]
    with quiet():
        tf.saved_model.save(module, str(path), signatures=dict(traced))


def write_litert(path: pathlib.Path, saved: pathlib.Path, name: str) -> None:
    """Writes a signature of a SavedModel for LiteRT, of its own operations."""

    def convert() -> bytes:
        converter = tf.lite.TFLiteConverter.from_saved_model(
            str(saved), signature_keys=[name]
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        return converter.convert()

    path.write_bytes(_converted("LiteRT", convert))


def write_onnx(path: pathlib.Path, saved: pathlib.Path, name: str) -> None:
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
        onnx.checker.check_model(model)
        return model

    path.write_bytes(_converted("ONNX", convert).SerializeToString())


def _broadcast_shape(context: Any, node: Any, *_: Any) -> None:
    """The shape that two shapes broadcast to, which tf2onnx does not know.

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


def _converted(kind: str, convert: Callable[[], Any]) -> Any:
    try:
        with quiet():
            return convert()
    except Exception as error:
        reason = str(error).split("\n", 1)[0][:500]
        raise ValueError(
            f"`posterior` has operations that {kind} does not: {reason}"
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what converters print and log."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
