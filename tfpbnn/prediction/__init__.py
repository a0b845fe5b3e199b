"""Turns a posterior and data into a predictive distribution.

`predict` goes over data in pieces that fit the memory and collects draws;
`results` has the classes of its results. To add what a prediction can tell: a
method of these classes, which calls a function of `tfpbnn.metrics` if it is a
score.
"""

from tfpbnn.prediction.predict import evaluate, predict
from tfpbnn.prediction.results import (
    ClassificationPredictive,
    Predictive,
    RegressionPredictive,
)
from tfpbnn.prediction.streams import predict_dataset

__all__ = [
    "ClassificationPredictive",
    "Predictive",
    "RegressionPredictive",
    "evaluate",
    "predict",
    "predict_dataset",
]
