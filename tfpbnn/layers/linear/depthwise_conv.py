"""Variational depthwise convolutions."""

from typing import Any, ClassVar

from tfpbnn.base import checks, registry
from tfpbnn.base.types import Config, Identifier, Shape
from tfpbnn.layers.linear import conv_arguments, estimators, ops
from tfpbnn.layers.linear.base import VariationalLayer
from tfpbnn.layers.linear.weights import weights_of


class BaseDepthwiseConv(VariationalLayer):
    """`activation(depthwise_conv(x, kernel) + bias)`.

    The kernel has a distribution.

    Input shape:
        `(batch, *spatial, channels)`, or `(batch, channels, *spatial)` with
        `data_format="channels_first"`.

    Output shape:
        `(batch, *new_spatial, channels * depth_multiplier)`, or channels
        first likewise.
    """

    _rank: ClassVar[int]

    def __init__(
        self,
        kernel_size: int | tuple[int, ...],
        strides: int | tuple[int, ...] = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: int | tuple[int, ...] = 1,
        activation: Identifier = None,
        use_bias: bool = True,
        depthwise_initializer: Identifier = None,
        bias_initializer: Identifier = "zeros",
        depthwise_regularizer: Identifier = None,
        bias_regularizer: Identifier = None,
        activity_regularizer: Identifier = None,
        depthwise_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        *,
        depthwise_posterior: Identifier = "mean_field_normal",
        depthwise_prior: Identifier = "normal",
        bias_posterior: Identifier = None,
        bias_prior: Identifier = None,
        kl_weight: float | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        """Makes the layer; the Keras arguments mean what they do in Keras.

        Args:
            kernel_size: an integer, or one for each spatial axis.
            strides: likewise.
            padding: "valid" or "same".
            depth_multiplier: output channels for each input channel.
            data_format: "channels_last" or "channels_first"; None takes
                Keras's configured one.
            dilation_rate: an integer, or one for each spatial axis; together
                with strides above 1 only where Keras's layer takes both.
            activation: a Keras activation.
            use_bias: whether to add a bias.
            depthwise_initializer: and all that follows, as `kernel_initializer`
                and what follows there in `DenseFlipout`.
            bias_initializer: see there.
            depthwise_regularizer: see there.
            bias_regularizer: see there.
            activity_regularizer: see there.
            depthwise_constraint: see there.
            bias_constraint: see there.
            depthwise_posterior: see there.
            depthwise_prior: see there.
            bias_posterior: see there.
            bias_prior: see there.
            kl_weight: see there.
            seed: see there.
            **kwargs: see there.

        Raises:
            ValueError: if a number is not positive, a name is unknown, or
                the estimator does not hold for the family.
        """
        depth_multiplier = checks.positive_integer(
            "depth_multiplier", depth_multiplier
        )
        super().__init__(
            weights_of(locals(), "depthwise", "bias"),
            activation=activation,
            use_bias=use_bias,
            activity_regularizer=activity_regularizer,
            kl_weight=kl_weight,
            seed=seed,
            **kwargs,
        )
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
        return {
            "depthwise": (*self.kernel_size, channels, self.depth_multiplier),
            "bias": (channels * self.depth_multiplier,),
        }

    def _ops(self) -> dict[str, ops.LinearOp]:
        op = ops.depthwise_conv(
            self.strides, self.padding, self.dilation_rate, self.data_format
        )
        return {"depthwise": op}

    def get_config(self) -> Config:
        return super().get_config() | {
            "depth_multiplier": self.depth_multiplier,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
            "dilation_rate": self.dilation_rate,
        }


@registry.register("layers")
class DepthwiseConv1DReparameterization(BaseDepthwiseConv):
    """1-D depthwise convolution with one kernel draw per call.

    Example:
    ```python
    layer = tfpbnn.layers.DepthwiseConv1DReparameterization(
        3, depth_multiplier=2
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
class DepthwiseConv1DLocalReparameterization(BaseDepthwiseConv):
    """1-D depthwise convolution with noise on its outputs.

    Positions of an example get independent noise, although they share a
    kernel: right in distribution at each position, not jointly.

    Example:
    ```python
    layer = tfpbnn.layers.DepthwiseConv1DLocalReparameterization(
        3, depth_multiplier=2
    )
    y = layer(keras.random.normal((2, 16, 3)))
    ```

    Reference:
        [Kingma et al., 2015](https://arxiv.org/abs/1506.02557)
    """

    _rank = 1

    _estimate = staticmethod(estimators.local_reparameterization)


@registry.register("layers")
class DepthwiseConv1DFlipout(BaseDepthwiseConv):
    """1-D depthwise convolution with signs flipped per example.

    Example:
    ```python
    layer = tfpbnn.layers.DepthwiseConv1DFlipout(3, depth_multiplier=2)
    y = layer(keras.random.normal((2, 16, 3)))
    ```

    Reference:
        [Wen et al., 2018](https://arxiv.org/abs/1803.04386)
    """

    _rank = 1

    _estimate = staticmethod(estimators.flipout)


@registry.register("layers")
class DepthwiseConv2DReparameterization(BaseDepthwiseConv):
    """2-D depthwise convolution with one kernel draw per call.

    Example:
    ```python
    layer = tfpbnn.layers.DepthwiseConv2DReparameterization(
        3, depth_multiplier=2
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
class DepthwiseConv2DLocalReparameterization(BaseDepthwiseConv):
    """2-D depthwise convolution with noise on its outputs.

    Positions of an example get independent noise, although they share a
    kernel: right in distribution at each position, not jointly.

    Example:
    ```python
    layer = tfpbnn.layers.DepthwiseConv2DLocalReparameterization(
        3, depth_multiplier=2
    )
    y = layer(keras.random.normal((2, 8, 8, 3)))
    ```

    Reference:
        [Kingma et al., 2015](https://arxiv.org/abs/1506.02557)
    """

    _rank = 2

    _estimate = staticmethod(estimators.local_reparameterization)


@registry.register("layers")
class DepthwiseConv2DFlipout(BaseDepthwiseConv):
    """2-D depthwise convolution with signs flipped per example.

    Example:
    ```python
    layer = tfpbnn.layers.DepthwiseConv2DFlipout(3, depth_multiplier=2)
    y = layer(keras.random.normal((2, 8, 8, 3)))
    ```

    Reference:
        [Wen et al., 2018](https://arxiv.org/abs/1803.04386)
    """

    _rank = 2

    _estimate = staticmethod(estimators.flipout)
