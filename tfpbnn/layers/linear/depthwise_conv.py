"""Defines variational depthwise convolutions."""

from typing import Any, ClassVar

from tfpbnn.base import checks, registry
from tfpbnn.base.types import Identifier, Shape
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
        `(batch, *new_spatial, channels * depth_multiplier)`, or with
        channels first.
    """

    _rank: ClassVar[int]
    _arguments = (
        "depth_multiplier",
        *conv_arguments.WINDOW,
        "activation",
        "use_bias",
    )

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
        """Makes the layer; Keras's arguments mean what they do in Keras.

        Arguments that are not listed mean what they do in `DenseFlipout`, with
        "depthwise" in place of "kernel" in their names.

        Args:
            kernel_size: the size of the kernel, an integer, or one for each
                spatial axis.
            strides: the strides, an integer, or one for each spatial axis.
            padding: "valid" or "same".
            depth_multiplier: the number of output channels for each input
                channel.
            data_format: "channels_last" or "channels_first"; None takes
                Keras's configured one.
            dilation_rate: the dilation, an integer, or one for each spatial
                axis; together with strides above 1 only where Keras's layer
                takes both.

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
        conv_arguments.set_window(self, self._rank, locals())

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


@registry.register("layers")
class DepthwiseConv1DReparameterization(BaseDepthwiseConv):
    """`DepthwiseConv1D` with one draw per call.

    See `Conv2DReparameterization`.
    """

    _rank = 1
    _estimator = estimators.REPARAMETERIZATION


@registry.register("layers")
class DepthwiseConv1DLocalReparameterization(BaseDepthwiseConv):
    """`DepthwiseConv1D` with noise on its outputs.

    See `Conv2DLocalReparameterization`.
    """

    _rank = 1
    _estimator = estimators.LOCAL_REPARAMETERIZATION


@registry.register("layers")
class DepthwiseConv1DFlipout(BaseDepthwiseConv):
    """`DepthwiseConv1D` with Flipout; see `Conv2DFlipout`."""

    _rank = 1
    _estimator = estimators.FLIPOUT


@registry.register("layers")
class DepthwiseConv2DReparameterization(BaseDepthwiseConv):
    """`DepthwiseConv2D` with one draw per call.

    See `Conv2DReparameterization`.
    """

    _rank = 2
    _estimator = estimators.REPARAMETERIZATION


@registry.register("layers")
class DepthwiseConv2DLocalReparameterization(BaseDepthwiseConv):
    """`DepthwiseConv2D` with noise on its outputs.

    See `Conv2DLocalReparameterization`.
    """

    _rank = 2
    _estimator = estimators.LOCAL_REPARAMETERIZATION


@registry.register("layers")
class DepthwiseConv2DFlipout(BaseDepthwiseConv):
    """`DepthwiseConv2D` with Flipout; see `Conv2DFlipout`."""

    _rank = 2
    _estimator = estimators.FLIPOUT
