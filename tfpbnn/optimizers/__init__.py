"""Defines Keras optimizers that leave a posterior behind, one in each file.

To add a sampler by stochastic gradients: a subclass of
`sgmcmc.StochasticGradientMCMC` with the method `moved`, registered, and its
name below.
"""

from tfpbnn.optimizers import schedules
from tfpbnn.optimizers.psgld import PSGLD
from tfpbnn.optimizers.sghmc import SGHMC
from tfpbnn.optimizers.sgld import SGLD
from tfpbnn.optimizers.sgnht import SGNHT

__all__ = ["PSGLD", "SGHMC", "SGLD", "SGNHT", "schedules"]
