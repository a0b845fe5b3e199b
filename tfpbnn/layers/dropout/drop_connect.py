"""Layers that drop weights, in training and in inference."""

from typing import Any

from tfpbnn.base import registry
from tfpbnn.base.types import Config
from tfpbnn.families import DropConnect
from tfpbnn.layers.linear import estimators
from tfpbnn.layers.linear.conv import BaseConv
from tfpbnn.layers.linear.dense import BaseDense


class _DropConnect:
    """Mixed into an operation's base: its kernel is there or not.

    In training the kernel is drawn once for a batch. In `tfpbnn.predict` it is
    drawn once for a draw, the same for all rows.
    """

    _estimate = staticmethod(estimators.reparameterization)

    def __init__(self, *args: Any, rate: float = 0.5, **kwargs: Any):
        posterior = DropConnect(rate)
        kwargs.setdefault("kernel_prior", None)
        super().__init__(  # type: ignore[call-arg]
            *args, kernel_posterior=posterior, **kwargs
        )
        self.rate = posterior.rate

    def get_config(self) -> Config:
        config = super().get_config()  # type: ignore[misc]
        del config["kernel_posterior"]
        return config | {"rate": self.rate}


@registry.register("layers")
class DenseDropConnect(_DropConnect, BaseDense):
    """`keras.layers.Dense` whose kernel is dropped, weight by weight.

    A weight is 0 with probability `rate`, else divided by `1 - rate`; the bias
    stays. The posterior of the kernel is `tfpbnn.families.DropConnect`.

    Args:
        *args: of `DenseFlipout`, `units` first.
        rate: from 0 to below 1.
        **kwargs: of `DenseFlipout`, but for `kernel_posterior`. The
            default of `kernel_prior` is None: what regularizes the kernel is a
            `kernel_regularizer`, or the optimizer's decay.

    Call arguments:
        inputs: `(batch, ..., input_dim)`.

    Raises:
        ValueError: if `rate` is not from 0 to below 1, or as
            `DenseFlipout`.

    Example:
    ```python
    layer = tfpbnn.layers.DenseDropConnect(8, activation="relu", rate=0.1)
    layer(x)
    ```

    Reference:
        [Wan et al., 2013](https://proceedings.mlr.press/v28/wan13.html)
    """


@registry.register("layers")
class Conv1DDropConnect(_DropConnect, BaseConv):
    """`keras.layers.Conv1D` whose kernel is dropped, weight by weight.

    A weight is 0 with probability `rate`, else divided by `1 - rate`; the bias
    stays. The posterior of the kernel is `tfpbnn.families.DropConnect`.

    Args:
        *args: of `Conv1DFlipout`, `filters` first.
        rate: from 0 to below 1.
        **kwargs: of `Conv1DFlipout`, but for `kernel_posterior`. The
            default of `kernel_prior` is None: what regularizes the kernel is a
            `kernel_regularizer`, or the optimizer's decay.

    Call arguments:
        inputs: `(batch, steps, channels)`.

    Raises:
        ValueError: if `rate` is not from 0 to below 1, or as
            `Conv1DFlipout`.

    Example:
    ```python
    layer = tfpbnn.layers.Conv1DDropConnect(8, 3, activation="relu", rate=0.1)
    layer(keras.random.normal((2, 5, 3)))
    ```

    Reference:
        [Wan et al., 2013](https://proceedings.mlr.press/v28/wan13.html)
    """

    _rank = 1


@registry.register("layers")
class Conv2DDropConnect(_DropConnect, BaseConv):
    """`keras.layers.Conv2D` whose kernel is dropped, weight by weight.

    A weight is 0 with probability `rate`, else divided by `1 - rate`; the bias
    stays. The posterior of the kernel is `tfpbnn.families.DropConnect`.

    Args:
        *args: of `Conv2DFlipout`, `filters` first.
        rate: from 0 to below 1.
        **kwargs: of `Conv2DFlipout`, but for `kernel_posterior`. The
            default of `kernel_prior` is None: what regularizes the kernel is a
            `kernel_regularizer`, or the optimizer's decay.

    Call arguments:
        inputs: `(batch, rows, columns, channels)`.

    Raises:
        ValueError: if `rate` is not from 0 to below 1, or as
            `Conv2DFlipout`.

    Example:
    ```python
    layer = tfpbnn.layers.Conv2DDropConnect(8, 3, activation="relu", rate=0.1)
    layer(keras.random.normal((2, 5, 5, 3)))
    ```

    Reference:
        [Wan et al., 2013](https://proceedings.mlr.press/v28/wan13.html)
    """

    _rank = 2


@registry.register("layers")
class Conv3DDropConnect(_DropConnect, BaseConv):
    """`keras.layers.Conv3D` whose kernel is dropped, weight by weight.

    A weight is 0 with probability `rate`, else divided by `1 - rate`; the bias
    stays. The posterior of the kernel is `tfpbnn.families.DropConnect`.

    Args:
        *args: of `Conv3DFlipout`, `filters` first.
        rate: from 0 to below 1.
        **kwargs: of `Conv3DFlipout`, but for `kernel_posterior`. The
            default of `kernel_prior` is None: what regularizes the kernel is a
            `kernel_regularizer`, or the optimizer's decay.

    Call arguments:
        inputs: `(batch, depth, rows, columns, channels)`.

    Raises:
        ValueError: if `rate` is not from 0 to below 1, or as
            `Conv3DFlipout`.

    Example:
    ```python
    layer = tfpbnn.layers.Conv3DDropConnect(8, 3, activation="relu", rate=0.1)
    layer(keras.random.normal((2, 4, 4, 4, 3)))
    ```

    Reference:
        [Wan et al., 2013](https://proceedings.mlr.press/v28/wan13.html)
    """

    _rank = 3
