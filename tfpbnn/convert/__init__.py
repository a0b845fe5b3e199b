"""From plain Keras models to variational ones and back; migration."""

from tfpbnn.convert.deterministic import freeze_scales, to_deterministic
from tfpbnn.convert.edward2 import load_edward2_weights
from tfpbnn.convert.legacy import from_tfp_layers
from tfpbnn.convert.variational import to_variational

__all__ = [
    "freeze_scales",
    "from_tfp_layers",
    "load_edward2_weights",
    "to_deterministic",
    "to_variational",
]
