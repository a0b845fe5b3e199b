"""Defines Keras's noise layers, random in inference too."""

import abc
import math
from typing import Any

from tfpbnn import random
from tfpbnn.base import checks, registry
from tfpbnn.base.types import Config, Shape, Tensor
from tfpbnn.layers.dropout.perturbed import NoiseShape, perturbed
from tfpbnn.layers.noise import Noise
from tfpbnn.layers.random_layer import RandomLayer

# The alpha and the scale of SELU: a dropped unit is set to -1 * alpha * scale.
_SELU_SATURATION = -1.6732632423543772 * 1.0507009873554805


class MCNoise(RandomLayer):
    """Adds noise to the inputs, in training and in inference.

    In training and in plain calls each row has its own noise, as in Keras. In
    `tfpbnn.predict` a draw is one function, with the same noise for all rows,
    unless `draws="marginal"` asks for separate draws of each row. With
    `draws="mean"` there is no noise.

    Input shape:
        Any.

    Output shape:
        That of the inputs.
    """

    noise: Noise

    def __init__(self, seed: int | None, **kwargs: Any):
        super().__init__(**kwargs)
        self.noise = Noise(self, seed)
        self.supports_masking = True

    @abc.abstractmethod
    def noisy(self, inputs: Tensor, numbers: random.RandomNumbers) -> Tensor:
        """Adds the noise that these numbers make to the inputs, elementwise."""

    def sizes_of_noise(self, rank: int) -> NoiseShape:
        """Returns Keras's `noise_shape`, for inputs with `rank` axes."""
        return None

    def with_key(self, inputs: Tensor, key: Tensor | None) -> Tensor:
        """Computes the outputs for a key from elsewhere."""
        if key is None:
            return inputs
        shape = self.sizes_of_noise(len(inputs.shape))
        return perturbed(inputs, key, self.noisy, shape)

    def build(self, input_shape: Any) -> None:
        self.noise.build(self)

    def call(self, inputs: Tensor) -> Tensor:
        return self.with_key(inputs, self._draw_key())

    def drawing(self, input_shape: Any = None) -> random.Drawing:
        return random.Drawing(can_stack=True, can_be_marginal=True)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        return input_shape

    def get_config(self) -> Config:
        return super().get_config() | {"seed": self.seed}


class MCRate(MCNoise):
    """A base of noise whose size is a rate, that of dropout or another kind."""

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any):
        super().__init__(seed, **kwargs)
        self.rate = checks.rate("rate", rate)

    def noisy(self, inputs: Tensor, numbers: random.RandomNumbers) -> Tensor:
        kept = numbers.kept(self.rate, inputs.dtype)
        return inputs * (kept * (1 / (1 - self.rate)))

    def get_config(self) -> Config:
        return super().get_config() | {"rate": self.rate}


class MCUnits(MCRate):
    """A base of dropout of units, with a shape of the noise."""

    def __init__(
        self,
        rate: float,
        noise_shape: Any = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(rate, seed, **kwargs)
        self.noise_shape = _check_noise_shape(noise_shape)

    def sizes_of_noise(self, rank: int) -> NoiseShape:
        return self.noise_shape

    def get_config(self) -> Config:
        return super().get_config() | {"noise_shape": self.noise_shape}


def _check_noise_shape(value: Any) -> NoiseShape:
    if value is None:
        return None
    try:
        sizes = None if isinstance(value, str) else tuple(value)
    except TypeError:
        sizes = None
    if sizes is None or not all(
        size is None or (isinstance(size, int) and size > 0) for size in sizes
    ):
        raise ValueError(
            "`noise_shape` must be None or a sequence of None and positive "
            f"integers. Received: noise_shape={value!r}"
        )
    return sizes


@registry.register("layers")
class MCDropout(MCUnits):
    """A `keras.layers.Dropout` that drops in inference too.

    Args:
        rate: the fraction of units to drop, from 0 to below 1. Kept units are
            multiplied with `1 / (1 - rate)`.
        noise_shape: the shape of the mask, as in Keras: None, or a size for
            each axis, 1 for axes along which the mask is the same and None
            for the size of the inputs. `(None, 1, None)` drops features of
            whole sequences.
        seed: the seed of the noise. None takes one from Python's `random`,
            which `keras.utils.set_random_seed` seeds.

    Call arguments:
        inputs: a tensor.

    Raises:
        ValueError: if `rate` or `noise_shape` has other values; when called, if
            `noise_shape` does not fit the inputs.

    Example:
    ```python
    model = keras.Sequential([
        keras.Input((4,)),
        keras.layers.Dense(16, activation="relu"),
        tfpbnn.layers.MCDropout(0.2),
        keras.layers.Dense(2),
    ])
    model.compile("adam", loss=tfpbnn.likelihoods.Normal())
    tfpbnn.predict(model, x).epistemic_variance
    ```

    Reference:
        [Gal and Ghahramani, 2016](https://arxiv.org/abs/1506.02142)
    """


@registry.register("layers")
class MCAlphaDropout(MCUnits):
    """A `keras.layers.AlphaDropout` that drops in inference too.

    It is for networks of SELUs: dropped units are set to where a SELU
    saturates, and mean and variance of standardized inputs stay as they are.
    Arguments and errors are those of `MCDropout`.

    Example:
    ```python
    tfpbnn.layers.MCAlphaDropout(0.1)(x)
    ```

    Reference:
        [Klambauer et al., 2017](https://arxiv.org/abs/1706.02515)
    """

    def noisy(self, inputs: Tensor, numbers: random.RandomNumbers) -> Tensor:
        dropped, rate = _SELU_SATURATION, self.rate
        # Such that standardized inputs stay that.
        slope = ((1 - rate) * (1 + rate * dropped**2)) ** -0.5
        kept = numbers.kept(rate, inputs.dtype)
        outputs = inputs * kept + dropped * (1 - kept)
        return slope * outputs - slope * dropped * rate


@registry.register("layers")
class MCGaussianDropout(MCRate):
    """A `keras.layers.GaussianDropout` that is noisy in inference too.

    Inputs are multiplied with `Normal(1, sqrt(rate / (1 - rate)))`, which has
    the mean and the variance of dropout. The arguments `rate` and `seed` are
    those of `MCDropout`.

    Example:
    ```python
    tfpbnn.layers.MCGaussianDropout(0.1)(x)
    ```

    Reference:
        [Srivastava et al., 2014](https://jmlr.org/papers/v15/srivastava14a.html)
    """

    def noisy(self, inputs: Tensor, numbers: random.RandomNumbers) -> Tensor:
        scale = math.sqrt(self.rate / (1 - self.rate))
        return inputs * (1 + scale * numbers.normal(inputs.dtype))


@registry.register("layers")
class MCGaussianNoise(MCNoise):
    """A `keras.layers.GaussianNoise` that is noisy in inference too.

    Args:
        stddev: the standard deviation of the noise that is added, at least 0.
        seed: the seed of the noise, as in `MCDropout`.

    Raises:
        ValueError: if `stddev` is negative or not finite.

    Example:
    ```python
    tfpbnn.layers.MCGaussianNoise(0.1)(x)
    ```
    """

    def __init__(self, stddev: float, seed: int | None = None, **kwargs: Any):
        super().__init__(seed, **kwargs)
        self.stddev = checks.non_negative("stddev", stddev)

    def noisy(self, inputs: Tensor, numbers: random.RandomNumbers) -> Tensor:
        return inputs + self.stddev * numbers.normal(inputs.dtype)

    def get_config(self) -> Config:
        return super().get_config() | {"stddev": self.stddev}
