"""Monte Carlo dropout of trained models, and the prior that it implies.

The layers are in `tfpbnn.layers.dropout`; here whole models get them.
To add a rule for what a rate says of the prior: a function in `implied_prior`.
"""

from tfpbnn.dropout.implied_prior import precision, weight_decay
from tfpbnn.dropout.mc_dropout import mc_dropout

__all__ = ["mc_dropout", "precision", "weight_decay"]
