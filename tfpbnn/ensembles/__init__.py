"""Posteriors of whole networks: ensembles, snapshots, averages."""

from tfpbnn.ensembles.collected.batch_norm import update_batch_norm
from tfpbnn.ensembles.collected.multi_swag import MultiSWAG
from tfpbnn.ensembles.collected.snapshot import SnapshotEnsemble
from tfpbnn.ensembles.collected.swa import SWA
from tfpbnn.ensembles.collected.swag import SWAG
from tfpbnn.ensembles.collected.swag_posterior import SWAGPosterior
from tfpbnn.ensembles.collected.weight_samples import WeightSamples
from tfpbnn.ensembles.shared.batch_ensemble import (
    BatchEnsemble,
    to_batch_ensemble,
    to_rank1,
)
from tfpbnn.ensembles.shared.masksembles import Masksembles, to_masksembles
from tfpbnn.ensembles.shared.mimo import MIMO, to_mimo
from tfpbnn.ensembles.shared.packed import PackedEnsemble, to_packed_ensemble
from tfpbnn.ensembles.stacked.deep_ensemble import DeepEnsemble
from tfpbnn.ensembles.stacked.early_stopping import MemberEarlyStopping
from tfpbnn.ensembles.stacked.executors import MemberTrainingError, process_pool
from tfpbnn.ensembles.stacked.hyper_ensemble import HyperEnsemble
from tfpbnn.ensembles.stacked.mixed_ensemble import MixedEnsemble
from tfpbnn.ensembles.stacked.ray_executor import RayExecutor

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
