"""Stacks `[S, B, ...]` of draws or members as rows `[S * B, ...]`, and back."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base.types import Tensor, Tree


def reshape(x: Tensor, shape: Any) -> Tensor:
    """`tf.reshape`, of sparse tensors too."""
    if isinstance(x, tf.SparseTensor):
        return tf.sparse.reshape(x, tf.cast(shape, tf.int64))
    return tf.reshape(x, shape)


def dense(x: Tensor) -> Tensor:
    """A sparse tensor with its zeros; any other as it is."""
    return tf.sparse.to_dense(x) if isinstance(x, tf.SparseTensor) else x


def map_tensors(function: Callable[..., Any], *structures: Tree) -> Tree:
    """Maps the tensors in structures of one form; None stays."""
    return keras.tree.map_structure(
        lambda *leaves: None if leaves[0] is None else function(*leaves),
        *structures,
    )


def flatten(x: Tensor) -> Tensor:
    """Joins the first two axes: `[S, B, ...]` becomes `[S * B, ...]`."""
    y = reshape(x, tf.concat([[-1], tf.shape(x)[2:]], 0))
    count, rows = x.shape[:2]
    size = None if None in (count, rows) else count * rows
    y.set_shape([size, *x.shape[2:]])
    return y


def unflatten(x: Tensor, count: int | Tensor) -> Tensor:
    """Splits the first axis: `[S * B, ...]` becomes `[S, B, ...]`.

    Args:
        x: rows, those of one draw or member after those of another.
        count: how many draws or members there are, S.
    """
    y = reshape(x, tf.concat([[count, -1], tf.shape(x)[1:]], 0))
    known, size = tf.get_static_value(count), x.shape[0]
    rows = None if None in (known, size) else size // known
    y.set_shape([known, rows, *x.shape[1:]])
    return y


def over_rows(function: Callable[[Tensor], Tree], x: Tensor) -> Tree:
    """Applies a function of rows to a stack.

    Args:
        function: takes `[S * B, ...]` and gives tensors of as many rows.
        x: `[S, B, ...]`.

    Returns:
        The function's results, each as a stack.
    """
    sizes = tf.shape(x)[:2]

    def stack(rows: Tensor) -> Tensor:
        # Not `unflatten`, to keep both sizes where they are known.
        y = tf.reshape(rows, tf.concat([sizes, tf.shape(rows)[1:]], 0))
        y.set_shape([*x.shape[:2], *rows.shape[1:]])
        return y

    return keras.tree.map_structure(stack, function(flatten(x)))


def repeated(x: Tensor, count: int | Tensor) -> Tensor:
    """`[B, ...]` once for each of `count` draws: `[S * B, ...]`."""
    x = dense(x)
    # Not `tf.tile`, which LiteRT's converter takes for a broadcast of rows.
    sizes = tf.concat([[count], tf.shape(x)], 0)
    return flatten(tf.broadcast_to(x, sizes))


def loop(function: Callable[[Any], Tree], numbers: range) -> Tree:
    """The results of a function for each number, stacked, `[S, ...]`.

    In a graph it is a loop in the graph.

    Args:
        function: takes a number, in a graph a tensor, and gives a structure of
            tensors of the same shapes for each; what is None is so for all.
        numbers: at least one.
    """
    if tf.executing_eagerly():
        return map_tensors(lambda *a: tf.stack(a), *map(function, numbers))
    # Traced once more, to know what it gives: a loop has to be told.
    traced = tf.function(function, autograph=False)
    like = traced.get_concrete_function(numbers[0]).structured_outputs
    kept = [leaf.dtype for leaf in keras.tree.flatten(like) if leaf is not None]

    def tensors(number: Any) -> list[Tensor]:
        leaves = keras.tree.flatten(function(number))
        return [leaf for leaf in leaves if leaf is not None]

    found = iter(
        tf.map_fn(
            tensors,
            tf.range(numbers.start, numbers.stop, numbers.step),
            parallel_iterations=2,
            fn_output_signature=kept,
        )
    )
    return map_tensors(lambda _: next(found), like)
