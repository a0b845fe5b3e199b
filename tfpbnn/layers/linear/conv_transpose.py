"""Variational transposed convolutions."""

from typing import Any, ClassVar

from tfpbnn.base import checks, registry
from tfpbnn.base.types import Config, Identifier, Shape
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
        `(batch, *new_spatial, filters)`, or channels first likewise.
    """

    _rank: ClassVar[int]

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
        """Makes the layer; the Keras arguments mean what they do in Keras.

        Args:
            filters: number of output channels, a positive integer.
            kernel_size: an integer, or one for each spatial axis.
            strides: likewise.
            padding: "valid" or "same".
            output_padding: an integer, or one for each spatial axis, below
                the strides; None infers the output's size.
            data_format: "channels_last" or "channels_first"; None takes
                Keras's configured one.
            dilation_rate: an integer, or one for each spatial axis; not
                together with strides above 1.
            activation: a Keras activation.
            use_bias: whether to add a bias.
            kernel_initializer: and all that follows, as in `DenseFlipout`.
            bias_initializer: see there.
            kernel_regularizer: see there.
            bias_regularizer: see there.
            activity_regularizer: see there.
            kernel_constraint: see there.
            bias_constraint: see there.
            kernel_posterior: see there.
            kernel_prior: see there.
            bias_posterior: see there.
            bias_prior: see there.
            kl_weight: see there.
            seed: see there.
            **kwargs: see there.

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
        self.kernel_size = checks.integers(
            "kernel_size", kernel_size, self._rank
        )
        self.strides = checks.integers("strides", strides, self._rank)
        self.dilation_rate = checks.integers(
            "dilation_rate", dilation_rate, self._rank
        )
        conv_arguments.no_stride_with_dilation(self.strides, self.dilation_rate)
        self.padding = conv_arguments.padding(padding)
        self.output_padding = self._check_output_padding(output_padding)
        self.data_format = conv_arguments.data_format(data_format)

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

    def get_config(self) -> Config:
        return super().get_config() | {
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
            "dilation_rate": self.dilation_rate,
            "output_padding": self.output_padding,
        }


@registry.register("layers")
class Conv1DTransposeReparameterization(BaseConvTranspose):
    """1-D transposed convolution with one kernel draw per call.

    Example:
    ```python
    layer = tfpbnn.layers.Conv1DTransposeReparameterization(8, 3, strides=2)
    y = layer(keras.random.normal((2, 16, 3)))
    ```

    Reference:
        [Kingma and Welling, 2014](https://arxiv.org/abs/1312.6114);
        [Blundell et al., 2015](https://arxiv.org/abs/1505.05424)
    """

    _rank = 1

    _estimate = staticmethod(estimators.reparameterization)


@registry.register("layers")
class Conv1DTransposeLocalReparameterization(BaseConvTranspose):
    """1-D transposed convolution with noise on its outputs.

    Positions of an example get independent noise, although they share a
    kernel: right in distribution at each position, not jointly.

    Example:
    ```python
    layer = tfpbnn.layers.Conv1DTransposeLocalReparameterization(
        8, 3, strides=2
    )
    y = layer(keras.random.normal((2, 16, 3)))
    ```

    Reference:
        [Kingma et al., 2015](https://arxiv.org/abs/1506.02557)
    """

    _rank = 1

    _estimate = staticmethod(estimators.local_reparameterization)


@registry.register("layers")
class Conv1DTransposeFlipout(BaseConvTranspose):
    """1-D transposed convolution with signs flipped per example.

    Example:
    ```python
    layer = tfpbnn.layers.Conv1DTransposeFlipout(8, 3, strides=2)
    y = layer(keras.random.normal((2, 16, 3)))
    ```

    Reference:
        [Wen et al., 2018](https://arxiv.org/abs/1803.04386)
    """

    _rank = 1

    _estimate = staticmethod(estimators.flipout)


@registry.register("layers")
class Conv2DTransposeReparameterization(BaseConvTranspose):
    """2-D transposed convolution with one kernel draw per call.

    Example:
    ```python
    layer = tfpbnn.layers.Conv2DTransposeReparameterization(8, 3, strides=2)
    y = layer(keras.random.normal((2, 8, 8, 3)))
    ```

    Reference:
        [Kingma and Welling, 2014](https://arxiv.org/abs/1312.6114);
        [Blundell et al., 2015](https://arxiv.org/abs/1505.05424)
    """

    _rank = 2

    _estimate = staticmethod(estimators.reparameterization)


@registry.register("layers")
class Conv2DTransposeLocalReparameterization(BaseConvTranspose):
    """2-D transposed convolution with noise on its outputs.

    Positions of an example get independent noise, although they share a
    kernel: right in distribution at each position, not jointly.

    Example:
    ```python
    layer = tfpbnn.layers.Conv2DTransposeLocalReparameterization(
        8, 3, strides=2
    )
    y = layer(keras.random.normal((2, 8, 8, 3)))
    ```

    Reference:
        [Kingma et al., 2015](https://arxiv.org/abs/1506.02557)
    """

    _rank = 2

    _estimate = staticmethod(estimators.local_reparameterization)


@registry.register("layers")
class Conv2DTransposeFlipout(BaseConvTranspose):
    """2-D transposed convolution with signs flipped per example.

    Example:
    ```python
    layer = tfpbnn.layers.Conv2DTransposeFlipout(8, 3, strides=2)
    y = layer(keras.random.normal((2, 8, 8, 3)))
    ```

    Reference:
        [Wen et al., 2018](https://arxiv.org/abs/1803.04386)
    """

    _rank = 2

    _estimate = staticmethod(estimators.flipout)


@registry.register("layers")
class Conv3DTransposeReparameterization(BaseConvTranspose):
    """3-D transposed convolution with one kernel draw per call.

    Example:
    ```python
    layer = tfpbnn.layers.Conv3DTransposeReparameterization(8, 3, strides=2)
    y = layer(keras.random.normal((2, 6, 6, 6, 3)))
    ```

    Reference:
        [Kingma and Welling, 2014](https://arxiv.org/abs/1312.6114);
        [Blundell et al., 2015](https://arxiv.org/abs/1505.05424)
    """

    _rank = 3

    _estimate = staticmethod(estimators.reparameterization)


@registry.register("layers")
class Conv3DTransposeLocalReparameterization(BaseConvTranspose):
    """3-D transposed convolution with noise on its outputs.

    Positions of an example get independent noise, although they share a
    kernel: right in distribution at each position, not jointly.

    Example:
    ```python
    layer = tfpbnn.layers.Conv3DTransposeLocalReparameterization(
        8, 3, strides=2
    )
    y = layer(keras.random.normal((2, 6, 6, 6, 3)))
    ```

    Reference:
        [Kingma et al., 2015](https://arxiv.org/abs/1506.02557)
    """

    _rank = 3

    _estimate = staticmethod(estimators.local_reparameterization)


@registry.register("layers")
class Conv3DTransposeFlipout(BaseConvTranspose):
    """3-D transposed convolution with signs flipped per example.

    Example:
    ```python
    layer = tfpbnn.layers.Conv3DTransposeFlipout(8, 3, strides=2)
    y = layer(keras.random.normal((2, 6, 6, 6, 3)))
    ```

    Reference:
        [Wen et al., 2018](https://arxiv.org/abs/1803.04386)
    """

    _rank = 3

    _estimate = staticmethod(estimators.flipout)
