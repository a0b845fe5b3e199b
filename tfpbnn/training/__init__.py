"""Adds to Keras's `fit` what `tfpbnn.Model` and `tfpbnn.Sequential` need.

This is the KL's weight by the length of the data, checks of the data, several
steps in a call, and the optimizer's step in one pass. To add what happens in a
step: a method of `fitting.WeightedFit`.
"""

from tfpbnn.training.models import Model, Sequential

__all__ = ["Model", "Sequential"]
