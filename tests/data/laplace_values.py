"""Weights and data that both programs can make: see make_laplace.py."""

import numpy as np


def values(kind):
    """Weights and data that both programs can make."""
    rng = np.random.default_rng(7)
    outputs = 3 if kind == "classification" else 2
    weights = [
        rng.normal(size=(4, 6)) / 2,
        rng.normal(size=6) / 2,
        rng.normal(size=(6, outputs)) / 2,
        rng.normal(size=outputs) / 2,
    ]
    x = rng.normal(size=(20, 4))
    if kind == "classification":
        return weights, x, rng.integers(0, outputs, 20)
    return weights, x, rng.normal(size=(20, outputs))
