"""Defines variational separable convolutions."""

from typing import Any, ClassVar

from tfpbnn.base import checks, registry
from tfpbnn.base.types import Identifier, Shape
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
        `(batch, *new_spatial, filters)`, or with channels first.
    """

    _rank: ClassVar[int]
    _arguments = (
        "filters",
        *conv_arguments.WINDOW,
        "depth_multiplier",
        "activation",
        "use_bias",
    )

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
        """Makes the layer; Keras's arguments mean what they do in Keras.

        Arguments that are not listed mean what they do in `DenseFlipout`, for
        each of the two kernels.

        Args:
            filters: the number of output channels, a positive integer.
            kernel_size: the size of the kernel, an integer, or one for each
                spatial axis.
            strides: the strides, an integer, or one for each spatial axis.
            padding: "valid" or "same".
            data_format: "channels_last" or "channels_first"; None takes
                Keras's configured one.
            dilation_rate: the dilation, an integer, or one for each spatial
                axis; together with strides above 1 only where Keras's layer
                takes both.
            depth_multiplier: the number of depthwise channels for each input
                channel.

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
        conv_arguments.set_window(self, self._rank, locals())

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


@registry.register("layers")
class SeparableConv1DReparameterization(BaseSeparableConv):
    """`SeparableConv1D` with one draw per call.

    See `Conv2DReparameterization`.
    """

    _rank = 1
    _estimator = estimators.REPARAMETERIZATION


@registry.register("layers")
class SeparableConv1DLocalReparameterization(BaseSeparableConv):
    """`SeparableConv1D` with noise on its outputs.

    See `Conv2DLocalReparameterization`.
    """

    _rank = 1
    _estimator = estimators.LOCAL_REPARAMETERIZATION


@registry.register("layers")
class SeparableConv1DFlipout(BaseSeparableConv):
    """`SeparableConv1D` with Flipout; see `Conv2DFlipout`."""

    _rank = 1
    _estimator = estimators.FLIPOUT


@registry.register("layers")
class SeparableConv2DReparameterization(BaseSeparableConv):
    """`SeparableConv2D` with one draw per call.

    See `Conv2DReparameterization`.
    """

    _rank = 2
    _estimator = estimators.REPARAMETERIZATION


@registry.register("layers")
class SeparableConv2DLocalReparameterization(BaseSeparableConv):
    """`SeparableConv2D` with noise on its outputs.

    See `Conv2DLocalReparameterization`.
    """

    _rank = 2
    _estimator = estimators.LOCAL_REPARAMETERIZATION


@registry.register("layers")
class SeparableConv2DFlipout(BaseSeparableConv):
    """`SeparableConv2D` with Flipout; see `Conv2DFlipout`."""

    _rank = 2
    _estimator = estimators.FLIPOUT
