"""Defines how much of a curvature is kept: its diagonal, factors, or all.

To add one: a subclass of `Structure`, and its name in `STRUCTURES`.
"""

import abc
import dataclasses
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base.cores import num_cores
from tfpbnn.base.types import Array, Tensor
from tfpbnn.posteriors.laplace import blocks
from tfpbnn.posteriors.laplace.blocks import Block
from tfpbnn.posteriors.laplace.weight_slopes import WeightSlopes, outer_products
from tfpbnn.prediction.pieces import free_memory

# A dense block of larger weights takes minutes to decompose.
_LARGEST = 8192
# Passes that find eigenvectors end where eigenvalues change by less.
_PASSES, _CHANGE = 10, 1e-3
_MORE = 10


@dataclasses.dataclass(frozen=True)
class BatchSlopes:
    """What the rows of a batch say of the curvature, in a graph.

    Attributes:
        weights: the slopes in each weight of the combinations of outputs whose
            squares are summed.
        rows: weights of the rows, `[B]`.
        places: weights of the places of outputs, `[B, ...]`; None if there are
            several outputs.
    """

    weights: list[WeightSlopes]
    rows: Tensor
    places: Tensor | None

    def jacobian(self) -> Tensor:
        """The slopes in all weights, `[C, B, D]`."""
        return tf.concat([w.jacobian() for w in self.weights], axis=-1)


class Total(Protocol):
    """Sums a function over all batches, as NumPy arrays in float64.

    Each call is a pass over the data. The function takes a `BatchSlopes` and
    tensors of the state, and returns a structure of tensors.
    """

    def __call__(self, sums: Callable[..., Any], *state: Array) -> Any: ...


class Structure(abc.ABC):
    """A part of the curvature that is summed over batches."""

    def check(  # noqa: B027
        self, variables: Sequence[keras.Variable], by_row: frozenset[int]
    ) -> None:
        """Raises if there is not enough memory; not if little is needed."""

    @abc.abstractmethod
    def fit(self, total: Total, size: int) -> list[Block]:
        """Makes the blocks.

        Args:
            total: makes a pass over the data.
            size: the number D of elements of all weights.
        """


class Diagonal(Structure):
    """Each weight by itself."""

    def fit(self, total: Total, size: int) -> list[Block]:
        found = total(self.squares)
        return [blocks.diagonal((i,), one) for i, one in enumerate(found)]

    def squares(self, slopes: BatchSlopes) -> list[Tensor]:
        return [weight.squares() for weight in slopes.weights]


class Full(Structure):
    """All weights with all."""

    def check(
        self, variables: Sequence[keras.Variable], by_row: frozenset[int]
    ) -> None:
        size = num_elements(variables)
        others = "'kron', 'low_rank' or 'diag'"
        _check_memory(5 * size**2, f"'full' over {size} weights", others)

    def fit(self, total: Total, size: int) -> list[Block]:
        return [blocks.dense((), total(self.products))]

    def products(self, slopes: BatchSlopes) -> Tensor:
        return outer_products(slopes.jacobian())


class Kronecker(Structure):
    """A product of two small matrices for each kernel.

    What is no kernel, such as a bias, has all of its own curvature.
    """

    def check(
        self, variables: Sequence[keras.Variable], by_row: frozenset[int]
    ) -> None:
        for index in sorted(by_row):
            size = num_elements([variables[index]])
            if size > _LARGEST:
                raise ValueError(
                    "`structure` must fit the weights: how "
                    f"{variables[index].path} is applied is no product with "
                    f"the rows, so that 'kron' needs all {size} x {size} "
                    "elements of its curvature. Received: structure='kron'. "
                    "Use 'diag', or leave this weight out of `subset`"
                )

    def fit(self, total: Total, size: int) -> list[Block]:
        parts = total(self.factors)
        # Each decomposition keeps one core busy.
        with futures.ThreadPoolExecutor(num_cores()) as pool:
            return list(pool.map(_kronecker, range(len(parts)), parts))

    def factors(self, slopes: BatchSlopes) -> list[dict[str, Tensor]]:
        needed = sum(_elements(weight) for weight in slopes.weights)
        _check_memory(5 * needed, "'kron'", "'low_rank' or 'diag'")
        return [
            weight.factors(slopes.rows, slopes.places)
            if weight.is_product
            else {"all": outer_products(weight.jacobian())}
            for weight in slopes.weights
        ]


def _kronecker(index: int, sums: dict[str, Array]) -> Block:
    if "all" in sums:
        return blocks.dense((index,), sums["all"])
    outer = sums["outer"] / np.maximum(sums["count"], 1e-30)
    return blocks.product((index,), sums["inner"], outer)


@dataclasses.dataclass(frozen=True)
class LowRank(Structure):
    """The largest eigenvalues of the whole, and zero for the rest.

    Attributes:
        rank: how many.
    """

    rank: int

    def check(
        self, variables: Sequence[keras.Variable], by_row: frozenset[int]
    ) -> None:
        size = num_elements(variables)
        kept = f"'low_rank' of {self.rank} over {size} weights"
        others = "a smaller `rank`, 'kron' or 'diag'"
        _check_memory(5 * size * (self.rank + _MORE), kept, others)

    def fit(self, total: Total, size: int) -> list[Block]:
        """Finds eigenvectors by products of the curvature with a subspace."""
        rank = min(self.rank, size)
        more = min(self.rank + _MORE, size)
        draws = np.random.default_rng(0).normal(size=(size, more))
        vectors = np.linalg.qr(draws)[0]
        values = np.full(more, np.inf)
        for _ in range(_PASSES):
            before = values[:rank]
            values, vectors = _nystrom(vectors, total(self.images, vectors))
            change = np.abs(values[:rank] - before).sum()
            if change <= _CHANGE * values[:rank].sum():
                break
        return [blocks.partial((), values[:rank], vectors[:, :rank])]

    def images(self, slopes: BatchSlopes, vectors: Tensor) -> Tensor:
        """The curvature times vectors `[D, K]`."""
        sizes = [w.num_elements for w in slopes.weights]
        parts = tf.split(vectors, sizes)
        pairs = list(zip(slopes.weights, parts, strict=True))
        along = tf.add_n([weight.along(part) for weight, part in pairs])
        return tf.concat([weight.back(along) for weight, _ in pairs], axis=0)


def _nystrom(vectors: Array, images: Array) -> tuple[Array, Array]:
    """The eigenpairs of the largest matrix below H that agrees on a subspace.

    That is H V (V^T H V)^+ V^T H, which is exact if the rank of H is at most
    that of V.

    Args:
        vectors: V `[D, K]`, orthonormal.
        images: H V `[D, K]`.

    Reference:
        [Tropp et al., 2017](https://arxiv.org/abs/1706.05736)
    """
    inner = vectors.T @ images
    values, turned = np.linalg.eigh((inner + inner.T) / 2)
    kept = values > 1e-6 * max(values[-1], 0)
    roots = np.zeros_like(values)
    roots[kept] = 1 / np.sqrt(values[kept])
    left, singular, _ = np.linalg.svd(
        images @ turned * roots, full_matrices=False
    )
    return singular**2, left


@dataclasses.dataclass(frozen=True)
class SubNetwork(Structure):
    """All of the curvature of the single weights of largest variances.

    These are known by a diagonal. The others stay as they are, as do weights
    that no row's output depends on, such as those of a pixel that is always 0:
    their variance is the prior's, and says nothing.

    Attributes:
        rank: how many.
    """

    rank: int

    def check(
        self, variables: Sequence[keras.Variable], by_row: frozenset[int]
    ) -> None:
        kept = f"'subnetwork' of {self.rank} weights"
        others = "a smaller `rank`, 'low_rank' or 'diag'"
        _check_memory(5 * self.rank**2, kept, others)

    def fit(self, total: Total, size: int) -> list[Block]:
        squares = np.concatenate(total(Diagonal().squares))
        curved = np.where(squares > 0, squares, np.inf)
        order = np.argsort(curved, kind="stable")
        elements = np.sort(order[: self.rank])
        found = total(self.products, elements)
        return [blocks.dense((), found, elements)]

    def products(self, slopes: BatchSlopes, elements: Tensor) -> Tensor:
        chosen = tf.gather(slopes.jacobian(), elements, axis=-1)
        return outer_products(chosen)


def num_elements(variables: Sequence[keras.Variable]) -> int:
    """The number of elements of variables."""
    return sum(v.value.shape.num_elements() for v in variables)


def _elements(weight: WeightSlopes) -> int:
    """The number of elements that 'kron' keeps of a weight."""
    if not weight.is_product:
        return weight.num_elements**2
    assert weight.uses is not None
    use = weight.uses[0]
    inner, outer = use.sizes
    return outer**2 + (inner if use.ids is not None else inner**2)


def _check_memory(numbers: int, kept: str, others: str) -> None:
    needed, free = 8 * numbers, free_memory()
    if needed > free:
        raise ValueError(
            f"`structure` must fit the memory: {kept} needs "
            f"{needed / 2**30:.1f} GiB, of which {free / 2**30:.1f} are free. "
            f"Use {others}, or a smaller `subset`. Received: structure="
            f"{kept.split()[0]}"
        )


STRUCTURES: dict[str, Callable[[int], Structure]] = {
    "diag": lambda _: Diagonal(),
    "full": lambda _: Full(),
    "kron": lambda _: Kronecker(),
    "low_rank": LowRank,
    "subnetwork": SubNetwork,
}
# What `rank` is by default, where there is one.
RANKS = {"low_rank": 20, "subnetwork": 500}
