"""Makes the dropout inside of a layer random in inference too."""

import functools
import inspect
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base import checks, registry
from tfpbnn.base.keras_private import APPLY_SCORES, held_layers, tell_apart
from tfpbnn.base.types import Config, Tensor
from tfpbnn.layers.dropout import mc_noise, mc_spatial_dropout
from tfpbnn.layers.dropout.mc_noise import MCNoise
from tfpbnn.layers.noise import Noise
from tfpbnn.layers.random_layer import RandomLayer
from tfpbnn.networks.kernels import has_kernel
from tfpbnn.networks.reading import is_stateful
from tfpbnn.networks.stand_ins import Attributes, StandIns, callee

_TWINS: dict[type, type[MCNoise]] = {
    keras.layers.AlphaDropout: mc_noise.MCAlphaDropout,
    keras.layers.Dropout: mc_noise.MCDropout,
    keras.layers.GaussianDropout: mc_noise.MCGaussianDropout,
    keras.layers.GaussianNoise: mc_noise.MCGaussianNoise,
    keras.layers.SpatialDropout1D: mc_spatial_dropout.MCSpatialDropout1D,
    keras.layers.SpatialDropout2D: mc_spatial_dropout.MCSpatialDropout2D,
    keras.layers.SpatialDropout3D: mc_spatial_dropout.MCSpatialDropout3D,
}
_TWINS |= {cls: cls for cls in _TWINS.values()}
# Applies noise with the next key of a call.
Draw = Callable[[MCNoise, Tensor], Tensor]


def twin(layer: Any, rate: float | None = None) -> MCNoise | None:
    """Makes our layer for a noise layer of Keras's; None for other layers.

    Args:
        layer: any layer.
        rate: the rate of the twin, instead of the layer's.
    """
    cls = _TWINS.get(type(layer))
    if cls is None:
        return None
    config = layer.get_config()
    if rate is not None and "rate" in config:
        config["rate"] = rate
    return cls.from_config(config)


def has_twin(layer: Any) -> bool:
    """Says whether `twin` makes a layer for this one."""
    return type(layer) in _TWINS


def has_noise(layer: Any) -> bool:
    """Says whether a layer of Keras's, or one in it, is random in training.

    Its noise is dropout or the like, at a rate above 0.
    """
    return any(_is_noisy(part) for part in _parts(layer))


def _is_noisy(part: Any) -> bool:
    if type(part) in _TWINS:
        return max(getattr(part, "rate", 0), getattr(part, "stddev", 0)) > 0
    if _is_cell(part):
        return max(part.dropout, part.recurrent_dropout) > 0
    return _is_attention(part) and part.dropout > 0


def _parts(layer: Any) -> list[Any]:
    """Lists the layer and all that it holds, without layers that are random."""
    if isinstance(layer, RandomLayer):
        return []
    inner = held_layers(layer, recursive=False)
    return [layer, *(part for held in inner for part in _parts(held))]


def _is_cell(part: Any) -> bool:
    return hasattr(part, "get_recurrent_dropout_mask")


def _is_attention(part: Any) -> bool:
    """Says whether a layer drops scores without a dropout layer for it."""
    return isinstance(part, keras.layers.Attention)  # the additive one too


@registry.register("layers")
class MCWrapper(RandomLayer, keras.layers.Wrapper):
    """Makes the dropout inside of a layer of Keras's random in inference too.

    It is for recurrent layers with `dropout` or `recurrent_dropout`, for
    attention with `dropout`, and for any layer that holds dropout layers. The
    other parts of the layer don't change: BatchNorm stays in inference mode.
    Masks are those of `MCDropout`: for each row in training, once for each draw
    in `tfpbnn.predict`, and, in recurrent layers, the same for all time steps.

    Args:
        layer: the layer.
        rate: the rate of all its dropout, instead of the layer's own rates;
            None keeps these.
        before_kernels: "all" to put dropout of this rate before each layer with
            a kernel inside of the layer too, "hidden" to do so for all but the
            one that is called first; None, the default, for no new dropout.
        seed: the seed of the random numbers. None takes one from Python's
            `random`.

    Call arguments:
        *args: the call arguments of the layer.
        **kwargs: the call arguments of the layer.

    Input shape:
        That of the layer.

    Output shape:
        That of the layer.

    Raises:
        ValueError: if `rate` is not from 0 to below 1, or None where
            `before_kernels` needs it; if `before_kernels` has another value.

    Example:
    ```python
    lstm = keras.layers.LSTM(8, recurrent_dropout=0.2)
    layer = tfpbnn.layers.MCWrapper(lstm)
    layer(keras.random.normal((2, 5, 3)))
    ```

    Reference:
        [Gal and Ghahramani, 2016](https://arxiv.org/abs/1512.05287)
    """

    noise: Noise

    def __init__(
        self,
        layer: keras.layers.Layer,
        *,
        rate: float | None = None,
        before_kernels: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        # Keras reads off the signature which tensors, masks and modes to pass.
        self.call = with_signature(layer.call, self._call)
        super().__init__(layer, **kwargs)
        self.rate = None if rate is None else checks.rate("rate", rate)
        if before_kernels is not None:
            checks.one_of("before_kernels", before_kernels, ["all", "hidden"])
            if rate is None:
                raise ValueError(
                    "`rate` must be given with `before_kernels`: that of the "
                    "dropout before them. Received: rate=None"
                )
        self.before_kernels = before_kernels
        self.noise = Noise(self, seed)
        self.supports_masking = layer.supports_masking

    def build(self, input_shape: Any = None) -> None:
        # The layer is built when it is called; but states of rows must be
        # made before, where Keras lets no others be made.
        if is_stateful(self.layer):
            super().build(input_shape)
        self.noise.build(self)

    def drawing(self, input_shape: Any = None) -> random.Drawing:
        return random.Drawing()

    def compute_mask(self, *args: Any, **kwargs: Any) -> Any:
        return self.layer.compute_mask(*args, **kwargs)

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        if not self.layer.built:
            self.layer(*args, **kwargs)  # Only then it has all its parts.
        layer, key = callee(self.layer), self._draw_key()
        if key is None:
            return layer(*args, **kwargs)
        numbers = itertools.count()

        def draw(noise: MCNoise, inputs: Tensor) -> Tensor:
            return noise.with_key(inputs, random.fold(key, next(numbers)))

        methods = functools.partial(self._methods, draw, itertools.count())
        return StandIns(methods).of(layer)(*args, **kwargs)

    def _methods(
        self, draw: Draw, calls: Iterator[int], part: Any
    ) -> Attributes | None:
        """Makes the methods of a layer's stand-in that differ from the layer's.

        Args:
            draw: a function that applies noise.
            calls: a counter of the calls of layers with kernels.
            part: the layer.
        """
        if isinstance(part, RandomLayer):
            return None  # is random anyway
        noise = twin(part, self.rate)
        if noise is not None:
            return {"call": lambda _, inputs, **__: draw(noise, inputs)}
        if self.before_kernels and has_kernel(part):
            return {"call": self._dropped(draw, calls)}
        if _is_cell(part):
            kinds = ("dropout", "recurrent_dropout")
            return {f"get_{k}_mask": self._mask(draw, k) for k in kinds}
        if _is_attention(part) and part.dropout > 0:
            return {APPLY_SCORES: functools.partial(self._weighted, draw)}
        if isinstance(part, keras.layers.RNN) and has_noise(part):
            return {"call": _call_training}
        return {}

    def _dropped(self, draw: Draw, calls: Iterator[int]) -> Callable[..., Any]:
        """Makes the call of a layer with a kernel, with dropout of inputs."""

        def call(part: Any, inputs: Tensor, *args: Any, **kwargs: Any) -> Any:
            is_first = next(calls) == 0 and self.before_kernels == "hidden"
            if inputs.dtype.is_floating and not is_first:
                assert self.rate is not None
                inputs = draw(self._dropout(self.rate, part), inputs)
            return type(part).call(part, inputs, *args, **kwargs)

        return call

    def _mask(self, draw: Draw, kind: str) -> Callable[[Any, Tensor], Any]:
        """Makes a cell's method that returns masks of inputs or states.

        The mask is the same in all steps of a sequence.
        """
        found: list[Any] = []

        def mask(cell: Any, inputs: Tensor) -> Any:
            rate = getattr(cell, kind)
            if rate == 0:
                return None
            if not found:
                dropout, ones = self._dropout(rate, cell), tf.ones_like(inputs)
                count = getattr(cell, "dropout_mask_count", None)
                masks = [draw(dropout, ones) for _ in range(count or 1)]
                found.append(masks[0] if count is None else masks)
            return found[0]

        return mask

    def _weighted(
        self,
        draw: Draw,
        attention: Any,
        scores: Tensor,
        value: Tensor,
        scores_mask: Any = None,
        training: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Weights values by Keras's attention, with dropout of the scores."""
        plain = getattr(type(attention), APPLY_SCORES)
        _, weights = plain(attention, scores, value, scores_mask)
        weights = draw(self._dropout(attention.dropout, attention), weights)
        return keras.ops.matmul(weights, value), weights

    def _dropout(self, rate: float, part: Any) -> mc_noise.MCDropout:
        rate = rate if self.rate is None else self.rate
        return mc_noise.MCDropout(rate, dtype=part.compute_dtype)

    def get_config(self) -> Config:
        tell_apart([self.layer, *held_layers(self.layer)])
        return super().get_config() | {
            "rate": self.rate,
            "before_kernels": self.before_kernels,
            "seed": self.seed,
        }


def with_signature(
    like: Callable[..., Any], function: Callable[..., Any]
) -> Callable[..., Any]:
    """A function under the signature of another one."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    call.__signature__ = inspect.signature(like)  # type: ignore[attr-defined]
    return call


def _call_training(rnn: Any, *args: Any, **kwargs: Any) -> Any:
    """Calls a recurrent layer in training mode, on which only masks depend."""
    return type(rnn).call(rnn, *args, **kwargs | {"training": True})
