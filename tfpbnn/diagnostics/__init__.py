"""Examines trained posteriors: where they learned, and how sure numbers are.

Where the KL is (`kl`), what stayed at the prior (`collapse`), the terms of the
bound (`bound`), signal-to-noise ratios of weights, whether there are enough
draws (`monte_carlo`), how far the exact posterior is (`pareto`), and whether
chains agree (`convergence`). To add a diagnostic: a file with a function of a
model, a prediction or a history, and its name below. Scores against data are in
`tfpbnn.metrics`.
"""

from tfpbnn.diagnostics.bound import elbo
from tfpbnn.diagnostics.collapse import Collapse, collapse
from tfpbnn.diagnostics.kl import kl_by_layer, kl_by_unit
from tfpbnn.diagnostics.monte_carlo import draws_needed, monte_carlo_error
from tfpbnn.diagnostics.pareto import ParetoK, pareto_k
from tfpbnn.diagnostics.signal_to_noise import signal_to_noise

__all__ = [
    "Collapse",
    "ParetoK",
    "collapse",
    "draws_needed",
    "elbo",
    "kl_by_layer",
    "kl_by_unit",
    "monte_carlo_error",
    "pareto_k",
    "signal_to_noise",
]
