"""Defines layers that drop weights, in training and in inference."""

from typing import Any

from tfpbnn.base import registry
from tfpbnn.base.types import Config
from tfpbnn.families import DropConnect
from tfpbnn.layers.linear import estimators
from tfpbnn.layers.linear.base import VariationalLayer
from tfpbnn.layers.linear.conv import BaseConv
from tfpbnn.layers.linear.dense import BaseDense


class BaseDropConnect(VariationalLayer):
    """A base to put before an operation's base, whose kernel is dropped.

    In training the kernel is drawn once for a batch. In `tfpbnn.predict` it is
    drawn once for a draw, the same for all rows.
    """

    _estimator = estimators.REPARAMETERIZATION

    def __init__(self, *args: Any, rate: float = 0.5, **kwargs: Any):
        posterior = DropConnect(rate)
        kwargs.setdefault("kernel_prior", None)
        super().__init__(*args, kernel_posterior=posterior, **kwargs)
        self.rate = posterior.rate

    def get_config(self) -> Config:
        config = super().get_config()
        del config["kernel_posterior"]
        return config | {"rate": self.rate}


@registry.register("layers")
class DenseDropConnect(BaseDropConnect, BaseDense):
    """A `keras.layers.Dense` whose weights are dropped one by one.

    A weight is 0 with probability `rate`, else divided by `1 - rate`; the bias
    stays. The posterior of the kernel is `tfpbnn.families.DropConnect`.

    Args:
        *args: the arguments of `DenseFlipout`, `units` first.
        rate: the probability to drop a weight, from 0 to below 1.
        **kwargs: the arguments of `DenseFlipout`, except for
            `kernel_posterior`. The default of `kernel_prior` is None: a
            `kernel_regularizer`, or the optimizer's weight decay, regularizes
            the kernel.

    Call arguments:
        inputs: a tensor `(batch, ..., input_dim)`.

    Raises:
        ValueError: if `rate` is not from 0 to below 1, or for the reasons of
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
class Conv1DDropConnect(BaseDropConnect, BaseConv):
    """`Conv1D` with a kernel that is dropped; see `DenseDropConnect`."""

    _rank = 1


@registry.register("layers")
class Conv2DDropConnect(BaseDropConnect, BaseConv):
    """`Conv2D` with a kernel that is dropped; see `DenseDropConnect`."""

    _rank = 2


@registry.register("layers")
class Conv3DDropConnect(BaseDropConnect, BaseConv):
    """`Conv3D` with a kernel that is dropped; see `DenseDropConnect`."""

    _rank = 3
