"""Defines variational grouped-query attention."""

from typing import Any

from tfpbnn.base import checks, registry
from tfpbnn.base.types import Config, Identifier
from tfpbnn.layers.attention.base import BaseAttention, shared_arguments
from tfpbnn.layers.linear.einsum_dense import (
    EinsumDenseFlipout,
    EinsumDenseLocalReparameterization,
    EinsumDenseReparameterization,
)


class BaseGroupQueryAttention(BaseAttention):
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
        """Makes the layer; Keras's arguments mean what they do in Keras.

        Arguments that are not listed mean what they do in
        `MultiHeadAttentionFlipout`.

        Args:
            head_dim: the size of each head.
            num_query_heads: the number of heads.
            num_key_value_heads: the number of groups of heads that share keys
                and values, a divisor of `num_query_heads`.

        Raises:
            ValueError: for the reasons of `MultiHeadAttentionFlipout`, or if
                the number of groups does not divide that of heads.
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
            **shared_arguments(locals()),
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
class GroupQueryAttentionReparameterization(BaseGroupQueryAttention):
    """Grouped-query attention with one draw of each kernel per call.

    See `MultiHeadAttentionReparameterization`.
    """

    _projection = EinsumDenseReparameterization


@registry.register("layers")
class GroupQueryAttentionLocalReparameterization(BaseGroupQueryAttention):
    """Grouped-query attention with noise on what its projections return.

    See `MultiHeadAttentionLocalReparameterization`.
    """

    _projection = EinsumDenseLocalReparameterization


@registry.register("layers")
class GroupQueryAttentionFlipout(BaseGroupQueryAttention):
    """Grouped-query attention with signs of the kernels' noise per example.

    The positions of an example share their kernels; examples are uncorrelated.

    Call arguments:
        query: this and the other arguments are those of
            `MultiHeadAttentionReparameterization`.

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
