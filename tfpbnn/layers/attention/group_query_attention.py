"""Variational grouped-query attention."""

from typing import Any

from tfpbnn.base import checks, registry
from tfpbnn.base.types import Config, Identifier
from tfpbnn.layers.attention.base import BaseAttention
from tfpbnn.layers.linear.einsum_dense import (
    EinsumDenseFlipout,
    EinsumDenseLocalReparameterization,
    EinsumDenseReparameterization,
)


class _GroupQueryAttention(BaseAttention):
    """Attention in which groups of heads share keys and values."""

    def __init__(
        self,
        head_dim: int,
        num_query_heads: int,
        num_key_value_heads: int,
        dropout: float = 0.0,
        use_bias: bool = True,
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
        """Makes the layer; the Keras arguments mean what they do there.

        Args:
            head_dim: size of each head.
            num_query_heads: number of heads.
            num_key_value_heads: number of groups of heads that share keys and
                values; divides `num_query_heads`.
            dropout: and all that follows, as in `MultiHeadAttentionFlipout`.
            use_bias: see there.
            sliding_window: see there.
            flash_attention: see there.
            kernel_initializer: see there.
            bias_initializer: see there.
            kernel_regularizer: see there.
            bias_regularizer: see there.
            activity_regularizer: see there.
            kernel_constraint: see there.
            bias_constraint: see there.
            use_gate: see there.
            seed: see there.
            kernel_posterior: see there.
            kernel_prior: see there.
            bias_posterior: see there.
            bias_prior: see there.
            kl_weight: see there.
            free_bits: see there.
            **kwargs: see there.

        Raises:
            ValueError: as there, and if the groups do not divide the heads.
        """
        head_dim = checks.positive_integer("head_dim", head_dim)
        heads = checks.positive_integer("num_query_heads", num_query_heads)
        groups = checks.positive_integer(
            "num_key_value_heads", num_key_value_heads
        )
        if heads % groups:
            raise ValueError(
                "`num_key_value_heads` must divide `num_query_heads`. "
                f"Received: num_key_value_heads={groups}, "
                f"num_query_heads={heads}"
            )
        super().__init__(
            heads,
            groups,
            head_dim,
            head_dim,
            dropout=dropout,
            use_bias=use_bias,
            sliding_window=sliding_window,
            flash_attention=flash_attention,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
            use_gate=use_gate,
            seed=seed,
            kernel_posterior=kernel_posterior,
            kernel_prior=kernel_prior,
            bias_posterior=bias_posterior,
            bias_prior=bias_prior,
            kl_weight=kl_weight,
            free_bits=free_bits,
            **kwargs,
        )
        self.head_dim = head_dim
        self.num_query_heads = heads
        self.num_key_value_heads = groups

    def get_config(self) -> Config:
        return super().get_config() | {
            "head_dim": self.head_dim,
            "num_query_heads": self.num_query_heads,
            "num_key_value_heads": self.num_key_value_heads,
        }


@registry.register("layers")
class GroupQueryAttentionReparameterization(_GroupQueryAttention):
    """Grouped-query attention with one draw of each kernel per call.

    Call arguments:
        query: and the others, as in `MultiHeadAttentionReparameterization`.

    Example:
    ```python
    layer = tfpbnn.layers.GroupQueryAttentionReparameterization(8, 4, 2)
    x = keras.random.normal((32, 5, 6))
    y, scores = layer(x, x, return_attention_scores=True)
    ```

    Reference:
        [Ainslie et al., 2023](https://arxiv.org/abs/2305.13245);
        [Blundell et al., 2015](https://arxiv.org/abs/1505.05424)
    """

    _projection = EinsumDenseReparameterization


@registry.register("layers")
class GroupQueryAttentionLocalReparameterization(_GroupQueryAttention):
    """Grouped-query attention with noise on what its projections return.

    Positions of an example get independent noise, although they share their
    kernels: right in distribution at each position, not jointly, and what is
    attended to mixes positions. `GroupQueryAttentionFlipout` is exact there.

    Call arguments:
        query: and the others, as in `MultiHeadAttentionReparameterization`.

    Example:
    ```python
    layer = tfpbnn.layers.GroupQueryAttentionLocalReparameterization(8, 4, 2)
    x = keras.random.normal((32, 5, 6))
    y = layer(x, x, use_causal_mask=True)
    ```

    Reference:
        [Ainslie et al., 2023](https://arxiv.org/abs/2305.13245);
        [Kingma et al., 2015](https://arxiv.org/abs/1506.02557)
    """

    _projection = EinsumDenseLocalReparameterization


@registry.register("layers")
class GroupQueryAttentionFlipout(_GroupQueryAttention):
    """Grouped-query attention with signs of the kernels' noise per example.

    The positions of an example share their kernels; examples are uncorrelated.

    Call arguments:
        query: and the others, as in `MultiHeadAttentionReparameterization`.

    Example:
    ```python
    layer = tfpbnn.layers.GroupQueryAttentionFlipout(8, 4, 2)
    x = keras.random.normal((32, 5, 6))
    y = layer(x, x, use_causal_mask=True)
    ```

    Reference:
        [Ainslie et al., 2023](https://arxiv.org/abs/2305.13245);
        [Wen et al., 2018](https://arxiv.org/abs/1803.04386)
    """

    _projection = EinsumDenseFlipout
