"""Makes the dropout inside of a layer random in inference too."""

import contextlib
import functools
import inspect
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base import checks, registry
from tfpbnn.base.types import Config, Tensor
from tfpbnn.layers.dropout import mc_noise, mc_spatial_dropout
from tfpbnn.layers.dropout.mc_noise import MCNoise
from tfpbnn.layers.random_layer import RandomLayer

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
# Of an object, a method and what it is to be.
Patch = tuple[Any, str, Callable[..., Any]]


def twin(layer: Any, rate: float | None = None) -> MCNoise | None:
    """The layer of ours for a noise layer of Keras's; None for other layers.

    Args:
        layer: any layer.
        rate: of the twin, instead of the layer's.
    """
    cls = _TWINS.get(type(layer))
    if cls is None:
        return None
    config = layer.get_config()
    if rate is not None and "rate" in config:
        config["rate"] = rate
    return cls.from_config(config)


def has_twin(layer: Any) -> bool:
    """Whether `twin` has a layer of ours for a layer."""
    return type(layer) in _TWINS


def has_noise(layer: Any) -> bool:
    """Whether a layer of Keras's, or one inside of it, is random in training.

    By dropout and the like, at a rate above 0.
    """
    return any(_is_noisy(part) for part in _parts(layer))


def _is_noisy(part: Any) -> bool:
    if type(part) in _TWINS:
        return max(getattr(part, "rate", 0), getattr(part, "stddev", 0)) > 0
    if _is_cell(part):
        return max(part.dropout, part.recurrent_dropout) > 0
    return _is_attention(part) and part.dropout > 0


def _parts(layer: Any) -> list[Any]:
    """The layer and all that it holds, but for what is random anyway."""
    if isinstance(layer, RandomLayer):
        return []
    inner = layer._flatten_layers(include_self=False, recursive=False)
    return [layer, *(part for held in inner for part in _parts(held))]


def _is_cell(part: Any) -> bool:
    return hasattr(part, "get_recurrent_dropout_mask")


def _is_attention(part: Any) -> bool:
    """Whether a layer drops scores without a dropout layer for it."""
    return isinstance(part, keras.layers.Attention)  # the additive one too


@registry.register("layers")
class MCWrapper(RandomLayer, keras.layers.Wrapper):
    """A layer of Keras's whose inner dropout is random in inference too.

    For recurrent layers with `dropout` or `recurrent_dropout`, for attention
    with `dropout`, and for any layer that holds dropout layers. Nothing else
    in it learns of it: a BatchNorm stays in inference mode. Masks are those of
    `MCDropout`: for each row in training, once for each draw in
    `tfpbnn.predict`, and, in recurrent layers, the same for all time steps.

    Args:
        layer: the layer.
        rate: of all its dropout, instead of the layer's own rates; None keeps
            these.
        seed: of the noise. None takes one from Python's `random`.
        **kwargs: `name`, `dtype`, `trainable` of any Keras layer.

    Call arguments:
        *args: those of the layer.
        **kwargs: those of the layer.

    Input shape:
        That of the layer.

    Output shape:
        That of the layer.

    Raises:
        ValueError: if `rate` is not from 0 to below 1.

    Example:
    ```python
    lstm = keras.layers.LSTM(8, recurrent_dropout=0.2)
    layer = tfpbnn.layers.MCWrapper(lstm)
    layer(keras.random.normal((2, 5, 3)))
    ```

    Reference:
        [Gal and Ghahramani, 2016](https://arxiv.org/abs/1512.05287)
    """

    draws_weights = False

    def __init__(
        self,
        layer: keras.layers.Layer,
        *,
        rate: float | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        # Keras reads off the signature which tensors, masks and modes to pass.
        self.call = _with_signature(layer.call, self._call)
        super().__init__(layer, **kwargs)
        self.rate = None if rate is None else checks.rate("rate", rate)
        self.noise_seed = checks.seed(seed)
        self.supports_masking = layer.supports_masking

    def build(self, input_shape: Any = None) -> None:
        del input_shape  # The layer is built when it is called.
        self._build_noise()

    def compute_mask(self, *args: Any, **kwargs: Any) -> Any:
        return self.layer.compute_mask(*args, **kwargs)

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        if not self.layer.built:
            self.layer(*args, **kwargs)  # Only then it has all its parts.
        key = self._draw_key()
        if key is None:
            return self.layer(*args, **kwargs)
        with _patched(list(self._patches(key))):
            return self.layer(*args, **kwargs)

    def _patches(self, key: Tensor) -> Iterator[Patch]:
        numbers = itertools.count()

        def draw(noise: MCNoise, inputs: Tensor, **modes: Any) -> Tensor:
            del modes
            return noise.with_key(inputs, random.fold(key, next(numbers)))

        for part in _parts(self.layer):
            noise = twin(part, self.rate)
            if noise is not None:
                yield part, "call", functools.partial(draw, noise)
            elif _is_cell(part):
                for kind in ("dropout", "recurrent_dropout"):
                    mask = functools.partial(self._mask, draw, part, kind)
                    yield part, f"get_{kind}_mask", _once(mask)
            elif _is_attention(part) and part.dropout > 0:
                apply = functools.partial(self._apply_scores, draw, part)
                yield part, "_apply_scores", apply
            elif isinstance(part, keras.layers.RNN) and has_noise(part):
                # Of its training mode only the masks are a part.
                yield part, "call", _training(part.call)

    def _mask(
        self, draw: Callable[..., Tensor], cell: Any, kind: str, inputs: Tensor
    ) -> Any:
        """What Keras's cells multiply their inputs or states with."""
        rate = getattr(cell, kind)
        if rate == 0:
            return None
        dropout = self._dropout(rate, cell)
        count = getattr(cell, "dropout_mask_count", None)
        masks = [draw(dropout, tf.ones_like(inputs)) for _ in range(count or 1)]
        return masks[0] if count is None else masks

    def _apply_scores(
        self,
        draw: Callable[..., Tensor],
        attention: Any,
        scores: Tensor,
        value: Tensor,
        scores_mask: Any = None,
        training: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """What Keras's attention does with its scores, dropped likewise."""
        del training
        _, weights = type(attention)._apply_scores(
            attention, scores, value, scores_mask
        )
        weights = draw(self._dropout(attention.dropout, attention), weights)
        return keras.ops.matmul(weights, value), weights

    def _dropout(self, rate: float, part: Any) -> mc_noise.MCDropout:
        rate = rate if self.rate is None else self.rate
        return mc_noise.MCDropout(rate, dtype=part.compute_dtype)

    def get_config(self) -> Config:
        return super().get_config() | {
            "rate": self.rate,
            "seed": self.noise_seed,
        }


def _with_signature(
    like: Callable[..., Any], function: Callable[..., Any]
) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    call.__signature__ = inspect.signature(like)  # type: ignore[attr-defined]
    return call


def _once(function: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
    """The result of the first call for all: a sequence has one mask."""
    found: list[Any] = []

    def call(inputs: Tensor) -> Any:
        if not found:
            found.append(function(inputs))
        return found[0]

    return call


def _training(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs | {"training": True})

    return call


@contextlib.contextmanager
def _patched(patches: list[Patch]) -> Iterator[None]:
    """Puts other methods in the place of some objects' own."""
    for owner, name, function in patches:
        owner.__dict__[name] = function
    try:
        yield
    finally:
        for owner, name, _ in patches:
            del owner.__dict__[name]
