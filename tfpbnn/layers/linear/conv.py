"""Defines variational convolutions."""

from typing import Any, ClassVar

import keras

from tfpbnn.base import checks, registry
from tfpbnn.base.types import Identifier, Shape
from tfpbnn.layers.linear import conv_arguments, estimators, ops
from tfpbnn.layers.linear.base import VariationalLayer
from tfpbnn.layers.linear.weights import weights_of


class BaseConv(VariationalLayer):
    """`activation(conv(x, kernel) + bias)` with a distribution over the kernel.

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
        "groups",
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
        groups: int = 1,
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
        """Makes the layer; Keras's arguments mean what they do in `Conv2D`.

        Arguments that are not listed mean what they do in `DenseFlipout`.

        Args:
            filters: the number of output channels, a positive integer.
            kernel_size: the size of the kernel, an integer, or one for each
                spatial axis.
            strides: the strides, an integer, or one for each spatial axis.
            padding: "valid" or "same"; for `Conv1D` also "causal".
            data_format: "channels_last" or "channels_first"; None takes
                Keras's configured one.
            dilation_rate: the dilation, an integer, or one for each spatial
                axis; not together with strides above 1.
            groups: the number of groups, a divisor of `filters` and of the
                number of channels of the inputs.

        Raises:
            ValueError: if a number is not positive, a name is unknown, groups
                don't divide channels, or the estimator does not hold for the
                family.
        """
        filters = checks.positive_integer("filters", filters)
        groups = checks.positive_integer("groups", groups)
        if filters % groups:
            raise ValueError(
                "`groups` must divide `filters`. Received: "
                f"groups={groups}, filters={filters}"
            )
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
        self.groups = groups
        is_1d = self._rank == 1
        conv_arguments.set_window(
            self, self._rank, locals(), allow_causal=is_1d
        )
        conv_arguments.no_stride_with_dilation(self.strides, self.dilation_rate)

    def _weight_shapes(self, input_shape: Shape) -> dict[str, Any]:
        channels = conv_arguments.channels(
            input_shape, self._rank, self.data_format
        )
        if channels % self.groups:
            raise ValueError(
                "`groups` must divide the inputs' channels. Received: "
                f"groups={self.groups}, {channels} channels in "
                f"input_shape={input_shape}"
            )
        kernel = (*self.kernel_size, channels // self.groups, self.filters)
        return {"kernel": kernel, "bias": (self.filters,)}

    def _ops(self) -> dict[str, ops.LinearOp]:
        op = ops.conv(
            self.strides, self.padding, self.dilation_rate, self.data_format
        )
        return {"kernel": op}

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        # `keras.ops.conv` takes groups from tensors, but not from shapes.
        shape = list(input_shape)
        axis = -1 if self.data_format == "channels_last" else 1
        kernel = self._weight_shapes(tuple(shape))["kernel"]
        shape[axis] = kernel[-2]
        outputs = self._ops()["kernel"].apply(
            keras.KerasTensor(shape), keras.KerasTensor(kernel)
        )
        return tuple(outputs.shape)


@registry.register("layers")
class Conv1DReparameterization(BaseConv):
    """`Conv1D` with one draw per call; see `Conv2DReparameterization`."""

    _rank = 1
    _estimator = estimators.REPARAMETERIZATION


@registry.register("layers")
class Conv1DLocalReparameterization(BaseConv):
    """`Conv1D` with noise on its outputs.

    See `Conv2DLocalReparameterization`.
    """

    _rank = 1
    _estimator = estimators.LOCAL_REPARAMETERIZATION


@registry.register("layers")
class Conv1DFlipout(BaseConv):
    """`Conv1D` with Flipout; see `Conv2DFlipout`."""

    _rank = 1
    _estimator = estimators.FLIPOUT


@registry.register("layers")
class Conv2DReparameterization(BaseConv):
    """A 2-D convolution with one kernel draw per call.

    Example:
    ```python
    layer = tfpbnn.layers.Conv2DReparameterization(8, 3, activation="relu")
    y = layer(keras.random.normal((2, 8, 8, 3)))
    ```

    Reference:
        [Kingma and Welling, 2014](https://arxiv.org/abs/1312.6114);
        [Blundell et al., 2015](https://arxiv.org/abs/1505.05424)
    """

    _rank = 2
    _estimator = estimators.REPARAMETERIZATION


@registry.register("layers")
class Conv2DLocalReparameterization(BaseConv):
    """A 2-D convolution with noise on its outputs.

    Positions of an example get independent noise, although they share a kernel.
    So the distribution is right at each position, but not jointly.

    Example:
    ```python
    layer = tfpbnn.layers.Conv2DLocalReparameterization(8, 3, activation="relu")
    y = layer(keras.random.normal((2, 8, 8, 3)))
    ```

    Reference:
        [Kingma et al., 2015](https://arxiv.org/abs/1506.02557)
    """

    _rank = 2
    _estimator = estimators.LOCAL_REPARAMETERIZATION


@registry.register("layers")
class Conv2DFlipout(BaseConv):
    """A 2-D convolution with signs of the noise flipped for each example.

    Example:
    ```python
    layer = tfpbnn.layers.Conv2DFlipout(8, 3, activation="relu")
    y = layer(keras.random.normal((2, 8, 8, 3)))
    ```

    Reference:
        [Wen et al., 2018](https://arxiv.org/abs/1803.04386)
    """

    _rank = 2
    _estimator = estimators.FLIPOUT


@registry.register("layers")
class Conv3DReparameterization(BaseConv):
    """`Conv3D` with one draw per call; see `Conv2DReparameterization`."""

    _rank = 3
    _estimator = estimators.REPARAMETERIZATION


@registry.register("layers")
class Conv3DLocalReparameterization(BaseConv):
    """`Conv3D` with noise on its outputs.

    See `Conv2DLocalReparameterization`.
    """

    _rank = 3
    _estimator = estimators.LOCAL_REPARAMETERIZATION


@registry.register("layers")
class Conv3DFlipout(BaseConv):
    """`Conv3D` with Flipout; see `Conv2DFlipout`."""

    _rank = 3
    _estimator = estimators.FLIPOUT
