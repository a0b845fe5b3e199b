"""Diagnostics of a trained posterior, without data.

To add one: a function of a model in a file of its own, and its name below.
"""

from tfpbnn.diagnostics.signal_to_noise import signal_to_noise

__all__ = ["signal_to_noise"]
