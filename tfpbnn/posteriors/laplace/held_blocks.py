"""Keeps a block of a curvature in variables, which are saved with a model."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base.types import Array
from tfpbnn.posteriors.laplace.blocks import Block


class Form(NamedTuple):
    """The shapes of a block, as JSON keeps them.

    Attributes:
        weights: the random weights in it.
        shape: that of its eigenvalues.
        bases: for each axis the shape of its eigenvectors, or None.
        num_elements: the number of single weights that it is over; None for
            all of the weights.
    """

    weights: Sequence[int]
    shape: Sequence[int]
    bases: Sequence[Sequence[int] | None]
    num_elements: int | None = None


def form_of(block: Block, num_weights: int) -> Form:
    """Finds the form of a block, of so many weights if it is over all."""
    return Form(
        list(block.weights or range(num_weights)),
        list(np.shape(block.eigenvalues)),
        [None if b is None else list(np.shape(b)) for b in block.bases],
        None if block.elements is None else len(block.elements),
    )


class HeldBlock:
    """The variables of one block.

    Args:
        form: of the block.
        weights: all random weights.
        add: makes a variable, as `add_weight`.
        name: a part of the variables' names.
    """

    def __init__(
        self,
        form: Form,
        weights: Sequence[keras.Variable],
        add: Callable[..., keras.Variable],
        name: str,
    ):
        self.form = form
        sizes = [math.prod(weights[i].shape) for i in form.weights]
        self.sizes, self.size = sizes, sum(sizes)
        wide = "float64" if weights[0].dtype == "float64" else "float32"

        def variable(kind: str, shape: Any, dtype: str) -> Any:
            if shape is None:
                return None
            return add(
                name=f"{kind}_{name}", shape=tuple(shape), dtype=dtype,
                initializer="zeros", trainable=False, autocast=False,
            )  # fmt: skip

        self._values = variable("eigenvalues", form.shape, wide)
        self._bases = [
            variable(f"eigenvectors_{axis}", shape, wide)
            for axis, shape in enumerate(form.bases)
        ]
        count = form.num_elements
        elements = None if count is None else (count,)
        self._elements = variable("elements", elements, "int32")

    def assign(self, block: Block) -> None:
        """Keeps a block of this form."""
        self._values.assign(block.eigenvalues)
        given = [*block.bases, block.elements]
        for variable, value in zip(
            [*self._bases, self._elements], given, strict=True
        ):
            if variable is not None:
                variable.assign(value)

    def block(self, precisions: Any) -> Block:
        """The block, in tensors.

        Args:
            precisions: the prior's, of all random weights `[W]`.
        """
        return Block(
            tuple(self.form.weights),
            self._values.value,
            tuple(None if v is None else v.value for v in self._bases),
            None if self._elements is None else self._elements.value,
            self._ratios(precisions),
        )

    def weighed(self, precisions: Array, new: Array) -> Block:
        """The block for another prior, in NumPy."""
        own = self.block(precisions)
        block = Block(
            own.weights,
            np.asarray(own.eigenvalues, "float64"),
            tuple(map(_in_numpy, own.bases)),
            _in_numpy(own.elements),
            own.ratios,
        )
        ratios = self._ratios(new)
        if ratios is None or np.array_equal(ratios, block.ratios):
            return block
        return block.weighed(ratios)

    def reweigh(self, precisions: Array, new: Array) -> None:
        """Keeps the block for another prior; mostly it is the same."""
        if len(self.form.weights) > 1:
            self.assign(self.weighed(precisions, new))

    def _ratios(self, precisions: Any) -> Any:
        """Of the precisions of elements to the first's; None in one weight."""
        weights = self.form.weights
        if len(weights) == 1:
            return None
        own = [precisions[i] / precisions[weights[0]] for i in weights]
        is_array = isinstance(precisions, np.ndarray)
        return (np.repeat if is_array else tf.repeat)(own, self.sizes)


def _in_numpy(tensor: Any) -> Any:
    return None if tensor is None else np.asarray(tensor)
