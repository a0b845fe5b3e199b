"""Callbacks for `fit`.

To add one: a subclass of `keras.callbacks.Callback` in a file of its own, and
its name below. (Callbacks that leave a posterior behind are in
`ensembles/averaging`.)
"""

from tfpbnn.callbacks.kl_weight import KLWeight

__all__ = ["KLWeight"]
