"""Posteriors of whole networks: ensembles, snapshots, averages."""

from tfpbnn.ensembles.batch_ensemble import (
    BatchEnsemble,
    to_batch_ensemble,
    to_rank1,
)
from tfpbnn.ensembles.batch_norm import update_batch_norm
from tfpbnn.ensembles.deep_ensemble import DeepEnsemble
from tfpbnn.ensembles.early_stopping import MemberEarlyStopping
from tfpbnn.ensembles.executors import MemberTrainingError, process_pool
from tfpbnn.ensembles.hyper_ensemble import HyperEnsemble
from tfpbnn.ensembles.masksembles import Masksembles, to_masksembles
from tfpbnn.ensembles.mimo import MIMO, to_mimo
from tfpbnn.ensembles.mixed_ensemble import MixedEnsemble
from tfpbnn.ensembles.multi_swag import MultiSWAG
from tfpbnn.ensembles.packed import PackedEnsemble, to_packed_ensemble
from tfpbnn.ensembles.ray_executor import RayExecutor
from tfpbnn.ensembles.snapshot import SnapshotEnsemble
from tfpbnn.ensembles.swa import SWA
from tfpbnn.ensembles.swag import SWAG
from tfpbnn.ensembles.swag_posterior import SWAGPosterior
from tfpbnn.ensembles.weight_samples import WeightSamples

__all__ = [
    "MIMO",
    "SWA",
    "SWAG",
    "BatchEnsemble",
    "DeepEnsemble",
    "HyperEnsemble",
    "Masksembles",
    "MemberEarlyStopping",
    "MemberTrainingError",
    "MixedEnsemble",
    "MultiSWAG",
    "PackedEnsemble",
    "RayExecutor",
    "SWAGPosterior",
    "SnapshotEnsemble",
    "WeightSamples",
    "process_pool",
    "to_batch_ensemble",
    "to_masksembles",
    "to_mimo",
    "to_packed_ensemble",
    "to_rank1",
    "update_batch_norm",
]
