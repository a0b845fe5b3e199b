"""The results of predictions, the same for every method.

Draws of a model's outputs, or averages over them, with what they tell of the
targets. To add a summary or score: a method of the class for its kind of
targets; what is a function of arrays goes to `tfpbnn.metrics`.
"""

from tfpbnn.prediction.results.base import Predictive
from tfpbnn.prediction.results.classification import ClassificationPredictive
from tfpbnn.prediction.results.regression import RegressionPredictive

__all__ = ["ClassificationPredictive", "Predictive", "RegressionPredictive"]
