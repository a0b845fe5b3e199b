"""Regresses by randomized trees that are kept as plain arrays."""

from typing import Any

import numpy as np

from tfpbnn.base.types import Array
from tfpbnn.ood.nearest import sklearn

# What is kept of trees: of each node the feature and the threshold that it asks
# for, its children (-1 at leaves), its mean; and the root of each tree.
NAMES = ("feature", "threshold", "left", "right", "value", "roots")


def fit(x: Array, y: Array, count: int, seed: int) -> dict[str, Array]:
    """Fits extremely randomized trees of scikit-learn's.

    Args:
        x: the inputs `[N, P]`.
        y: the numbers to predict `[N]`.
        count: the number of trees.
        seed: an integer.

    Returns:
        The arrays of `NAMES`.
    """
    forest = sklearn("ensemble").ExtraTreesRegressor(
        count, min_samples_leaf=min(5, len(y)), random_state=seed
    )
    trees = [made.tree_ for made in forest.fit(x, y).estimators_]
    sizes = [tree.node_count for tree in trees]
    roots = np.cumsum([0, *sizes[:-1]])

    def joined(values: Any) -> Array:
        return np.concatenate([values(tree) for tree in trees])

    def children(values: Any) -> Array:
        parts = [
            np.where(values(tree) < 0, -1, values(tree) + root)
            for tree, root in zip(trees, roots, strict=True)
        ]
        return np.concatenate(parts)

    return {
        "feature": joined(lambda tree: tree.feature),
        "threshold": joined(lambda tree: tree.threshold),
        "left": children(lambda tree: tree.children_left),
        "right": children(lambda tree: tree.children_right),
        "value": joined(lambda tree: tree.value[:, 0, 0]),
        "roots": roots,
    }


def predict(trees: dict[str, Array], x: Array) -> Array:
    """Averages the trees' predictions of inputs `[N, P]`: `[N]`."""
    x = x.astype("float32")  # as scikit-learn does
    nodes = np.repeat(trees["roots"][np.newaxis], len(x), axis=0)
    rows = np.arange(len(x))[:, np.newaxis]
    while True:
        inner = trees["left"][nodes] >= 0
        if not inner.any():
            return trees["value"][nodes].mean(axis=1)
        asked = np.where(inner, trees["feature"][nodes], 0)
        below = x[rows, asked] <= trees["threshold"][nodes]
        child = np.where(below, trees["left"][nodes], trees["right"][nodes])
        nodes = np.where(inner, child, nodes)
