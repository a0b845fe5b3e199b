"""Holds what replicas and workers of a tf.distribute strategy share.

This is what they must agree on before they start, and what is summed over them
so that a result is that of one device. It knows neither `fit` nor `predict`,
which call it. To add one: a file for one thing that replicas have in common,
with its parity with one device in `tests/distribute`, in a process of its own.
"""

from tfpbnn.distribute.environment import strategy

__all__ = ["strategy"]
