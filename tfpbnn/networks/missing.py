"""Says whether a network sees to NaN in its inputs itself.

Its predictions don't tell: compiled kernels of processors make 0 of relu(NaN).
So rows that have NaN are given to it operation by operation.
"""

from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base import data
from tfpbnn.networks import reading
from tfpbnn.networks.posterior import Posterior

_ROWS_AT_ONCE = 1024


def check_inputs(model: Any, x: Any, of: str = "") -> None:
    """Raises if inputs have NaN that the model does not see to itself.

    Args:
        model: a network or posterior; if it is built, it is asked for its
            outputs where there are NaN.
        x: an array, or a structure of them; streams pass.
        of: the words for what they are part of, for the message.

    Raises:
        ValueError: if outputs are not finite there either.
    """
    several = keras.tree.is_nested(x)
    names = reading.input_names(model) if several else None
    try:
        data.check_finite("x", x, of, names)
    except ValueError:
        rows = data.as_rows("x", x, is_finite=False)
        if not model.built or not is_seen_to(model, rows):
            raise


def is_seen_to(model: Any, rows: Any) -> bool:
    """Says whether a model makes finite outputs of all rows that have NaN.

    Args:
        model: a built network or posterior.
        rows: inputs as `data.as_rows` returns them.
    """
    is_posterior = isinstance(model, Posterior)
    networks = model.templates() if is_posterior else [model]
    parts = [part for part, _ in data.batches(rows, _ROWS_AT_ONCE)]
    missing = [part for part in parts if not data.are_finite(part)]
    try:
        return all(
            data.are_finite(_outputs(network, part))
            for network in networks
            for part in missing
        )
    except (TypeError, ValueError, tf.errors.OpError):
        return False


def _outputs(network: Any, rows: Any) -> Any:
    with keras.StatelessScope():  # counters of draws and states stay
        return network(rows, training=False)
