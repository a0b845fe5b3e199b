"""From plain Keras models to variational ones and back; migration."""

from tfpbnn.convert.deterministic import freeze_scales, to_deterministic
from tfpbnn.convert.variational import to_variational

__all__ = [
    "freeze_scales",
    "to_deterministic",
    "to_variational",
]
