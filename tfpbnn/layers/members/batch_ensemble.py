"""Defines BatchEnsemble: members differ in two vectors for each kernel."""

from typing import Any

import keras

from tfpbnn import random
from tfpbnn.base import registry
from tfpbnn.base.types import Config, Identifier, Tensor
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


@registry.register("layers")
class RandomSign(keras.initializers.Initializer):
    """An initializer with +1 or -1, for members that begin far apart.

    Each has the probability 1/2. Its name as a `fast_initializer` is
    "random_sign".

    Args:
        seed: the seed; None takes one from Python's `random` for each call.

    Example:
    ```python
    initializer = tfpbnn.layers.RandomSign(seed=1)
    layer = tfpbnn.layers.DenseBatchEnsemble(
        8, num_members=4, fast_initializer=initializer
    )
    ```

    Reference:
        [Wen et al., 2020](https://arxiv.org/abs/2002.06715)
    """

    def __init__(self, seed: int | None = None):
        self.seed = seed

    def __call__(self, shape: Any, dtype: Any = None) -> Tensor:
        seed = random.any_seed() if self.seed is None else self.seed
        dtype = dtype or keras.config.floatx()
        return random.signs(random.as_key(seed), shape, dtype)

    def get_config(self) -> Config:
        return {"seed": self.seed}


class BaseBatchEnsemble(VariationalLayer):
    """A base to put before an operation's base; all members are points."""

    _estimator = estimators.FAST_WEIGHTS
    fast_weights: FastWeights

    def __init__(
        self,
        *args: Any,
        num_members: int,
        fast_initializer: Identifier = "random_sign",
        **kwargs: Any,
    ):
        check_points(kwargs)
        if fast_initializer == "random_sign":
            fast_initializer = RandomSign()
        start = keras.initializers.get(fast_initializer)
        members = FastWeights(num_members, Weight(None, None, start))
        super().__init__(*args, fast_weights=members, **kwargs)

    def get_config(self) -> Config:
        start = keras.saving.serialize_keras_object(
            self.fast_output_initializer
        )
        config = self.fast_weights.without_own(super().get_config())
        return config | {"fast_initializer": start}


@registry.register("layers")
class DenseBatchEnsemble(BaseBatchEnsemble, BaseDense):
    """A dense layer with a kernel that members share.

    Member m computes `activation(s_m * ((r_m * x) @ kernel) + bias_m)`: its
    kernel is the shared one times the outer product of r_m and s_m, the fast
    weights. So M members have hardly more weights than one network.

    Rows are in groups, one for each member: the first `batch / num_members`
    rows are the first member's, and so on. For members to see all data,
    repeat the batch, as the model of `tfpbnn.ensembles.to_batch_ensemble` does.
    In `tfpbnn.predict` draw s is member `s % num_members`, for all rows.

    Args:
        *args: the arguments of `keras.layers.Dense`.
        num_members: the number of members, a positive integer.
        fast_initializer: the initializer of r and s: "random_sign" (the
            default, for members that begin far apart), "ones" (for members
            that are equal, and stay so on equal data), or a Keras initializer,
            such as `keras.initializers.RandomNormal(1.0, 0.5)`.
        **kwargs: the arguments of `keras.layers.Dense`. Each member has its own
            bias, from the same initializer.

    Call arguments:
        inputs: a tensor `(batch, ..., input_dim)`, whose batch size is a
            multiple of `num_members`.

    Raises:
        ValueError: if `num_members` is not a positive integer, or for the
            reasons of `keras.layers.Dense`; when called, if the number of rows
            is not a multiple of `num_members`.

    Example:
    ```python
    layer = tfpbnn.layers.DenseBatchEnsemble(8, num_members=2)
    y = layer(keras.random.normal((8, 4)))
    ```

    Reference:
        [Wen et al., 2020](https://arxiv.org/abs/2002.06715)
    """


@registry.register("layers")
class Conv1DBatchEnsemble(BaseBatchEnsemble, BaseConv):
    """`Conv1D` with a kernel that members share; see `DenseBatchEnsemble`."""

    _rank = 1


@registry.register("layers")
class Conv2DBatchEnsemble(BaseBatchEnsemble, BaseConv):
    """`Conv2D` with a kernel that members share; see `DenseBatchEnsemble`."""

    _rank = 2


@registry.register("layers")
class Conv3DBatchEnsemble(BaseBatchEnsemble, BaseConv):
    """`Conv3D` with a kernel that members share; see `DenseBatchEnsemble`."""

    _rank = 3


@registry.register("layers")
class Conv1DTransposeBatchEnsemble(BaseBatchEnsemble, BaseConvTranspose):
    """`Conv1DTranspose` with a kernel that members share.

    See `DenseBatchEnsemble`.
    """

    _rank = 1


@registry.register("layers")
class Conv2DTransposeBatchEnsemble(BaseBatchEnsemble, BaseConvTranspose):
    """`Conv2DTranspose` with a kernel that members share.

    See `DenseBatchEnsemble`.
    """

    _rank = 2


@registry.register("layers")
class Conv3DTransposeBatchEnsemble(BaseBatchEnsemble, BaseConvTranspose):
    """`Conv3DTranspose` with a kernel that members share.

    See `DenseBatchEnsemble`.
    """

    _rank = 3


@registry.register("layers")
class DepthwiseConv1DBatchEnsemble(BaseBatchEnsemble, BaseDepthwiseConv):
    """`DepthwiseConv1D` with a kernel that members share.

    See `DenseBatchEnsemble`.
    """

    _rank = 1


@registry.register("layers")
class DepthwiseConv2DBatchEnsemble(BaseBatchEnsemble, BaseDepthwiseConv):
    """`DepthwiseConv2D` with a kernel that members share.

    See `DenseBatchEnsemble`.
    """

    _rank = 2


@registry.register("layers")
class EinsumDenseBatchEnsemble(BaseBatchEnsemble, BaseEinsumDense):
    """`EinsumDense` with a kernel that members share.

    See `DenseBatchEnsemble`.
    """


@registry.register("layers")
class EmbeddingBatchEnsemble(BaseBatchEnsemble, BaseEmbedding):
    """An embedding with a table that members share.

    It is like `DenseBatchEnsemble`, without factors of the inputs, which are
    integers: member m has the table times s_m.

    Args:
        *args: the arguments of `keras.layers.Embedding`.
        **kwargs: the arguments of `keras.layers.Embedding`, and `num_members`
            and `fast_initializer` of `DenseBatchEnsemble`.

    Example:
    ```python
    layer = tfpbnn.layers.EmbeddingBatchEnsemble(50, 8, num_members=2)
    y = layer(keras.ops.convert_to_tensor([[3, 7], [7, 1]]))
    ```

    Reference:
        [Wen et al., 2020](https://arxiv.org/abs/2002.06715)
    """
