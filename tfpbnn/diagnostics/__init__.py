"""Examines trained posteriors, without data.

There are signal-to-noise ratios of weights. To add a diagnostic: a file with a
function of a model or of its layers. Scores against data are in
`tfpbnn.metrics`.
"""

from tfpbnn.diagnostics.signal_to_noise import signal_to_noise

__all__ = ["signal_to_noise"]
