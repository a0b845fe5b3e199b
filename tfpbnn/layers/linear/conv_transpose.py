"""Defines variational transposed convolutions."""

from typing import Any, ClassVar

from tfpbnn.base import checks, registry
from tfpbnn.base.types import Identifier, Shape
from tfpbnn.layers.linear import conv_arguments, estimators, ops
from tfpbnn.layers.linear.base import VariationalLayer
from tfpbnn.layers.linear.weights import weights_of


class BaseConvTranspose(VariationalLayer):
    """`activation(conv_transpose(x, kernel) + bias)`.

    The kernel has a distribution.

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
        "output_padding",
        "activation",
        "use_bias",
    )

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, ...],
        strides: int | tuple[int, ...] = 1,
        padding: str = "valid",
        output_padding: int | tuple[int, ...] | None = None,
        data_format: str | None = None,
        dilation_rate: int | tuple[int, ...] = 1,
        activation: Identifier = None,
        use_bias: bool = True,
        kernel_initializer: Identifier = None,
        bias_initializer: Identifier = "zeros",
        kernel_regularizer: Identifier = None,
        bias_regularizer: Identifier = None,
        activity_regularizer: Identifier = None,
        kernel_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        *,
        kernel_posterior: Identifier = "mean_field_normal",
        kernel_prior: Identifier = "normal",
        bias_posterior: Identifier = None,
        bias_prior: Identifier = None,
        kl_weight: float | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        """Makes the layer; Keras's arguments mean what they do in Keras.

        Arguments that are not listed mean what they do in `DenseFlipout`.

        Args:
            filters: the number of output channels, a positive integer.
            kernel_size: the size of the kernel, an integer, or one for each
                spatial axis.
            strides: the strides, an integer, or one for each spatial axis.
            padding: "valid" or "same".
            output_padding: the padding of the outputs, an integer, or one for
                each spatial axis, below the strides; None infers the size of
                the outputs.
            data_format: "channels_last" or "channels_first"; None takes
                Keras's configured one.
            dilation_rate: the dilation, an integer, or one for each spatial
                axis; not together with strides above 1.

        Raises:
            ValueError: if a number is not positive, a name is unknown, the
                output padding is not below the strides, or the estimator does
                not hold for the family.
        """
        filters = checks.positive_integer("filters", filters)
        super().__init__(
            weights_of(locals(), "kernel", "bias"),
            activation=activation,
            use_bias=use_bias,
            activity_regularizer=activity_regularizer,
            kl_weight=kl_weight,
            seed=seed,
            **kwargs,
        )
        self.filters = filters
        conv_arguments.set_window(self, self._rank, locals())
        conv_arguments.no_stride_with_dilation(self.strides, self.dilation_rate)
        self.output_padding = self._check_output_padding(output_padding)

    def _check_output_padding(self, value: Any) -> tuple[int, ...] | None:
        if value is None:
            return None
        values = checks.integers("output_padding", value, self._rank, least=0)
        if any(v >= s for v, s in zip(values, self.strides, strict=True)):
            raise ValueError(
                "`output_padding` must be below `strides`. Received: "
                f"output_padding={values}, strides={self.strides}"
            )
        return values

    def _weight_shapes(self, input_shape: Shape) -> dict[str, Any]:
        channels = conv_arguments.channels(
            input_shape, self._rank, self.data_format
        )
        kernel = (*self.kernel_size, self.filters, channels)
        return {"kernel": kernel, "bias": (self.filters,)}

    def _ops(self) -> dict[str, ops.LinearOp]:
        op = ops.conv_transpose(
            self.strides,
            self.padding,
            self.output_padding,
            self.dilation_rate,
            self.data_format,
        )
        return {"kernel": op}


@registry.register("layers")
class Conv1DTransposeReparameterization(BaseConvTranspose):
    """`Conv1DTranspose` with one draw per call.

    See `Conv2DReparameterization`.
    """

    _rank = 1
    _estimator = estimators.REPARAMETERIZATION


@registry.register("layers")
class Conv1DTransposeLocalReparameterization(BaseConvTranspose):
    """`Conv1DTranspose` with noise on its outputs.

    See `Conv2DLocalReparameterization`.
    """

    _rank = 1
    _estimator = estimators.LOCAL_REPARAMETERIZATION


@registry.register("layers")
class Conv1DTransposeFlipout(BaseConvTranspose):
    """`Conv1DTranspose` with Flipout; see `Conv2DFlipout`."""

    _rank = 1
    _estimator = estimators.FLIPOUT


@registry.register("layers")
class Conv2DTransposeReparameterization(BaseConvTranspose):
    """`Conv2DTranspose` with one draw per call.

    See `Conv2DReparameterization`.
    """

    _rank = 2
    _estimator = estimators.REPARAMETERIZATION


@registry.register("layers")
class Conv2DTransposeLocalReparameterization(BaseConvTranspose):
    """`Conv2DTranspose` with noise on its outputs.

    See `Conv2DLocalReparameterization`.
    """

    _rank = 2
    _estimator = estimators.LOCAL_REPARAMETERIZATION


@registry.register("layers")
class Conv2DTransposeFlipout(BaseConvTranspose):
    """`Conv2DTranspose` with Flipout; see `Conv2DFlipout`."""

    _rank = 2
    _estimator = estimators.FLIPOUT


@registry.register("layers")
class Conv3DTransposeReparameterization(BaseConvTranspose):
    """`Conv3DTranspose` with one draw per call.

    See `Conv2DReparameterization`.
    """

    _rank = 3
    _estimator = estimators.REPARAMETERIZATION


@registry.register("layers")
class Conv3DTransposeLocalReparameterization(BaseConvTranspose):
    """`Conv3DTranspose` with noise on its outputs.

    See `Conv2DLocalReparameterization`.
    """

    _rank = 3
    _estimator = estimators.LOCAL_REPARAMETERIZATION


@registry.register("layers")
class Conv3DTransposeFlipout(BaseConvTranspose):
    """`Conv3DTranspose` with Flipout; see `Conv2DFlipout`."""

    _rank = 3
    _estimator = estimators.FLIPOUT
