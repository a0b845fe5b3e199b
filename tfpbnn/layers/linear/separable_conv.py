"""Variational separable convolutions."""

from typing import Any, ClassVar

from tfpbnn.base import checks, registry
from tfpbnn.base.types import Config, Identifier, Shape
from tfpbnn.layers.linear import conv_arguments, estimators, ops
from tfpbnn.layers.linear.base import VariationalLayer
from tfpbnn.layers.linear.weights import weights_of


class BaseSeparableConv(VariationalLayer):
    """`activation(conv(depthwise_conv(x, depthwise), pointwise) + bias)`.

    Both kernels have a distribution.

    Input shape:
        `(batch, *spatial, channels)`, or `(batch, channels, *spatial)` with
        `data_format="channels_first"`.

    Output shape:
        `(batch, *new_spatial, filters)`, or channels first likewise.
    """

    _rank: ClassVar[int]

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, ...],
        strides: int | tuple[int, ...] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | tuple[int, ...] = 1,
        depth_multiplier: int = 1,
        activation: Identifier = None,
        use_bias: bool = True,
        depthwise_initializer: Identifier = None,
        pointwise_initializer: Identifier = None,
        bias_initializer: Identifier = "zeros",
        depthwise_regularizer: Identifier = None,
        pointwise_regularizer: Identifier = None,
        bias_regularizer: Identifier = None,
        activity_regularizer: Identifier = None,
        depthwise_constraint: Identifier = None,
        pointwise_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        *,
        depthwise_posterior: Identifier = "mean_field_normal",
        pointwise_posterior: Identifier = "mean_field_normal",
        depthwise_prior: Identifier = "normal",
        pointwise_prior: Identifier = "normal",
        bias_posterior: Identifier = None,
        bias_prior: Identifier = None,
        kl_weight: float | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        """Makes the layer; the Keras arguments mean what they do in Keras.

        Args:
            filters: number of output channels, a positive integer.
            kernel_size: an integer, or one for each spatial axis.
            strides: likewise.
            padding: "valid" or "same".
            data_format: "channels_last" or "channels_first"; None takes
                Keras's configured one.
            dilation_rate: an integer, or one for each spatial axis; together
                with strides above 1 only where Keras's layer takes both.
            depth_multiplier: depthwise channels for each input channel.
            activation: a Keras activation.
            use_bias: whether to add a bias.
            depthwise_initializer: and all that follows, as in `DenseFlipout`,
                for each of the two kernels.
            pointwise_initializer: see there.
            bias_initializer: see there.
            depthwise_regularizer: see there.
            pointwise_regularizer: see there.
            bias_regularizer: see there.
            activity_regularizer: see there.
            depthwise_constraint: see there.
            pointwise_constraint: see there.
            bias_constraint: see there.
            depthwise_posterior: see there.
            pointwise_posterior: see there.
            depthwise_prior: see there.
            pointwise_prior: see there.
            bias_posterior: see there.
            bias_prior: see there.
            kl_weight: see there.
            seed: see there.
            **kwargs: see there.

        Raises:
            ValueError: if a number is not positive, a name is unknown, or
                the estimator does not hold for the family.
        """
        filters = checks.positive_integer("filters", filters)
        depth_multiplier = checks.positive_integer(
            "depth_multiplier", depth_multiplier
        )
        super().__init__(
            weights_of(locals(), "depthwise", "pointwise", "bias"),
            activation=activation,
            use_bias=use_bias,
            activity_regularizer=activity_regularizer,
            kl_weight=kl_weight,
            seed=seed,
            **kwargs,
        )
        self.filters = filters
        self.depth_multiplier = depth_multiplier
        self.kernel_size = checks.integers(
            "kernel_size", kernel_size, self._rank
        )
        self.strides = checks.integers("strides", strides, self._rank)
        self.dilation_rate = checks.integers(
            "dilation_rate", dilation_rate, self._rank
        )
        self.padding = conv_arguments.padding(padding)
        self.data_format = conv_arguments.data_format(data_format)

    def _weight_shapes(self, input_shape: Shape) -> dict[str, Any]:
        channels = conv_arguments.channels(
            input_shape, self._rank, self.data_format
        )
        inner = channels * self.depth_multiplier
        ones = (1,) * self._rank
        return {
            "depthwise": (*self.kernel_size, channels, self.depth_multiplier),
            "pointwise": (*ones, inner, self.filters),
            "bias": (self.filters,),
        }

    def _ops(self) -> dict[str, ops.LinearOp]:
        ones = (1,) * self._rank
        return {
            "depthwise": ops.depthwise_conv(
                self.strides,
                self.padding,
                self.dilation_rate,
                self.data_format,
            ),
            "pointwise": ops.conv(ones, "valid", ones, self.data_format),
        }

    def get_config(self) -> Config:
        return super().get_config() | {
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
            "dilation_rate": self.dilation_rate,
            "depth_multiplier": self.depth_multiplier,
        }


@registry.register("layers")
class SeparableConv1DReparameterization(BaseSeparableConv):
    """1-D separable convolution with one draw of its kernels per call.

    Example:
    ```python
    layer = tfpbnn.layers.SeparableConv1DReparameterization(
        8, 3, activation="relu"
    )
    y = layer(keras.random.normal((2, 16, 3)))
    ```

    Reference:
        [Kingma and Welling, 2014](https://arxiv.org/abs/1312.6114);
        [Blundell et al., 2015](https://arxiv.org/abs/1505.05424)
    """

    _rank = 1

    _estimate = staticmethod(estimators.reparameterization)


@registry.register("layers")
class SeparableConv1DLocalReparameterization(BaseSeparableConv):
    """1-D separable convolution with noise on its outputs.

    Positions of an example get independent noise, although they share a
    kernel: right in distribution at each position, not jointly.

    Example:
    ```python
    layer = tfpbnn.layers.SeparableConv1DLocalReparameterization(
        8, 3, activation="relu"
    )
    y = layer(keras.random.normal((2, 16, 3)))
    ```

    Reference:
        [Kingma et al., 2015](https://arxiv.org/abs/1506.02557)
    """

    _rank = 1

    _estimate = staticmethod(estimators.local_reparameterization)


@registry.register("layers")
class SeparableConv1DFlipout(BaseSeparableConv):
    """1-D separable convolution with signs flipped per example.

    Example:
    ```python
    layer = tfpbnn.layers.SeparableConv1DFlipout(8, 3, activation="relu")
    y = layer(keras.random.normal((2, 16, 3)))
    ```

    Reference:
        [Wen et al., 2018](https://arxiv.org/abs/1803.04386)
    """

    _rank = 1

    _estimate = staticmethod(estimators.flipout)


@registry.register("layers")
class SeparableConv2DReparameterization(BaseSeparableConv):
    """2-D separable convolution with one draw of its kernels per call.

    Example:
    ```python
    layer = tfpbnn.layers.SeparableConv2DReparameterization(
        8, 3, activation="relu"
    )
    y = layer(keras.random.normal((2, 8, 8, 3)))
    ```

    Reference:
        [Kingma and Welling, 2014](https://arxiv.org/abs/1312.6114);
        [Blundell et al., 2015](https://arxiv.org/abs/1505.05424)
    """

    _rank = 2

    _estimate = staticmethod(estimators.reparameterization)


@registry.register("layers")
class SeparableConv2DLocalReparameterization(BaseSeparableConv):
    """2-D separable convolution with noise on its outputs.

    Positions of an example get independent noise, although they share a
    kernel: right in distribution at each position, not jointly.

    Example:
    ```python
    layer = tfpbnn.layers.SeparableConv2DLocalReparameterization(
        8, 3, activation="relu"
    )
    y = layer(keras.random.normal((2, 8, 8, 3)))
    ```

    Reference:
        [Kingma et al., 2015](https://arxiv.org/abs/1506.02557)
    """

    _rank = 2

    _estimate = staticmethod(estimators.local_reparameterization)


@registry.register("layers")
class SeparableConv2DFlipout(BaseSeparableConv):
    """2-D separable convolution with signs flipped per example.

    Example:
    ```python
    layer = tfpbnn.layers.SeparableConv2DFlipout(8, 3, activation="relu")
    y = layer(keras.random.normal((2, 8, 8, 3)))
    ```

    Reference:
        [Wen et al., 2018](https://arxiv.org/abs/1803.04386)
    """

    _rank = 2

    _estimate = staticmethod(estimators.flipout)
