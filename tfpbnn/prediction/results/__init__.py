"""Defines the result of a prediction, the same for every method.

`base` has what all results share, `regression` and `classification` have what
only some can tell, `mixture` has the mathematics of a mixture of likelihoods.
To add what a prediction tells: a method of the class that can tell it.
"""

from tfpbnn.prediction.results.base import Predictive
from tfpbnn.prediction.results.classification import ClassificationPredictive
from tfpbnn.prediction.results.regression import RegressionPredictive

__all__ = ["ClassificationPredictive", "Predictive", "RegressionPredictive"]
