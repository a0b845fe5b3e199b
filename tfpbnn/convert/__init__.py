"""Converts Keras models to variational ones and back; prunes; migrates.

`counterparts` knows which of our layers stands for which of Keras's and how
their weights correspond; to add one, an entry there. To add a way to change a
trained model: a file with a function from model to model. Other packages'
models are in `legacy`.
"""

from tfpbnn.convert.deterministic import freeze_scales, to_deterministic
from tfpbnn.convert.legacy.edward2 import load_edward2_weights
from tfpbnn.convert.legacy.tfp_models import from_tfp_layers
from tfpbnn.convert.prior_update import update_prior
from tfpbnn.convert.pruning import prune
from tfpbnn.convert.variational import to_variational

__all__ = [
    "freeze_scales",
    "from_tfp_layers",
    "load_edward2_weights",
    "prune",
    "to_deterministic",
    "to_variational",
    "update_prior",
]
