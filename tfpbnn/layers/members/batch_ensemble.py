"""BatchEnsemble: members that differ in two vectors for each kernel."""

from typing import Any

import keras

from tfpbnn import random
from tfpbnn.base import registry
from tfpbnn.base.types import Config, Identifier, Tensor
from tfpbnn.layers.linear.conv import BaseConv
from tfpbnn.layers.linear.conv_transpose import BaseConvTranspose
from tfpbnn.layers.linear.dense import BaseDense
from tfpbnn.layers.linear.depthwise_conv import BaseDepthwiseConv
from tfpbnn.layers.linear.einsum_dense import BaseEinsumDense
from tfpbnn.layers.linear.embedding import BaseEmbedding
from tfpbnn.layers.linear.weights import Weight
from tfpbnn.layers.members.fast_weights import (
    FastWeightsLayer,
    resolve_initializer,
)


class _BatchEnsemble(FastWeightsLayer):
    """Mixed into an operation's base: all weights are points."""

    def __init__(
        self,
        *args: Any,
        num_members: int,
        fast_initializer: Identifier = "random_sign",
        **kwargs: Any,
    ):
        fast = Weight(None, None, resolve_initializer(fast_initializer))
        super().__init__(*args, num_members=num_members, fast=fast, **kwargs)

    # There is no noise, nor a KL, and so no state of theirs.
    def _init_noise(self, *arguments: Any) -> None:
        del arguments

    def _build_noise(self) -> None:
        pass

    def _noise_config(self) -> Config:
        return {}

    def _draw_key(self) -> Tensor | None:
        scope = random.current_scope()
        return None if scope is None else scope.key_for(self)

    def get_config(self) -> Config:
        initializer = self.fast_output_initializer  # type: ignore[attr-defined]
        return super().get_config() | {
            "fast_initializer": keras.saving.serialize_keras_object(initializer)
        }


@registry.register("layers")
class DenseBatchEnsemble(_BatchEnsemble, BaseDense):
    """Dense layer with a kernel that members share.

    Member m computes `activation(s_m * ((r_m * x) @ kernel) + bias_m)`: its
    kernel is the shared one times the outer product of r_m and s_m, the fast
    weights. So M members have hardly more weights than one network.

    Rows are in groups, one for each member: the first `batch / num_members`
    rows are the first member's, and so on. For members to see all data,
    repeat the batch, as the model of `tfpbnn.ensembles.to_batch_ensemble` does.
    In `tfpbnn.predict` draw s is member `s % num_members`, for all rows.

    Args:
        *args: those of `keras.layers.Dense`.
        num_members: how many members there are, a positive integer.
        fast_initializer: of r and s: "random_sign" (the default, for members
            that begin far apart), "ones" (members that are equal, and stay so
            on equal data), or a Keras initializer, such as
            `keras.initializers.RandomNormal(1.0, 0.5)`.
        **kwargs: those of `keras.layers.Dense`. Each member has a bias of its
            own, from the one initializer.

    Call arguments:
        inputs: `(batch, ..., input_dim)`, of which the batch is a multiple of
            `num_members`.

    Raises:
        ValueError: if `num_members` is not a positive integer, or as
            `keras.layers.Dense`; when called, if the number of rows is not a
            multiple of `num_members`.

    Example:
    ```python
    layer = tfpbnn.layers.DenseBatchEnsemble(8, num_members=2)
    y = layer(keras.random.normal((8, 4)))
    ```

    Reference:
        [Wen et al., 2020](https://arxiv.org/abs/2002.06715)
    """


@registry.register("layers")
class Conv1DBatchEnsemble(_BatchEnsemble, BaseConv):
    """1-D convolution with a kernel that members share.

    Args:
        *args: those of `keras.layers.Conv1D`.
        **kwargs: those of `keras.layers.Conv1D` and, beside them, of
            `DenseBatchEnsemble`.

    Example:
    ```python
    layer = tfpbnn.layers.Conv1DBatchEnsemble(8, 3, num_members=2)
    y = layer(keras.random.normal((4, 16, 3)))
    ```

    Reference:
        [Wen et al., 2020](https://arxiv.org/abs/2002.06715)
    """

    _rank = 1


@registry.register("layers")
class Conv2DBatchEnsemble(_BatchEnsemble, BaseConv):
    """2-D convolution with a kernel that members share.

    Args:
        *args: those of `keras.layers.Conv2D`.
        **kwargs: those of `keras.layers.Conv2D` and, beside them, of
            `DenseBatchEnsemble`.

    Example:
    ```python
    layer = tfpbnn.layers.Conv2DBatchEnsemble(8, 3, num_members=2)
    y = layer(keras.random.normal((4, 8, 8, 3)))
    ```

    Reference:
        [Wen et al., 2020](https://arxiv.org/abs/2002.06715)
    """

    _rank = 2


@registry.register("layers")
class Conv3DBatchEnsemble(_BatchEnsemble, BaseConv):
    """3-D convolution with a kernel that members share.

    Args:
        *args: those of `keras.layers.Conv3D`.
        **kwargs: those of `keras.layers.Conv3D` and, beside them, of
            `DenseBatchEnsemble`.

    Example:
    ```python
    layer = tfpbnn.layers.Conv3DBatchEnsemble(8, 3, num_members=2)
    y = layer(keras.random.normal((4, 6, 6, 6, 3)))
    ```

    Reference:
        [Wen et al., 2020](https://arxiv.org/abs/2002.06715)
    """

    _rank = 3


@registry.register("layers")
class Conv1DTransposeBatchEnsemble(_BatchEnsemble, BaseConvTranspose):
    """1-D transposed convolution with a kernel that members share.

    Args:
        *args: those of `keras.layers.Conv1DTranspose`.
        **kwargs: those of `keras.layers.Conv1DTranspose` and, beside them, of
            `DenseBatchEnsemble`.

    Example:
    ```python
    layer = tfpbnn.layers.Conv1DTransposeBatchEnsemble(8, 3, num_members=2)
    y = layer(keras.random.normal((4, 16, 3)))
    ```

    Reference:
        [Wen et al., 2020](https://arxiv.org/abs/2002.06715)
    """

    _rank = 1


@registry.register("layers")
class Conv2DTransposeBatchEnsemble(_BatchEnsemble, BaseConvTranspose):
    """2-D transposed convolution with a kernel that members share.

    Args:
        *args: those of `keras.layers.Conv2DTranspose`.
        **kwargs: those of `keras.layers.Conv2DTranspose` and, beside them, of
            `DenseBatchEnsemble`.

    Example:
    ```python
    layer = tfpbnn.layers.Conv2DTransposeBatchEnsemble(8, 3, num_members=2)
    y = layer(keras.random.normal((4, 8, 8, 3)))
    ```

    Reference:
        [Wen et al., 2020](https://arxiv.org/abs/2002.06715)
    """

    _rank = 2


@registry.register("layers")
class Conv3DTransposeBatchEnsemble(_BatchEnsemble, BaseConvTranspose):
    """3-D transposed convolution with a kernel that members share.

    Args:
        *args: those of `keras.layers.Conv3DTranspose`.
        **kwargs: those of `keras.layers.Conv3DTranspose` and, beside them, of
            `DenseBatchEnsemble`.

    Example:
    ```python
    layer = tfpbnn.layers.Conv3DTransposeBatchEnsemble(8, 3, num_members=2)
    y = layer(keras.random.normal((4, 6, 6, 6, 3)))
    ```

    Reference:
        [Wen et al., 2020](https://arxiv.org/abs/2002.06715)
    """

    _rank = 3


@registry.register("layers")
class DepthwiseConv1DBatchEnsemble(_BatchEnsemble, BaseDepthwiseConv):
    """1-D depthwise convolution with a kernel that members share.

    Args:
        *args: those of `keras.layers.DepthwiseConv1D`.
        **kwargs: those of `keras.layers.DepthwiseConv1D` and, beside them, of
            `DenseBatchEnsemble`.

    Example:
    ```python
    layer = tfpbnn.layers.DepthwiseConv1DBatchEnsemble(3, num_members=2)
    y = layer(keras.random.normal((4, 16, 3)))
    ```

    Reference:
        [Wen et al., 2020](https://arxiv.org/abs/2002.06715)
    """

    _rank = 1
    _kernel = "depthwise"


@registry.register("layers")
class DepthwiseConv2DBatchEnsemble(_BatchEnsemble, BaseDepthwiseConv):
    """2-D depthwise convolution with a kernel that members share.

    Args:
        *args: those of `keras.layers.DepthwiseConv2D`.
        **kwargs: those of `keras.layers.DepthwiseConv2D` and, beside them, of
            `DenseBatchEnsemble`.

    Example:
    ```python
    layer = tfpbnn.layers.DepthwiseConv2DBatchEnsemble(3, num_members=2)
    y = layer(keras.random.normal((4, 8, 8, 3)))
    ```

    Reference:
        [Wen et al., 2020](https://arxiv.org/abs/2002.06715)
    """

    _rank = 2
    _kernel = "depthwise"


@registry.register("layers")
class EinsumDenseBatchEnsemble(_BatchEnsemble, BaseEinsumDense):
    """Einsum layer with a kernel that members share.

    Args:
        *args: those of `keras.layers.EinsumDense`.
        **kwargs: those of `keras.layers.EinsumDense` and, beside them, of
            `DenseBatchEnsemble`.

    Example:
    ```python
    layer = tfpbnn.layers.EinsumDenseBatchEnsemble(
        "abc,cd->abd", (None, 8), num_members=2
    )
    y = layer(keras.random.normal((4, 5, 3)))
    ```

    Reference:
        [Wen et al., 2020](https://arxiv.org/abs/2002.06715)
    """


@registry.register("layers")
class EmbeddingBatchEnsemble(_BatchEnsemble, BaseEmbedding):
    """Embedding with a table that members share.

    As `DenseBatchEnsemble`, but that there are no factors of the inputs, which
    are integers: member m has the table times s_m.

    Args:
        *args: those of `keras.layers.Embedding`.
        **kwargs: those of `keras.layers.Embedding` and, beside them, of
            `DenseBatchEnsemble`.

    Example:
    ```python
    layer = tfpbnn.layers.EmbeddingBatchEnsemble(50, 8, num_members=2)
    y = layer(keras.ops.convert_to_tensor([[3, 7], [7, 1]]))
    ```

    Reference:
        [Wen et al., 2020](https://arxiv.org/abs/2002.06715)
    """

    _kernel = "embeddings"
    _kernel_default = "uniform"
    _fast_names = ("fast_output",)
