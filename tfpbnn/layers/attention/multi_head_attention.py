"""Defines variational multi-head attention."""

from collections.abc import Sequence
from typing import Any

from tfpbnn.base import checks, registry
from tfpbnn.base.types import Config, Identifier
from tfpbnn.layers.attention.base import BaseAttention, shared_arguments
from tfpbnn.layers.linear.einsum_dense import (
    EinsumDenseFlipout,
    EinsumDenseLocalReparameterization,
    EinsumDenseReparameterization,
)


class BaseMultiHeadAttention(BaseAttention):
    """Attention in which each head has its own keys and values."""

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: int | Sequence[int] | None = None,
        attention_axes: int | Sequence[int] | None = None,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Identifier = None,
        bias_initializer: Identifier = "zeros",
        kernel_regularizer: Identifier = None,
        bias_regularizer: Identifier = None,
        activity_regularizer: Identifier = None,
        kernel_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        use_gate: bool = False,
        seed: int | None = None,
        *,
        kernel_posterior: Identifier = "mean_field_normal",
        kernel_prior: Identifier = "normal",
        bias_posterior: Identifier = None,
        bias_prior: Identifier = None,
        kl_weight: float | None = None,
        free_bits: float = 0.0,
        **kwargs: Any,
    ):
        """Makes the layer; Keras's arguments mean what they do in Keras.

        Arguments that are not listed mean what they do in `DenseFlipout`, for
        the kernel of each projection.

        Args:
            num_heads: the number of heads, a positive integer.
            key_dim: the size of each head's queries and keys.
            value_dim: the size of each head's values; None for `key_dim`.
            dropout: the rate of dropout of the scores when training.
            use_bias: whether the projections add biases.
            output_shape: the shape of the outputs without batch and targets;
                None for the features of the query.
            attention_axes: the axes to attend over; None for all between the
                batch and the features.
            sliding_window: the distance in positions from which on a key is
                not attended to; None for no limit.
            flash_attention: None or False, since TensorFlow has none.
            activity_regularizer: a regularizer of the outputs of each
                projection.
            use_gate: whether to multiply the heads' outputs with a sigmoid of
                one more projection of the query.
            seed: the seed of the noise and the dropout; each projection gets
                its own from it.

        Raises:
            ValueError: if a size is not positive, a name is unknown, or the
                estimator does not hold for the family; when called, if the
                shape of an input or a mask does not fit.
        """
        num_heads = checks.positive_integer("num_heads", num_heads)
        key_dim = checks.positive_integer("key_dim", key_dim)
        value_dim = checks.positive_integer(
            "value_dim", key_dim if value_dim is None else value_dim
        )
        super().__init__(
            num_heads,
            num_heads,
            key_dim,
            value_dim,
            output_shape,
            attention_axes,
            **shared_arguments(locals()),
            **kwargs,
        )
        self.num_heads = num_heads
        self.key_dim = key_dim
        self.value_dim = value_dim

    def get_config(self) -> Config:
        return super().get_config() | {
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "value_dim": self.value_dim,
            "output_shape": self._output_sizes,
            "attention_axes": self.attention_axes,
        }


@registry.register("layers")
class MultiHeadAttentionReparameterization(BaseMultiHeadAttention):
    """Multi-head attention with one draw of each kernel per call.

    Call arguments:
        query, value, key: tensors with the shapes of
            `keras.layers.MultiHeadAttention`; `key` is `value` by default.
        query_mask, value_mask, key_mask: booleans, False for padding; by
            default the masks of the inputs, such as those of an `Embedding`
            with `mask_zero`.
        attention_mask: booleans that broadcast to `(batch, heads, targets,
            sources)`; heads, and then batch, may be left out. A query that may
            attend to nothing has scores of zero.
        return_attention_scores: whether to return the scores too.
        training: whether to drop scores.
        use_causal_mask: whether to forbid keys after the query.

    Example:
    ```python
    layer = tfpbnn.layers.MultiHeadAttentionReparameterization(2, key_dim=8)
    x = keras.random.normal((32, 5, 4))
    y, scores = layer(x, x, return_attention_scores=True)
    ```

    Reference:
        [Vaswani et al., 2017](https://arxiv.org/abs/1706.03762);
        [Blundell et al., 2015](https://arxiv.org/abs/1505.05424)
    """

    _projection = EinsumDenseReparameterization


@registry.register("layers")
class MultiHeadAttentionLocalReparameterization(BaseMultiHeadAttention):
    """Multi-head attention with noise on what its projections return.

    Positions of an example get independent noise, although they share their
    kernels. So the distribution is right at each position, but not jointly, and
    attention mixes positions. `MultiHeadAttentionFlipout` is exact there.

    Call arguments:
        query: this and the other arguments are those of
            `MultiHeadAttentionReparameterization`.

    Example:
    ```python
    layer = tfpbnn.layers.MultiHeadAttentionLocalReparameterization(
        2, key_dim=8
    )
    x = keras.random.normal((32, 5, 4))
    y = layer(x, x, use_causal_mask=True)
    ```

    Reference:
        [Vaswani et al., 2017](https://arxiv.org/abs/1706.03762);
        [Kingma et al., 2015](https://arxiv.org/abs/1506.02557)
    """

    _projection = EinsumDenseLocalReparameterization


@registry.register("layers")
class MultiHeadAttentionFlipout(BaseMultiHeadAttention):
    """Multi-head attention with signs of the kernels' noise per example.

    The positions of an example share their kernels; examples are uncorrelated.

    Call arguments:
        query: this and the other arguments are those of
            `MultiHeadAttentionReparameterization`.

    Example:
    ```python
    inputs = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(100, 16, mask_zero=True)(inputs)
    x += tfpbnn.layers.MultiHeadAttentionFlipout(4, key_dim=4)(x, x)
    x = keras.layers.GlobalAveragePooling1D()(x)
    model = keras.Model(inputs, tfpbnn.layers.DenseFlipout(2)(x))
    ```

    Reference:
        [Vaswani et al., 2017](https://arxiv.org/abs/1706.03762);
        [Wen et al., 2018](https://arxiv.org/abs/1803.04386)
    """

    _projection = EinsumDenseFlipout
