"""The random numbers of a layer: a seed, and how many draws were made."""

import sys
from typing import Any

import keras
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base import checks
from tfpbnn.base.types import Tensor

_VECTORIZER = "ops.parallel_for.control_flow_ops"


class Noise:
    """A part of a layer: the seed and the count of its draws.

    They are a weight of the layer, so that they are saved with it. The layer
    makes the part when it is made, and builds it when it is built.

    Args:
        layer: whose part it is; gets the seed as its attribute.
        seed: the user's. None takes one from Python's `random`.
        stream: the index of one of the streams of numbers that a seed gives.
        in_inference: whether there are draws in inference too.

    Attributes:
        state: the seed and the index of the next draw.
    """

    state: keras.Variable

    def __init__(
        self,
        layer: keras.layers.Layer,
        seed: int | None,
        *,
        stream: int = 0,
        in_inference: bool = True,
    ):
        layer.seed = self.seed = checks.seed(seed)
        self.stream = stream
        self.in_inference = in_inference

    def build(self, layer: keras.layers.Layer) -> None:
        """Adds the state to the weights of the layer."""
        layer.noise_state = self.state = layer.add_weight(
            name="noise_state",
            shape=(2,),
            dtype="int64",
            initializer=self._initial_state,
            trainable=False,
            autocast=False,
        )
        if self.in_inference:
            self.state.is_noise = True  # how other code finds it

    def _initial_state(self, shape: Any, dtype: Any) -> Tensor:
        seed = random.any_seed() if self.seed is None else self.seed
        return tf.constant([seed ^ (self.stream << 32), 0], dtype)

    def next_key(self) -> Tensor:
        """The key of the next draw; each call gives another one.

        Raises:
            RuntimeError: under `tf.vectorized_map`, which counts once for all
                of its elements.
        """
        # In a stateless scope the state belongs to whoever opened it.
        if isinstance(self.state.value, tf.Variable) and _is_vectorized():
            raise RuntimeError(
                "A layer that draws must not be called under tf.vectorized_map:"
                " all elements would get the same draw. Use tf.map_fn, or "
                "tfpbnn.predict for many draws. Received: a call with the "
                f"state {self.state.path}"
            )
        state = tf.identity(tf.convert_to_tensor(self.state))
        self.state.assign(state + tf.constant([0, 1], state.dtype))
        return random.fold_replica(state)


def _is_vectorized() -> bool:
    """Whether code is being traced by `tf.vectorized_map`.

    TensorFlow has no public name for that, so the callers are looked at, when a
    graph is made.
    """
    if tf.executing_eagerly():
        return False
    frame: Any = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").endswith(_VECTORIZER):
            return True
        frame = frame.f_back
    return False
