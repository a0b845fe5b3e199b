"""The result of a prediction, the same for every method."""

from tfpbnn.prediction.results.base import Predictive
from tfpbnn.prediction.results.classification import ClassificationPredictive
from tfpbnn.prediction.results.regression import RegressionPredictive

__all__ = ["ClassificationPredictive", "Predictive", "RegressionPredictive"]
