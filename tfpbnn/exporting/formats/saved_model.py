"""This writes signatures as a SavedModel."""

import pathlib
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tfpbnn.base.keras_private import held_layers
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
    try:
        with quiet():
            tf.saved_model.save(
                module, str(path), signatures=dict(traced), options=options
            )
    except AssertionError as error:
        if "untracked" not in str(error):
            raise
        raise ValueError(
            f"`posterior` ({model.name}) must hold the tables and variables "
            "that it uses as attributes of its layers, since no file has what "
            "is elsewhere. Received: a layer with one that Keras does not "
            "know of, such as a global one, or one inside an object that is "
            "no layer. Set it as an attribute, in the layer's constructor."
        ) from error


def _tables(model: Any) -> list[Any]:
    """Returns the tables of words, and the like, that a model is traced with.

    TensorFlow does not find an ensemble's networks, nor what Keras keeps in
    lists and dicts: Keras does.
    """
    roots: list[Any] = [model]
    if isinstance(model, Posterior):
        roots += model.templates()
    roots += [layer for root in roots for layer in held_layers(root)]
    resource = tf.saved_model.experimental.TrackableResource
    found = (
        part
        for root in roots
        for part in tf.train.TrackableView(root).descendants()
        if isinstance(part, resource)
    )
    return list({id(table): table for table in found}.values())
