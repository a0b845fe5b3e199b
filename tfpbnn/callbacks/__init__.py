"""Callbacks for `fit`: one a file.

(Callbacks that leave a posterior behind are in `tfpbnn.ensembles`.)
"""

from tfpbnn.callbacks.kl_weight import KLWeight

__all__ = ["KLWeight"]
