"""Posteriors of whole networks: ensembles, snapshots, averages."""

from tfpbnn.ensembles.batch_norm import update_batch_norm
from tfpbnn.ensembles.deep_ensemble import DeepEnsemble
from tfpbnn.ensembles.early_stopping import MemberEarlyStopping
from tfpbnn.ensembles.executors import MemberTrainingError, process_pool
from tfpbnn.ensembles.hyper_ensemble import HyperEnsemble
from tfpbnn.ensembles.mixed_ensemble import MixedEnsemble
from tfpbnn.ensembles.multi_swag import MultiSWAG
from tfpbnn.ensembles.ray_executor import RayExecutor
from tfpbnn.ensembles.snapshot import SnapshotEnsemble
from tfpbnn.ensembles.swa import SWA
from tfpbnn.ensembles.swag import SWAG
from tfpbnn.ensembles.swag_posterior import SWAGPosterior
from tfpbnn.ensembles.weight_samples import WeightSamples

__all__ = [
    "SWA",
    "SWAG",
    "DeepEnsemble",
    "HyperEnsemble",
    "MemberEarlyStopping",
    "MemberTrainingError",
    "MixedEnsemble",
    "MultiSWAG",
    "RayExecutor",
    "SWAGPosterior",
    "SnapshotEnsemble",
    "WeightSamples",
    "process_pool",
    "update_batch_norm",
]
