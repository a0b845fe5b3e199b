"""Writes signatures as a SavedModel."""

import pathlib
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tfpbnn.exporting.formats.converting import quiet
from tfpbnn.networks.posterior import Posterior


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
        table for table in _tables(model) if id(table.resource_handle) in used
    ]
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    with quiet():
        tf.saved_model.save(
            module, str(path), signatures=dict(traced), options=options
        )


def _tables(model: Any) -> list[Any]:
    """The tables of words, and the like, of all that a model is traced with.

    An ensemble's networks are no part of it for TensorFlow or Keras, and a
    table may be anywhere in a layer.
    """
    networks = model.templates() if isinstance(model, Posterior) else []
    parts = {
        id(part): part
        for root in (model, *networks)
        for part in tf.train.TrackableView(root).descendants()
    }
    resource = tf.saved_model.experimental.TrackableResource
    return [part for part in parts.values() if isinstance(part, resource)]
