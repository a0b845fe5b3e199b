"""Checks that the workers of a strategy are about to do the same."""

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base import data

_PACKAGES = ("tensorflow", "keras", "tensorflow-probability", "tfpbnn")


def check(
    model: Any, given: Mapping[str, Any], strategy: Any, is_training: bool
) -> None:
    """Raises, in all workers, if they are not about to train the same.

    Each tells the others a hash of its versions, seed, model and arguments.

    Args:
        model: the model that is about to be trained or evaluated.
        given: the arguments of Keras's `fit` or `evaluate`, by name.
        strategy: the model's strategy, of several workers.
        is_training: whether the arguments are those of `fit`, which shuffles.

    Raises:
        ValueError: naming what differs; or if arrays are shuffled by seeds
            that were not set.
    """
    facts = _facts(model, given)
    agree(facts, strategy)
    is_shuffled = facts["the number of rows"] and given.get("shuffle", True)
    if is_training and is_shuffled and facts["the seed"] is None:
        raise ValueError(
            "`keras.utils.set_random_seed` must be called with the same number "
            "in all workers, which else shuffle differently, and train on some "
            "rows twice and on others never. Received: no seed. Or pass "
            "`shuffle=False`"
        )


def agree(facts: Mapping[str, Any], strategy: Any) -> None:
    """Raises, in all workers, if facts are not the same in all of them.

    Args:
        facts: plain values, by the words for what they are of.
        strategy: the strategy, of several workers.

    Raises:
        ValueError: naming the facts that differ.
    """
    own = np.array([_hashed(value) for value in facts.values()], np.int64)
    every = strategy.gather(tf.constant(own)[tf.newaxis], axis=0).numpy()
    differ = np.any(every != every[:1], axis=0)
    if np.any(differ):
        pairs = zip(facts, differ, strict=True)
        names = [name for name, is_other in pairs if is_other]
        received = {name: facts[name] for name in names}
        raise ValueError(
            f"Workers must agree in {', '.join(names)}. Received, in this one: "
            f"{str(received)[:1000]}; in another one it differs"
        )


def _facts(model: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    x, optimizer = given.get("x"), model.optimizer
    is_counted = x is not None and not data.is_stream(x)
    names = ("batch_size", "epochs", "steps_per_epoch", "initial_epoch")
    return {
        "the versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in _PACKAGES},
        },
        "the seed": _seed(),
        "the dtype": keras.config.dtype_policy().name,
        # Keras numbers names, so that a model which one worker made before, for
        # itself, changes all later ones.
        "the model": [
            (list(v.shape), str(v.dtype), v.trainable) for v in model.weights
        ],
        "the optimizer": optimizer and optimizer.get_config() | {"name": ""},
        "the arguments of `fit`": {name: given.get(name) for name in names},
        "the number of rows": data.count_examples(x, 0.0) if is_counted else 0,
    }


def _seed() -> int | None:
    """Returns the global seed of TensorFlow; None if it was not set."""
    with tf.Graph().as_default():
        none = tf.compat.v1.get_seed(0)[0]
    seed = tf.compat.v1.get_seed(0)[0]
    return None if seed == none else seed


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _hashed(value: Any) -> int:
    """Hashes a plain value; of others only the classes count."""
    text = json.dumps(value, default=lambda other: type(other).__name__)
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
