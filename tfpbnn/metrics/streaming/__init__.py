"""Scores that Keras computes batch by batch, in `fit` and `evaluate`.

They are `keras.metrics.Metric`s for `compile`, of a model's outputs as they
come: of one draw of the weights in a batch. (The scores of the average over
draws are those of `tfpbnn.evaluate`, or of `tfpbnn.metrics` and a prediction.)
Their state is sums, so replicas add up. To add one: a class with `sums`, which
says what is added up, and `finish`, which makes the score of it; its name in
tests/saved/names.txt; and a test that it equals the score of all rows at once.
"""

from tfpbnn.metrics.streaming.base import Streaming
from tfpbnn.metrics.streaming.classes import ECE, NLL, Accuracy, Brier
from tfpbnn.metrics.streaming.numbers import (
    CRPS,
    RMSE,
    Coverage,
    IntervalScore,
)

__all__ = [
    "CRPS",
    "ECE",
    "NLL",
    "RMSE",
    "Accuracy",
    "Brier",
    "Coverage",
    "IntervalScore",
    "Streaming",
]
