"""One case and more for every operation that has variational layers."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np

from tests import reference
from tfpbnn import families, layers, priors

ESTIMATORS = ("Reparameterization", "LocalReparameterization", "Flipout")
RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


@dataclasses.dataclass(frozen=True)
class Case:
    """An operation with arguments, an input, and its NumPy reference.

    Attributes:
        op: the name of the Keras layer.
        kwargs: arguments of ours and of Keras's layer.
        x: the input.
        apply: the operation in NumPy, if it has one kernel.
        extra: arguments of our layer only.
    """

    op: str
    kwargs: dict
    x: np.ndarray
    apply: Callable | None = None
    extra: dict = dataclasses.field(default_factory=dict)

    def cls(self, estimator):
        return getattr(layers, self.op + estimator)

    @property
    def keras(self):
        return getattr(keras.layers, self.op)

    def __str__(self):
        return self.op


CASES = [
    Case("Dense", {"units": 3}, normal(4, 5), np.matmul),
    Case(
        "Dense",
        {"units": 2, "activation": "tanh"},
        normal(4, 3, 5),
        extra={
            "bias_posterior": families.MeanFieldNormal(loc_initializer="zeros"),
            "bias_prior": "normal",
        },
    ),
    Case(
        "Conv1D",
        {"filters": 4, "kernel_size": 3, "padding": "causal", "groups": 2},
        normal(3, 5, 2),
        lambda x, k: reference.conv(x, k, (1,), "causal", groups=2),
    ),
    Case(
        "Conv2D",
        {"filters": 3, "kernel_size": (3, 2), "strides": 2, "padding": "same"},
        normal(3, 5, 4, 2),
        lambda x, k: reference.conv(x, k, (2, 2), "same"),
    ),
    Case(
        "Conv3D",
        {"filters": 2, "kernel_size": 2, "dilation_rate": 2},
        normal(3, 4, 3, 4, 2),
        lambda x, k: reference.conv(x, k, (1,) * 3, "valid", (2,) * 3),
    ),
    Case(
        "Conv1DTranspose",
        {"filters": 2, "kernel_size": 3, "strides": 2},
        normal(3, 3, 2),
        lambda x, k: reference.conv_transpose(x, k, (2,)),
    ),
    Case(
        "Conv2DTranspose",
        {"filters": 2, "kernel_size": 3, "strides": 2, "padding": "same"},
        normal(3, 3, 2, 2),
        lambda x, k: reference.conv_transpose(x, k, (2, 2), "same"),
    ),
    Case(
        "Conv3DTranspose",
        {"filters": 2, "kernel_size": 2, "strides": 1},
        normal(3, 2, 3, 2, 2),
        lambda x, k: reference.conv_transpose(x, k, (1, 1, 1)),
    ),
    Case(
        "DepthwiseConv1D",
        {"kernel_size": 3, "depth_multiplier": 2, "strides": 2},
        normal(3, 6, 2),
        lambda x, k: reference.depthwise_conv(x, k, (2,)),
    ),
    Case(
        "DepthwiseConv2D",
        {"kernel_size": 2, "padding": "same", "depth_multiplier": 2},
        normal(3, 4, 3, 2),
        lambda x, k: reference.depthwise_conv(x, k, (1, 1), "same"),
    ),
    Case(
        "SeparableConv1D",
        {"filters": 3, "kernel_size": 3, "depth_multiplier": 2},
        normal(3, 6, 2),
    ),
    Case(
        "SeparableConv2D",
        {"filters": 3, "kernel_size": 2, "padding": "same"},
        normal(3, 4, 3, 2),
    ),
    Case(
        "EinsumDense",
        {
            "equation": "abc,cde->adbe",
            "output_shape": (2, None, 3),
            "bias_axes": "de",
        },
        normal(3, 4, 2),
        reference.einsum("abc,cde->adbe"),
        extra={"bias_posterior": "mean_field_normal", "bias_prior": "normal"},
    ),
    Case(
        "EinsumDense",
        {"equation": "...x,xy->...y", "output_shape": 3},
        normal(3, 2, 4),
        np.matmul,
    ),
    Case(
        "Embedding",
        {"input_dim": 5, "output_dim": 3, "mask_zero": True},
        np.array([[1, 4, 1, 0], [1, 4, 1, 0], [2, 3, 0, 0]]),
        reference.embedding,
    ),
]

ALL = {
    "activation": "relu",
    "kernel_initializer": "he_normal",
    "bias_initializer": "ones",
    "kernel_regularizer": "l2",
    "bias_regularizer": "l1",
    "activity_regularizer": "l2",
    "kernel_constraint": keras.constraints.MaxNorm(3.0),
    "bias_constraint": "non_neg",
    "kernel_prior": priors.Normal(0.1, 0.5, learnable_scale=True),
    "bias_posterior": families.MeanFieldNormal(loc_initializer="zeros"),
    "bias_prior": "normal",
    "seed": 7,
    "name": "named",
}
# Cases of a layer alone, with all of its arguments.
FULL = [
    Case("Dense", {"units": 3, **ALL}, normal(6, 4, 5)),
    Case("Conv2D", {"filters": 2, "kernel_size": 2, **ALL}, normal(2, 4, 3, 2)),
    Case(
        "Dense",
        {"units": 2, "kernel_prior": "scale_mixture", "use_bias": False},
        normal(4, 5),
    ),
]


def every(cases):
    """(case, estimator) pairs and their names, for `parametrize`."""
    pairs = [(case, name) for case in cases for name in ESTIMATORS]
    return {
        "argvalues": pairs,
        "ids": [
            f"{i // 3}-{case}{name}" for i, (case, name) in enumerate(pairs)
        ],
    }
