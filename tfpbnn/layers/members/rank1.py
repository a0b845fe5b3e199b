"""Rank-1 networks: BatchEnsemble with distributions over its vectors."""

from typing import Any

import keras
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base import registry
from tfpbnn.base.types import Config, Identifier, Tensor
from tfpbnn.families import MeanFieldNormal
from tfpbnn.layers.kl import KLRegularizer
from tfpbnn.layers.linear.conv import BaseConv
from tfpbnn.layers.linear.conv_transpose import BaseConvTranspose
from tfpbnn.layers.linear.dense import BaseDense
from tfpbnn.layers.linear.depthwise_conv import BaseDepthwiseConv
from tfpbnn.layers.linear.einsum_dense import BaseEinsumDense
from tfpbnn.layers.linear.embedding import BaseEmbedding
from tfpbnn.layers.linear.weights import Weight
from tfpbnn.layers.members.fast_weights import FastWeightsLayer
from tfpbnn.priors import Normal

_PRIOR_SCALE = 0.1
# softplus of it is 0.03.
_UNTRANSFORMED_SCALE = -3.49


class _MembersKL(KLRegularizer):
    """The mean over members of the KL of a member's weights.

    What they share, the scales that a prior has a posterior of, counts once.
    """

    def divergence(self) -> Tensor:
        kl, count = super().divergence(), self.posterior.loc.shape[0]
        shared = self.prior.shared_divergence()
        if shared is None:
            return kl / count
        shared = tf.cast(shared, tf.float32)
        return (kl - shared) / count + shared


class _Rank1(FastWeightsLayer):
    """Mixed into an operation's base: fast weights have distributions."""

    _kl_term = _MembersKL

    def __init__(
        self,
        *args: Any,
        num_members: int,
        fast_posterior: Identifier = None,
        fast_prior: Identifier = None,
        **kwargs: Any,
    ):
        if fast_posterior is None:
            start = keras.initializers.Constant(_UNTRANSFORMED_SCALE)
            fast_posterior = MeanFieldNormal(
                untransformed_scale_initializer=start
            )
            loc_initializer: Identifier = _about_one()
        else:  # an object of the user's brings its own
            is_name = isinstance(fast_posterior, str)
            loc_initializer = _about_one() if is_name else None
        fast = Weight(
            fast_posterior,
            Normal(1.0, _PRIOR_SCALE) if fast_prior is None else fast_prior,
            loc_initializer,
        )
        super().__init__(*args, num_members=num_members, fast=fast, **kwargs)

    def drawing(self, input_shape: Any = None) -> random.Drawing:
        # Each draw has noise of its own: there is no end to them.
        return random.Drawing(can_stack=True)

    def get_config(self) -> Config:
        layer: Any = self
        return super().get_config() | {
            "fast_posterior": layer.fast_output_posterior.serialize(),
            "fast_prior": layer.fast_output_prior.serialize(),
        }


def _about_one() -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(1.0, _PRIOR_SCALE)


@registry.register("layers")
class DenseRank1(_Rank1, BaseDense):
    """Dense layer with a shared kernel and uncertain factors.

    As `DenseBatchEnsemble`, but the fast weights r_m and s_m of each member
    have a distribution: a mixture, of as many parts as there are members, over
    matrices of rank 1 that the kernel is multiplied with. The kernel and the
    biases are points.

    A call draws once for each member. In `tfpbnn.predict` draw s is one of
    member `s % num_members`; there is no end to draws. The KL is the members'
    mean, as the mixture's evidence bound has it.

    Args:
        *args: those of `keras.layers.Dense`.
        num_members: how many members there are, a positive integer.
        fast_posterior: the family of the fast weights' distribution: a name, a
            config or a `tfpbnn.families.Family`. None, the default, for
            independent Normals that start about Normal(1, 0.1) draws, with
            scales of 0.03.
        fast_prior: a name, a config or a `tfpbnn.priors.Prior`. None, the
            default, for Normal(1, 0.1).
        **kwargs: those of `keras.layers.Dense`, `kl_weight`, `free_bits` and
            `seed` as in `DenseFlipout`.

    Call arguments:
        inputs: `(batch, ..., input_dim)`, of which the batch is a multiple of
            `num_members`.

    Raises:
        ValueError: as `DenseBatchEnsemble`, or if a name is unknown.

    Example:
    ```python
    layer = tfpbnn.layers.DenseRank1(8, num_members=2)
    y = layer(keras.random.normal((8, 4)))
    ```

    Reference:
        [Dusenberry et al., 2020](https://arxiv.org/abs/2005.07186)
    """


@registry.register("layers")
class Conv1DRank1(_Rank1, BaseConv):
    """1-D convolution with a shared kernel and uncertain factors.

    Args:
        *args: those of `keras.layers.Conv1D`.
        **kwargs: those of `keras.layers.Conv1D` and, beside them, of
            `DenseRank1`.

    Example:
    ```python
    layer = tfpbnn.layers.Conv1DRank1(8, 3, num_members=2)
    y = layer(keras.random.normal((4, 16, 3)))
    ```

    Reference:
        [Dusenberry et al., 2020](https://arxiv.org/abs/2005.07186)
    """

    _rank = 1


@registry.register("layers")
class Conv2DRank1(_Rank1, BaseConv):
    """2-D convolution with a shared kernel and uncertain factors.

    Args:
        *args: those of `keras.layers.Conv2D`.
        **kwargs: those of `keras.layers.Conv2D` and, beside them, of
            `DenseRank1`.

    Example:
    ```python
    layer = tfpbnn.layers.Conv2DRank1(8, 3, num_members=2)
    y = layer(keras.random.normal((4, 8, 8, 3)))
    ```

    Reference:
        [Dusenberry et al., 2020](https://arxiv.org/abs/2005.07186)
    """

    _rank = 2


@registry.register("layers")
class Conv3DRank1(_Rank1, BaseConv):
    """3-D convolution with a shared kernel and uncertain factors.

    Args:
        *args: those of `keras.layers.Conv3D`.
        **kwargs: those of `keras.layers.Conv3D` and, beside them, of
            `DenseRank1`.

    Example:
    ```python
    layer = tfpbnn.layers.Conv3DRank1(8, 3, num_members=2)
    y = layer(keras.random.normal((4, 6, 6, 6, 3)))
    ```

    Reference:
        [Dusenberry et al., 2020](https://arxiv.org/abs/2005.07186)
    """

    _rank = 3


@registry.register("layers")
class Conv1DTransposeRank1(_Rank1, BaseConvTranspose):
    """1-D transposed convolution with a shared kernel and uncertain factors.

    Args:
        *args: those of `keras.layers.Conv1DTranspose`.
        **kwargs: those of `keras.layers.Conv1DTranspose` and, beside them, of
            `DenseRank1`.

    Example:
    ```python
    layer = tfpbnn.layers.Conv1DTransposeRank1(8, 3, num_members=2)
    y = layer(keras.random.normal((4, 16, 3)))
    ```

    Reference:
        [Dusenberry et al., 2020](https://arxiv.org/abs/2005.07186)
    """

    _rank = 1


@registry.register("layers")
class Conv2DTransposeRank1(_Rank1, BaseConvTranspose):
    """2-D transposed convolution with a shared kernel and uncertain factors.

    Args:
        *args: those of `keras.layers.Conv2DTranspose`.
        **kwargs: those of `keras.layers.Conv2DTranspose` and, beside them, of
            `DenseRank1`.

    Example:
    ```python
    layer = tfpbnn.layers.Conv2DTransposeRank1(8, 3, num_members=2)
    y = layer(keras.random.normal((4, 8, 8, 3)))
    ```

    Reference:
        [Dusenberry et al., 2020](https://arxiv.org/abs/2005.07186)
    """

    _rank = 2


@registry.register("layers")
class Conv3DTransposeRank1(_Rank1, BaseConvTranspose):
    """3-D transposed convolution with a shared kernel and uncertain factors.

    Args:
        *args: those of `keras.layers.Conv3DTranspose`.
        **kwargs: those of `keras.layers.Conv3DTranspose` and, beside them, of
            `DenseRank1`.

    Example:
    ```python
    layer = tfpbnn.layers.Conv3DTransposeRank1(8, 3, num_members=2)
    y = layer(keras.random.normal((4, 6, 6, 6, 3)))
    ```

    Reference:
        [Dusenberry et al., 2020](https://arxiv.org/abs/2005.07186)
    """

    _rank = 3


@registry.register("layers")
class DepthwiseConv1DRank1(_Rank1, BaseDepthwiseConv):
    """1-D depthwise convolution with a shared kernel and uncertain factors.

    Args:
        *args: those of `keras.layers.DepthwiseConv1D`.
        **kwargs: those of `keras.layers.DepthwiseConv1D` and, beside them, of
            `DenseRank1`.

    Example:
    ```python
    layer = tfpbnn.layers.DepthwiseConv1DRank1(3, num_members=2)
    y = layer(keras.random.normal((4, 16, 3)))
    ```

    Reference:
        [Dusenberry et al., 2020](https://arxiv.org/abs/2005.07186)
    """

    _rank = 1
    _kernel = "depthwise"


@registry.register("layers")
class DepthwiseConv2DRank1(_Rank1, BaseDepthwiseConv):
    """2-D depthwise convolution with a shared kernel and uncertain factors.

    Args:
        *args: those of `keras.layers.DepthwiseConv2D`.
        **kwargs: those of `keras.layers.DepthwiseConv2D` and, beside them, of
            `DenseRank1`.

    Example:
    ```python
    layer = tfpbnn.layers.DepthwiseConv2DRank1(3, num_members=2)
    y = layer(keras.random.normal((4, 8, 8, 3)))
    ```

    Reference:
        [Dusenberry et al., 2020](https://arxiv.org/abs/2005.07186)
    """

    _rank = 2
    _kernel = "depthwise"


@registry.register("layers")
class EinsumDenseRank1(_Rank1, BaseEinsumDense):
    """Einsum layer with a shared kernel and uncertain factors.

    Args:
        *args: those of `keras.layers.EinsumDense`.
        **kwargs: those of `keras.layers.EinsumDense` and, beside them, of
            `DenseRank1`.

    Example:
    ```python
    layer = tfpbnn.layers.EinsumDenseRank1(
        "abc,cd->abd", (None, 8), num_members=2
    )
    y = layer(keras.random.normal((4, 5, 3)))
    ```

    Reference:
        [Dusenberry et al., 2020](https://arxiv.org/abs/2005.07186)
    """


@registry.register("layers")
class EmbeddingRank1(_Rank1, BaseEmbedding):
    """Embedding with a shared table and uncertain factors.

    As `DenseRank1`, but that there are no factors of the inputs, which are
    integers: member m has the table times s_m.

    Args:
        *args: those of `keras.layers.Embedding`.
        **kwargs: those of `keras.layers.Embedding` and, beside them, of
            `DenseRank1`.

    Example:
    ```python
    layer = tfpbnn.layers.EmbeddingRank1(50, 8, num_members=2)
    y = layer(keras.ops.convert_to_tensor([[3, 7], [7, 1]]))
    ```

    Reference:
        [Dusenberry et al., 2020](https://arxiv.org/abs/2005.07186)
    """

    _kernel = "embeddings"
    _kernel_default = "uniform"
    _fast_names = ("fast_output",)
