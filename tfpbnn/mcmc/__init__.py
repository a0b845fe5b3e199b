"""Markov chains over the weights of a Keras model.

`sample` runs them: `parameters` makes one vector of the random weights,
`log_density` its density, `kernels` move it, `adaptation` learns how far, and
`runner` runs many. A chain's draws are a `posteriors.ChainPosterior`. To add a
way to move: a kernel, one a file in `kernels`.
"""

from tfpbnn.mcmc.sample import sample
from tfpbnn.posteriors.chains import ChainPosterior

__all__ = ["ChainPosterior", "sample"]
