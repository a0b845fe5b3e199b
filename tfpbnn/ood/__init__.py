"""Scores how far inputs are from those of training, by features of a network.

Scores that a prediction has of itself, such as its entropy, are in
`tfpbnn.metrics.uncertainty`. Those here have seen the training data: `features`
reads a layer's outputs of any posterior, `mahalanobis` and `nearest` are
distances of these, `deup` learns errors. Higher is farther. To add one: a file
with a subclass of `base.FeatureScore`, and its name below and in `files`.
"""

from tfpbnn.ood.base import FeatureScore
from tfpbnn.ood.deup import DEUP
from tfpbnn.ood.files import load
from tfpbnn.ood.mahalanobis import Mahalanobis
from tfpbnn.ood.nearest import NearestNeighbors

__all__ = ["DEUP", "FeatureScore", "Mahalanobis", "NearestNeighbors", "load"]
