"""Writes signatures as a SavedModel."""

import pathlib
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tfpbnn.exporting.formats.converting import quiet
from tfpbnn.networks.reading import attributes, layers_of


def write(path: pathlib.Path, traced: Mapping[str, Any], model: Any) -> None:
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
        for part in attributes(
            layer, tf.saved_model.experimental.TrackableResource
        ).values()
    ]
    with quiet():
        tf.saved_model.save(module, str(path), signatures=dict(traced))
