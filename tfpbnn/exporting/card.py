"""The card says what an export is, to whoever finds it on a server."""

import collections
import importlib.metadata
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.layers.kl import managed_weights
from tfpbnn.likelihoods import Likelihood
from tfpbnn.networks.reading import layers_of
from tfpbnn.particles.effects import is_random

_PACKAGES = ("keras", "tensorflow", "tensorflow-probability", "tfpbnn")


def model_card(
    model: Any,
    outputs: Mapping[str, Likelihood | None],
    traced: Mapping[str, Any],
    settings: Mapping[str, Any],
    more: Mapping[str, Any],
) -> dict[str, Any]:
    """Returns the card as plain data.

    Args:
        model: the posterior.
        outputs: the likelihood of each output, None if it has none.
        traced: the signatures' functions.
        settings: of the export.
        more: what its author knows of it.
    """
    random = [layer for layer in layers_of(model) if is_random(layer)]
    kinds = collections.Counter(type(layer).__name__ for layer in random)
    return {
        "name": model.name,
        "method": {
            "class": type(model).__name__,
            "random_layers": dict(sorted(kinds.items())),
        },
        "likelihood": {
            name: keras.saving.serialize_keras_object(likelihood)
            for name, likelihood in outputs.items()
            if likelihood is not None
        },
        "training_examples": _training_examples(model),
        **settings,
        "signatures": {
            name: _interface(trace) for name, trace in traced.items()
        },
        "versions": {name: _version(name) for name in _PACKAGES},
        **more,
    }


def write(path: pathlib.Path, card: Mapping[str, Any]) -> None:
    """Writes a card as JSON.

    Raises:
        TypeError: if what is in it is no plain data.
    """
    path.write_text(json.dumps(card, indent=2) + "\n")


def _training_examples(model: Any) -> int | None:
    """Reads the number of training examples, N, off a KL weight of 1 / N."""
    weights = {
        float(value)
        for weight in managed_weights(model)
        for value in np.ravel(weight.numpy())  # of an ensemble, its members'
    }
    if len(weights) != 1 or not 0 < min(weights) < 1:
        return None
    return round(1 / weights.pop())


def _interface(trace: Any) -> dict[str, Any]:
    arguments = tf.nest.flatten(trace.structured_input_signature)
    return {
        "inputs": {spec.name: _spec(spec) for spec in arguments},
        "outputs": {
            name: _spec(tensor)
            for name, tensor in sorted(trace.structured_outputs.items())
        },
    }


def _spec(tensor: Any) -> dict[str, Any]:
    return {"dtype": tensor.dtype.name, "shape": tensor.shape.as_list()}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
