"""Keras optimizers that leave a posterior of the weights behind.

They train a network like any optimizer of Keras's, by `compile(optimizer=...)`,
and know the number of examples, by which likelihood and prior are weighed. To
add one: a file with a registered `keras.optimizers.Optimizer`, and its name
below. One that needs the number of examples has a method `set_examples`; one
that needs gradients at draws of the weights has a method `gradients`; `fit` of
this package's models calls both.
"""

from tfpbnn.optimizers.ivon import IVON
from tfpbnn.posteriors.diagonal_normal import DiagonalNormalPosterior

__all__ = ["IVON", "DiagonalNormalPosterior"]
