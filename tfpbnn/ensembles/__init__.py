"""Posteriors that consist of several networks, and their training.

Three kinds, a folder each: members with weights of their own (`deep`), members
that share one network (`one_network`), and networks that one training passes
through (`averaging`). `jobs` trains members elsewhere. To add an ensemble: a
file in the folder of its kind, and its name below.
"""

from tfpbnn.ensembles.averaging.collect_samples import CollectSamples
from tfpbnn.ensembles.averaging.multi_swag import MultiSWAG
from tfpbnn.ensembles.averaging.snapshot import SnapshotEnsemble
from tfpbnn.ensembles.averaging.swa import SWA
from tfpbnn.ensembles.averaging.swag import SWAG
from tfpbnn.ensembles.deep.deep_ensemble import DeepEnsemble
from tfpbnn.ensembles.deep.early_stopping import MemberEarlyStopping
from tfpbnn.ensembles.deep.hyper_ensemble import HyperEnsemble
from tfpbnn.ensembles.deep.mixed_ensemble import MixedEnsemble
from tfpbnn.ensembles.jobs.executors import MemberTrainingError, process_pool
from tfpbnn.ensembles.jobs.ray_executor import RayExecutor
from tfpbnn.ensembles.one_network.batch_ensemble import (
    BatchEnsemble,
    to_batch_ensemble,
    to_rank1,
)
from tfpbnn.ensembles.one_network.masksembles import Masksembles, to_masksembles
from tfpbnn.ensembles.one_network.mimo import MIMO, to_mimo
from tfpbnn.ensembles.one_network.packed import (
    PackedEnsemble,
    to_packed_ensemble,
)
from tfpbnn.posteriors.batch_norm import update_batch_norm
from tfpbnn.posteriors.low_rank_normal import SWAGPosterior
from tfpbnn.posteriors.weight_samples import WeightSamples

# Its components need not be of SWAG.
PosteriorMixture = MultiSWAG

__all__ = [
    "MIMO",
    "SWA",
    "SWAG",
    "BatchEnsemble",
    "CollectSamples",
    "DeepEnsemble",
    "HyperEnsemble",
    "Masksembles",
    "MemberEarlyStopping",
    "MemberTrainingError",
    "MixedEnsemble",
    "MultiSWAG",
    "PackedEnsemble",
    "PosteriorMixture",
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
