"""From a posterior and data to a predictive distribution.

`predict` goes over data in pieces that fit the memory and collects draws;
`results` holds what it gives. To add what a prediction can tell: a method of
the classes there, made of a function of `tfpbnn.metrics` where it is a score.
"""

from tfpbnn.prediction.predict import evaluate, predict
from tfpbnn.prediction.results import (
    ClassificationPredictive,
    Predictive,
    RegressionPredictive,
)

__all__ = [
    "ClassificationPredictive",
    "Predictive",
    "RegressionPredictive",
    "evaluate",
    "predict",
]
