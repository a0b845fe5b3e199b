"""This writes a signature for LiteRT."""

import pathlib

import tensorflow as tf

from tfpbnn.exporting.formats.converting import converted


def write(path: pathlib.Path, saved: pathlib.Path, name: str) -> None:
    """Writes a signature of a SavedModel by LiteRT's own operations."""

    def convert() -> bytes:
        converter = tf.lite.TFLiteConverter.from_saved_model(
            str(saved), signature_keys=[name]
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        return converter.convert()

    path.write_bytes(converted("LiteRT", convert))
