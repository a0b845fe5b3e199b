"""Fuses operations on the weights into one pass of XLA.

A training step reads and writes every weight many times; as graph operations
that is most of its time (benchmarks/README.md). Each function here has a plain
form elsewhere, and a test that holds the two together. `mode` says where passes
are fused (exports need the plain form, as model servers have no XLA), and
`thresholds` from which sizes on. To add the passes of another family: one file
named for it, and its functions below.
"""

from tfpbnn.fused.draws import add_draw_noise, normal_draws, normal_grid
from tfpbnn.fused.mean_field_normal import (
    add_noise,
    normal_kl,
    normal_noise_and_kl,
    normal_sample,
    normal_sample_and_kl,
    normal_variance,
    normal_variance_and_kl,
)
from tfpbnn.fused.mode import (
    VARIANCE_FLOOR,
    applies,
    compiled,
    enabled,
    is_enabled,
    is_on,
    perturbs,
    plain,
    plain_kind,
)
