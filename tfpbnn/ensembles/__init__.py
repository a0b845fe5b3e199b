"""Posteriors of whole networks."""

from tfpbnn.ensembles.batch_norm import update_batch_norm
from tfpbnn.ensembles.multi_swag import MultiSWAG
from tfpbnn.ensembles.snapshot import SnapshotEnsemble
from tfpbnn.ensembles.swa import SWA
from tfpbnn.ensembles.swag import SWAG
from tfpbnn.ensembles.swag_posterior import SWAGPosterior
from tfpbnn.ensembles.weight_samples import WeightSamples

__all__ = [
    "SWA",
    "SWAG",
    "MultiSWAG",
    "SWAGPosterior",
    "SnapshotEnsemble",
    "WeightSamples",
    "update_batch_norm",
]
