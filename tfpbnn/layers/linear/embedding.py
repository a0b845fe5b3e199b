"""Defines variational embeddings."""

from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base import checks, registry
from tfpbnn.base.types import Identifier, Shape, Tensor
from tfpbnn.layers.linear import estimators, ops
from tfpbnn.layers.linear.base import VariationalLayer
from tfpbnn.layers.linear.weights import weights_of


class BaseEmbedding(VariationalLayer):
    """A layer that takes rows of a table, which has a distribution.

    Indices outside of the table are treated as in `keras.layers.Embedding`:
    negative indices count from the end. For indices that are not in the table
    then, a CPU raises an error; a GPU and XLA silently take zeros or another
    row.

    Input shape:
        `(batch, ...)` integers from 0 to `input_dim - 1`.

    Output shape:
        `(batch, ..., output_dim)`.
    """

    _arguments = ("input_dim", "output_dim", "mask_zero")

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Identifier = None,
        embeddings_regularizer: Identifier = None,
        embeddings_constraint: Identifier = None,
        mask_zero: bool = False,
        weights: Any = None,
        *,
        embeddings_posterior: Identifier = "mean_field_normal",
        embeddings_prior: Identifier = "normal",
        kl_weight: float | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        """Makes the layer; Keras's arguments mean what they do in `Embedding`.

        The table has a posterior and a prior like the kernel of `DenseFlipout`,
        where the arguments that are not listed are explained.

        Args:
            input_dim: the number of rows, a positive integer.
            output_dim: the length of the rows, a positive integer.
            mask_zero: whether the index 0 stands for padding, to be masked.
            weights: an array `[input_dim, output_dim]`, the initial `loc`;
                None for the initializer's.

        Raises:
            ValueError: if a size is not positive, `weights` does not have the
                table's shape, a name is unknown, or the estimator does not
                hold for the family.
        """
        input_dim = checks.positive_integer("input_dim", input_dim)
        output_dim = checks.positive_integer("output_dim", output_dim)
        super().__init__(
            weights_of(locals(), "embeddings"),
            use_bias=False,
            kl_weight=kl_weight,
            seed=seed,
            **kwargs,
        )
        self.input_dim = input_dim
        self.output_dim = output_dim
        self.mask_zero = bool(mask_zero)
        self.supports_masking = self.mask_zero
        self.autocast = False  # the inputs are integers
        if weights is not None:
            self._set_table(weights)

    def _set_table(self, weights: Any) -> None:
        is_list = isinstance(weights, list) and len(weights) == 1
        table = keras.ops.convert_to_numpy(weights[0] if is_list else weights)
        if table.shape != (self.input_dim, self.output_dim):
            raise ValueError(
                f"`weights` must have shape ({self.input_dim}, "
                f"{self.output_dim}). Received: shape {table.shape}"
            )
        if not self.built:
            self.build((None,))
        self.embeddings_posterior.loc.assign(table)

    def _weight_shapes(self, input_shape: Shape) -> dict[str, Any]:
        return {"embeddings": (self.input_dim, self.output_dim)}

    def _ops(self) -> dict[str, ops.LinearOp]:
        return {"embeddings": ops.embedding(self.compute_dtype)}

    def _as_numbers(self, inputs: Tensor) -> Tensor:
        inputs = tf.convert_to_tensor(inputs)
        return inputs if inputs.dtype.is_integer else tf.cast(inputs, tf.int32)

    def compute_mask(self, inputs: Tensor, mask: Any = None) -> Any:
        """Masks the inputs that are 0, if 0 stands for padding."""
        return keras.ops.not_equal(inputs, 0) if self.mask_zero else None

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (*input_shape, self.output_dim)


@registry.register("layers")
class EmbeddingReparameterization(BaseEmbedding):
    """An embedding with one table draw per call.

    It draws the whole table, whatever is looked up. See `EmbeddingFlipout`.
    """

    _estimator = estimators.REPARAMETERIZATION


@registry.register("layers")
class EmbeddingLocalReparameterization(BaseEmbedding):
    """An embedding with noise on its outputs.

    It draws only the rows that are looked up, which suits large vocabularies; a
    row that occurs twice gets two draws. See `EmbeddingFlipout`.
    """

    _estimator = estimators.LOCAL_REPARAMETERIZATION


@registry.register("layers")
class EmbeddingFlipout(BaseEmbedding):
    """An embedding with signs of the noise flipped for each example.

    A row that occurs twice in one example is the same row there.

    Example:
    ```python
    layer = tfpbnn.layers.EmbeddingFlipout(input_dim=50, output_dim=4)
    y = layer(keras.ops.convert_to_tensor([[3, 7, 7]]))
    ```

    Reference:
        [Wen et al., 2018](https://arxiv.org/abs/1803.04386)
    """

    _estimator = estimators.FLIPOUT
