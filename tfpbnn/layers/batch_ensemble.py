"""BatchEnsemble: members that differ in two vectors for each kernel."""

from typing import Any

import keras

from tfpbnn import _registry, random
from tfpbnn.layers.base import Weight
from tfpbnn.layers.conv import _Conv
from tfpbnn.layers.conv_transpose import _ConvTranspose
from tfpbnn.layers.dense import _Dense
from tfpbnn.layers.depthwise_conv import _DepthwiseConv
from tfpbnn.layers.einsum_dense import _EinsumDense
from tfpbnn.layers.embedding import _Embedding
from tfpbnn.layers.fast_weights import _FastWeights, resolve_initializer
from tfpbnn.types import Config, Identifier, Tensor


class _BatchEnsemble(_FastWeights):
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


@_registry.register("layers")
class DenseBatchEnsemble(_BatchEnsemble, _Dense):
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


@_registry.register("layers")
class Conv1DBatchEnsemble(_BatchEnsemble, _Conv):
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


@_registry.register("layers")
class Conv2DBatchEnsemble(_BatchEnsemble, _Conv):
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


@_registry.register("layers")
class Conv3DBatchEnsemble(_BatchEnsemble, _Conv):
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


@_registry.register("layers")
class Conv1DTransposeBatchEnsemble(_BatchEnsemble, _ConvTranspose):
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


@_registry.register("layers")
class Conv2DTransposeBatchEnsemble(_BatchEnsemble, _ConvTranspose):
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


@_registry.register("layers")
class Conv3DTransposeBatchEnsemble(_BatchEnsemble, _ConvTranspose):
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


@_registry.register("layers")
class DepthwiseConv1DBatchEnsemble(_BatchEnsemble, _DepthwiseConv):
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


@_registry.register("layers")
class DepthwiseConv2DBatchEnsemble(_BatchEnsemble, _DepthwiseConv):
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


@_registry.register("layers")
class EinsumDenseBatchEnsemble(_BatchEnsemble, _EinsumDense):
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


@_registry.register("layers")
class EmbeddingBatchEnsemble(_BatchEnsemble, _Embedding):
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
