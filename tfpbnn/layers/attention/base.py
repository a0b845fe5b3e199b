"""Defines what variational attention layers share."""

import math
import string
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from tfpbnn import random
from tfpbnn.base import checks
from tfpbnn.base.types import Config, Shape, Tensor
from tfpbnn.layers.attention import masks
from tfpbnn.layers.linear.einsum_dense import BaseEinsumDense

# The arguments that each projection takes as they are.
_SHARED = (
    "kernel_initializer",
    "bias_initializer",
    "kernel_regularizer",
    "bias_regularizer",
    "activity_regularizer",
    "kernel_constraint",
    "bias_constraint",
    "kernel_posterior",
    "kernel_prior",
    "bias_posterior",
    "bias_prior",
    "kl_weight",
    "free_bits",
)
# Beside these, what all attention layers take.
_COMMON = (
    "dropout",
    "use_bias",
    "sliding_window",
    "flash_attention",
    "use_gate",
    "seed",
)
_RANDOM_PARTS = ("query", "key", "value", "gate", "attention_output", "dropout")


def shared_arguments(arguments: Mapping[str, Any]) -> Config:
    """Picks what `BaseAttention` takes from a constructor's `locals()`."""
    return {name: arguments[name] for name in (*_SHARED, *_COMMON)}


class BaseAttention(keras.layers.Layer):
    """Attention, `softmax(query @ key' / sqrt(key_dim)) @ value`, with heads.

    The projections to query, key, value and output (and gate) are variational
    einsum layers that draw independently; nothing else has weights. In
    multi-head attention each head has its own keys and values, in
    grouped-query attention several heads share them.

    Input shape:
        `(batch, targets, features)` for the query, `(batch, sources,
        other_features)` for value and key. Instead of one axis of targets
        there may be several, in all three: those in `attention_axes` are
        attended over, the others are like the batch.

    Output shape:
        `(batch, targets, features)`, or `output_shape` in place of `features`.
        With `return_attention_scores` also `(batch, heads, targets, sources)`.
    """

    _projection: ClassVar[type[BaseEinsumDense]]

    def __init__(
        self,
        heads: int,
        key_value_heads: int,
        key_dim: int,
        value_dim: int,
        output_shape: int | Sequence[int] | None = None,
        attention_axes: int | Sequence[int] | None = None,
        *,
        dropout: float,
        use_bias: bool,
        sliding_window: int | None,
        flash_attention: bool | None,
        use_gate: bool,
        seed: int | None,
        **kwargs: Any,
    ):
        if flash_attention:
            raise ValueError(
                "`flash_attention` must be None or False, since TensorFlow "
                f"has none. Received: flash_attention={flash_attention!r}"
            )
        shared = {name: kwargs.pop(name) for name in _SHARED}
        super().__init__(**kwargs)
        self.supports_masking = True
        self.attention_axes = _as_axes(attention_axes)
        self.sliding_window = sliding_window
        if sliding_window is not None:
            checks.positive_integer("sliding_window", sliding_window)
        self.use_bias = bool(use_bias)
        self.use_gate = bool(use_gate)
        self.seed = checks.seed(seed)
        self._output_sizes = _as_sizes(output_shape)
        self._repeats = heads // key_value_heads
        self._scale = 1 / math.sqrt(key_dim)
        seeds = _seeds(seed)

        def project(
            name: str, inputs: str, *sizes: int | None, **kwargs: Any
        ) -> BaseEinsumDense:
            """Makes a projection of the last axes to axes of these sizes."""
            outputs = string.ascii_lowercase[: len(sizes)]
            layer = type(self)._projection(
                f"...{inputs},{inputs}{outputs}->...{outputs}",
                sizes,
                bias_axes=outputs if self.use_bias else None,
                name=name,
                dtype=self.dtype_policy,
                seed=seeds[name],
                **shared,
                **kwargs,
            )
            layer.supports_masking = True  # it treats each position alike
            return layer

        # Here and not in `build`, so that callbacks find the KL weights.
        with keras.name_scope(self.name):
            self.query_dense = project("query", "x", heads, key_dim)
            self.key_dense = project("key", "x", key_value_heads, key_dim)
            self.value_dense = project("value", "x", key_value_heads, value_dim)
            if use_gate:
                self.gate_dense = project(
                    "gate", "x", heads, value_dim, activation="sigmoid"
                )
            self.output_dense = project(
                "attention_output", "xy", *(self._output_sizes or (None,))
            )
        self.dropout_layer = keras.layers.Dropout(
            dropout, seed=seeds["dropout"], dtype=self.dtype_policy
        )

    def build(
        self,
        query_shape: Shape,
        value_shape: Shape,
        key_shape: Shape | None = None,
    ) -> None:
        key_shape = value_shape if key_shape is None else key_shape
        rank = len(query_shape)
        self._axes = _attended(self.attention_axes, rank)
        self._check_shapes(query_shape, value_shape, key_shape)
        self._to_scores, self._to_outputs = _equations(rank, self._axes)
        self.softmax = keras.layers.Softmax(
            axis=tuple(range(-len(self._axes), 0)), dtype=self.dtype_policy
        )
        self.query_dense.build(query_shape)
        self.key_dense.build(key_shape)
        self.value_dense.build(value_shape)
        if self.use_gate:
            self.gate_dense.build(query_shape)
        if self._output_sizes is None:
            # What the layer returns was not known when it was made.
            self.output_dense.partial_output_shape = (query_shape[-1],)
        heads = self.query_dense.partial_output_shape[0]
        value_dim = self.value_dense.partial_output_shape[1]
        self.output_dense.build((*query_shape[:-1], heads, value_dim))

    def _check_shapes(self, query: Shape, value: Shape, key: Shape) -> None:
        shared = [i for i in range(1, len(query) - 1) if i not in self._axes]
        fits = (
            len(query) == len(value)
            and checks.agree(key[1:-1], value[1:-1])
            and checks.agree(
                [query[i] for i in shared], [value[i] for i in shared]
            )
        )
        if not fits:
            raise ValueError(
                "`query`, `value` and `key` must have one rank; `key` and "
                "`value` must have equal axes between the batch and the "
                f"features, and `query` too except for {self._axes}, which "
                f"are attended over. Received: shapes {tuple(query)}, "
                f"{tuple(value)}, {tuple(key)}"
            )

    def call(
        self,
        query: Tensor,
        value: Tensor,
        key: Tensor | None = None,
        query_mask: Tensor | None = None,
        value_mask: Tensor | None = None,
        key_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
    ) -> Any:
        key = value if key is None else key
        queries = self.query_dense(query, training=training)
        keys = self._for_all_heads(self.key_dense(key, training=training))
        values = self._for_all_heads(self.value_dense(value, training=training))
        logits = ops.einsum(self._to_scores, queries * self._scale, keys)
        mask = masks.merge(
            logits,
            self._axes,
            {
                "query_mask": (query_mask, query),
                "value_mask": (value_mask, value),
                "key_mask": (key_mask, key),
            },
            attention_mask,
            use_causal_mask,
            self.sliding_window,
        )
        scores = self.softmax(logits, mask=mask)
        kept = self.dropout_layer(scores, training=training)
        outputs = ops.einsum(self._to_outputs, kept, values)
        if self.use_gate:
            outputs *= self.gate_dense(query, training=training)
        outputs = self.output_dense(outputs, training=training)
        return (outputs, scores) if return_attention_scores else outputs

    def _for_all_heads(self, projected: Tensor) -> Tensor:
        if self._repeats == 1:
            return projected
        return ops.repeat(projected, self._repeats, axis=-2)

    def compute_output_shape(
        self,
        query_shape: Shape,
        value_shape: Shape,
        key_shape: Shape | None = None,
    ) -> tuple[int | None, ...]:
        sizes = self._output_sizes or (query_shape[-1],)
        return (*query_shape[:-1], *sizes)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Traces the call, since with the scores there are two outputs."""
        return keras.Operation.compute_output_spec(self, *args, **kwargs)

    def get_config(self) -> Config:
        projection = self.query_dense.get_config()
        return super().get_config() | {
            **{name: projection[name] for name in _SHARED},
            "dropout": self.dropout_layer.rate,
            "use_bias": self.use_bias,
            "sliding_window": self.sliding_window,
            "use_gate": self.use_gate,
            "seed": self.seed,
        }


def _seeds(seed: int | None) -> dict[str, int | None]:
    """Derives a seed for each part, unlike those of another seed."""
    if seed is None:
        return dict.fromkeys(_RANDOM_PARTS)
    uniforms = random.uniforms(seed % 2**64, len(_RANDOM_PARTS))
    return {
        part: int(uniform * 2**31)
        for part, uniform in zip(_RANDOM_PARTS, uniforms, strict=True)
    }


def _as_axes(axes: int | Sequence[int] | None) -> tuple[int, ...] | None:
    if axes is None:
        return None
    found = (axes,) if isinstance(axes, int) else tuple(axes)
    if not found or not all(isinstance(axis, int) for axis in found):
        raise ValueError(
            "`attention_axes` must be None, an integer or several. Received: "
            f"attention_axes={axes!r}"
        )
    return found


def _as_sizes(output_shape: Any) -> tuple[int, ...] | None:
    if output_shape is None:
        return None
    is_many = isinstance(output_shape, Sequence) and len(output_shape) > 0
    rank = len(output_shape) if is_many else 1
    return checks.integers("output_shape", output_shape, rank)


def _attended(axes: tuple[int, ...] | None, rank: int) -> tuple[int, ...]:
    """Finds the attended axes of inputs of `rank`, counted from the front."""
    between = range(1, rank - 1)
    found = tuple(
        axis + rank if axis < 0 else axis
        for axis in (between if axes is None else axes)
    )
    if not found or set(found) - set(between) or len(set(found)) < len(found):
        raise ValueError(
            "`attention_axes` must be different axes between the batch and "
            f"the features. Received: attention_axes={axes} for inputs of "
            f"rank {rank}"
        )
    return found


def _equations(rank: int, axes: tuple[int, ...]) -> tuple[str, str]:
    """Makes the equations of the scores, and of the outputs from these.

    Upper case letters are the keys' positions. The axis of heads comes after
    the axes of the inputs without features, and is like the batch.
    """
    queries = string.ascii_lowercase[: rank + 1]
    keys = "".join(
        letter.upper() if i in axes else letter
        for i, letter in enumerate(queries)
    )
    scores = "".join(queries[i] for i in range(rank) if i not in axes)
    scores += "".join(queries[i] for i in axes)
    scores += "".join(keys[i] for i in axes)
    return f"{queries},{keys}->{scores}", f"{scores},{keys}->{queries}"
