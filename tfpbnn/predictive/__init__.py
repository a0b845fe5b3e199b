"""The result of a prediction, the same for every method."""

from tfpbnn.predictive.base import Predictive
from tfpbnn.predictive.classification import ClassificationPredictive
from tfpbnn.predictive.regression import RegressionPredictive

__all__ = ["ClassificationPredictive", "Predictive", "RegressionPredictive"]
