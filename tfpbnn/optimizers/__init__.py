"""Defines Keras optimizers that leave a posterior behind, one in each file.

They train a network like any optimizer of Keras's, by `compile(optimizer=...)`,
and know the number of examples, by which likelihood and prior are weighed. To
add one: a file with a registered `keras.optimizers.Optimizer`, and its name
below. A sampler by stochastic gradients is a subclass of
`sgmcmc.StochasticGradientMCMC` with the method `moved`. An optimizer that needs
the number of examples has a method `weigh`, and one that needs gradients at
draws of the weights a method `gradients`; `fit` of this package's models calls
both.
"""

from tfpbnn.optimizers import schedules
from tfpbnn.optimizers.ivon import IVON
from tfpbnn.optimizers.psgld import PSGLD
from tfpbnn.optimizers.sghmc import SGHMC
from tfpbnn.optimizers.sgld import SGLD
from tfpbnn.optimizers.sgnht import SGNHT
from tfpbnn.posteriors.diagonal_normal import DiagonalNormalPosterior

__all__ = [
    "IVON",
    "PSGLD",
    "SGHMC",
    "SGLD",
    "SGNHT",
    "DiagonalNormalPosterior",
    "schedules",
]
