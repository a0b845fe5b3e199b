"""Defines Rank-1 networks: BatchEnsemble with random vectors."""

from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base import registry
from tfpbnn.base.types import Config, Identifier, Tensor
from tfpbnn.families import MeanFieldNormal
from tfpbnn.layers.kl import KLRegularizer
from tfpbnn.layers.linear import estimators
from tfpbnn.layers.linear.base import VariationalLayer
from tfpbnn.layers.linear.conv import BaseConv
from tfpbnn.layers.linear.conv_transpose import BaseConvTranspose
from tfpbnn.layers.linear.dense import BaseDense
from tfpbnn.layers.linear.depthwise_conv import BaseDepthwiseConv
from tfpbnn.layers.linear.einsum_dense import BaseEinsumDense
from tfpbnn.layers.linear.embedding import BaseEmbedding
from tfpbnn.layers.linear.weights import Weight
from tfpbnn.layers.members.fast_weights import FastWeights, check_points
from tfpbnn.priors import Normal

_PRIOR_SCALE = 0.1
# softplus of it is 0.03.
_UNTRANSFORMED_SCALE = -3.49


class _MembersKL(KLRegularizer):
    """The mean over members of the KL of a member's weights.

    The KL of scales that a prior has a posterior of, and members share, counts
    once.
    """

    def divergence(self) -> Tensor:
        kl, count = super().divergence(), self.posterior.loc.shape[0]
        shared = self.prior.shared_divergence()
        if shared is None:
            return kl / count
        shared = tf.cast(shared, tf.float32)
        return (kl - shared) / count + shared

    def by_weight(self, integrate: bool = True) -> Tensor | None:
        each = super().by_weight(integrate)
        return None if each is None else each / self.posterior.loc.shape[0]


class BaseRank1(VariationalLayer):
    """A base to put before an operation's base, with random factors."""

    _estimator = estimators.FAST_WEIGHTS
    _kl_term = _MembersKL
    fast_weights: FastWeights

    def __init__(
        self,
        *args: Any,
        num_members: int,
        fast_posterior: Identifier = None,
        fast_prior: Identifier = None,
        **kwargs: Any,
    ):
        check_points(kwargs)
        start: Identifier = _about_one()
        if fast_posterior is None:
            scale = keras.initializers.Constant(_UNTRANSFORMED_SCALE)
            fast_posterior = MeanFieldNormal(
                untransformed_scale_initializer=scale
            )
        elif not isinstance(fast_posterior, str):
            start = None  # an object of the user's brings its own
        if fast_prior is None:
            fast_prior = Normal(1.0, _PRIOR_SCALE)
        weight = Weight(fast_posterior, fast_prior, start)
        members = FastWeights(num_members, weight)
        super().__init__(*args, fast_weights=members, **kwargs)

    def get_config(self) -> Config:
        return self.fast_weights.without_own(super().get_config()) | {
            "fast_posterior": self.fast_output_posterior.serialize(),
            "fast_prior": self.fast_output_prior.serialize(),
        }


def _about_one() -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(1.0, _PRIOR_SCALE)


@registry.register("layers")
class DenseRank1(BaseRank1, BaseDense):
    """A dense layer with a shared kernel and uncertain factors.

    It is like `DenseBatchEnsemble`, but the fast weights r_m and s_m of each
    member have a distribution. So the kernel is multiplied with a matrix of
    rank 1 that has a mixture distribution, with a part for each member. The
    kernel and the biases are points.

    A call draws once for each member. In `tfpbnn.predict` draw s is one of
    member `s % num_members`, and there are any number of draws. The KL is the
    mean over members, as in the evidence bound of the mixture.

    Args:
        *args: the arguments of `keras.layers.Dense`.
        num_members: the number of members, a positive integer.
        fast_posterior: the family of the fast weights' distribution: a name, a
            config or a `tfpbnn.families.Family`. None, the default, means
            independent Normals whose locations start as draws of
            Normal(1, 0.1), with scales of 0.03.
        fast_prior: the prior of the fast weights: a name, a config or a
            `tfpbnn.priors.Prior`. None, the default, means Normal(1, 0.1).
        **kwargs: the arguments of `keras.layers.Dense`, and `kl_weight`,
            `free_bits` and `seed` as in `DenseFlipout`.

    Call arguments:
        inputs: a tensor `(batch, ..., input_dim)`, whose batch size is a
            multiple of `num_members`.

    Raises:
        ValueError: for the reasons of `DenseBatchEnsemble`, or if a name is
            unknown.

    Example:
    ```python
    layer = tfpbnn.layers.DenseRank1(8, num_members=2)
    y = layer(keras.random.normal((8, 4)))
    ```

    Reference:
        [Dusenberry et al., 2020](https://arxiv.org/abs/2005.07186)
    """


@registry.register("layers")
class Conv1DRank1(BaseRank1, BaseConv):
    """`Conv1D` with a shared kernel and uncertain factors; see `DenseRank1`."""

    _rank = 1


@registry.register("layers")
class Conv2DRank1(BaseRank1, BaseConv):
    """`Conv2D` with a shared kernel and uncertain factors; see `DenseRank1`."""

    _rank = 2


@registry.register("layers")
class Conv3DRank1(BaseRank1, BaseConv):
    """`Conv3D` with a shared kernel and uncertain factors; see `DenseRank1`."""

    _rank = 3


@registry.register("layers")
class Conv1DTransposeRank1(BaseRank1, BaseConvTranspose):
    """`Conv1DTranspose` with a shared kernel and uncertain factors.

    See `DenseRank1`.
    """

    _rank = 1


@registry.register("layers")
class Conv2DTransposeRank1(BaseRank1, BaseConvTranspose):
    """`Conv2DTranspose` with a shared kernel and uncertain factors.

    See `DenseRank1`.
    """

    _rank = 2


@registry.register("layers")
class Conv3DTransposeRank1(BaseRank1, BaseConvTranspose):
    """`Conv3DTranspose` with a shared kernel and uncertain factors.

    See `DenseRank1`.
    """

    _rank = 3


@registry.register("layers")
class DepthwiseConv1DRank1(BaseRank1, BaseDepthwiseConv):
    """`DepthwiseConv1D` with a shared kernel and uncertain factors.

    See `DenseRank1`.
    """

    _rank = 1


@registry.register("layers")
class DepthwiseConv2DRank1(BaseRank1, BaseDepthwiseConv):
    """`DepthwiseConv2D` with a shared kernel and uncertain factors.

    See `DenseRank1`.
    """

    _rank = 2


@registry.register("layers")
class EinsumDenseRank1(BaseRank1, BaseEinsumDense):
    """`EinsumDense` with a shared kernel and uncertain factors.

    See `DenseRank1`.
    """


@registry.register("layers")
class EmbeddingRank1(BaseRank1, BaseEmbedding):
    """An embedding with a shared table and uncertain factors.

    It is like `DenseRank1`, without factors of the inputs, which are integers:
    member m has the table times s_m.

    Args:
        *args: the arguments of `keras.layers.Embedding`.
        **kwargs: the arguments of `keras.layers.Embedding`, and `num_members`,
            `fast_posterior`, `fast_prior`, `kl_weight`, `free_bits` and `seed`
            of `DenseRank1`.

    Example:
    ```python
    layer = tfpbnn.layers.EmbeddingRank1(50, 8, num_members=2)
    y = layer(keras.ops.convert_to_tensor([[3, 7], [7, 1]]))
    ```

    Reference:
        [Dusenberry et al., 2020](https://arxiv.org/abs/2005.07186)
    """
