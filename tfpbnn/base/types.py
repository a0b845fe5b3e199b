"""Defines type aliases of the package."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

Tensor = tf.Tensor
Array = np.ndarray
Shape = Sequence[int | None]
Config = dict[str, Any]
# Tensors or arrays in lists, tuples and dicts, as models take and give them.
Tree = Any
# A name, a config or an object, as in `keras.initializers.get`.
Identifier = str | Mapping[str, Any] | Any | None
