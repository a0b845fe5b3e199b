"""Variational layers."""

from tfpbnn.layers.dense import (
    DenseFlipout,
    DenseLocalReparameterization,
    DenseReparameterization,
)
from tfpbnn.layers.noise import HomoscedasticScale

__all__ = [
    "DenseFlipout",
    "DenseLocalReparameterization",
    "DenseReparameterization",
    "HomoscedasticScale",
]
