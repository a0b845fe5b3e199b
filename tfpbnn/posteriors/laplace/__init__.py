"""Laplace approximations: a Normal around the weights of a trained network.

`fitting` has the one call. It chooses weights (`subsets`), reads data
(`batches`), and sums the curvature of the log-likelihood (`curvature`): that of
the likelihood in the outputs (`hessians`) between the slopes of the outputs in
the weights (`slopes`, by the operations in the graph, `uses`), by functions
that a model keeps for later fits (`kept`). What is left of it (`structures`)
becomes `blocks` of eigenvalues, of which the `evidence`, draws (`posterior`)
and Normals of outputs (`predictive`) are made; with a `prior`, whose precision
`training` may learn. To add a structure: an entry in `structures`; a
likelihood: one in `hessians`; an operation: one in `uses`.
"""

from tfpbnn.posteriors.laplace.fitting import laplace
from tfpbnn.posteriors.laplace.posterior import LaplacePosterior
from tfpbnn.posteriors.laplace.training import MarginalLikelihoodTraining

__all__ = ["LaplacePosterior", "MarginalLikelihoodTraining", "laplace"]
