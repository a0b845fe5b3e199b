"""Finds which keys each query of an attention layer may attend to.

Scores are `[batch, *others, heads, *targets, *sources]`. Targets and sources
are the axes of the inputs that are attended over.
"""

from collections.abc import Iterator

from keras import ops

from tfpbnn.base.checks import broadcasts
from tfpbnn.base.types import Tensor


def merge(
    scores: Tensor,
    axes: tuple[int, ...],
    positions: dict[str, tuple[Tensor | None, Tensor]],
    attention_mask: Tensor | None,
    use_causal_mask: bool,
    sliding_window: int | None,
) -> Tensor | None:
    """Merges all masks into one, with the rank of the scores; None for all.

    Args:
        scores: the scores, whose shape is read.
        axes: the axes of the inputs that are attended over.
        positions: a mask of positions and the input that it is for, by the
            name of the argument.
        attention_mask: a mask that broadcasts to the scores; the axes of the
            batch, other axes and heads may be left out.
        use_causal_mask: whether to forbid keys after the query.
        sliding_window: the distance from which on keys are forbidden; None
            for no limit.

    Raises:
        ValueError: if the shape of a mask does not fit, or a mask by distance
            is asked for with several axes.
    """
    merged = None
    for mask in (
        *_distances(scores, axes, use_causal_mask, sliding_window),
        *_positions(positions, axes),
        *_pairs(attention_mask, scores, axes),
    ):
        merged = mask if merged is None else ops.logical_and(merged, mask)
    return merged


def _positions(
    masks: dict[str, tuple[Tensor | None, Tensor]], axes: tuple[int, ...]
) -> Iterator[Tensor]:
    for argument, (mask, inputs) in masks.items():
        if mask is None:
            continue
        mask, shape = ops.cast(mask, "bool"), inputs.shape[:-1]
        if not broadcasts(mask.shape, shape):
            raise ValueError(
                f"`{argument}` must have the shape of the inputs without the "
                f"features, {tuple(shape)}. Received: shape "
                f"{tuple(mask.shape)}"
            )
        others = [axis for axis in range(len(shape)) if axis not in axes]
        mask = ops.transpose(mask, [*others, *axes])
        own, rest = (slice(None),) * len(axes), (None,) * len(axes)
        last = own + rest if argument == "query_mask" else rest + own
        index = (..., None, *last)
        yield mask[index]


def _pairs(
    mask: Tensor | None, scores: Tensor, axes: tuple[int, ...]
) -> Iterator[Tensor]:
    """Gives the user's mask an axis of size 1 for each one that it lacks."""
    if mask is None:
        return
    mask = ops.cast(mask, "bool")
    last = (slice(None),) * (2 * len(axes))
    missing = (None,) * (len(scores.shape) - len(mask.shape))
    if len(mask.shape) >= len(last):
        index = (..., *missing, *last)
        placed = mask[index]
        if broadcasts(placed.shape, scores.shape):
            yield placed
            return
    raise ValueError(
        "`attention_mask` must broadcast to the scores' shape, (batch, heads, "
        f"targets, sources) = {tuple(scores.shape)}, or without heads. "
        f"Received: shape {tuple(mask.shape)}"
    )


def _distances(
    scores: Tensor,
    axes: tuple[int, ...],
    use_causal_mask: bool,
    sliding_window: int | None,
) -> Iterator[Tensor]:
    """Makes masks by how many positions a key is before the query."""
    if not use_causal_mask and sliding_window is None:
        return
    if len(axes) > 1:
        raise ValueError(
            "`use_causal_mask` and `sliding_window` need one attended axis. "
            f"Received: inputs that are attended over axes {axes}; give "
            "`attention_axes`"
        )
    targets, sources = ops.shape(scores)[-2:]
    before = ops.arange(targets)[:, None] - ops.arange(sources)
    if use_causal_mask:
        yield before >= 0
    if sliding_window is not None:
        yield ops.abs(before) < sliding_window
