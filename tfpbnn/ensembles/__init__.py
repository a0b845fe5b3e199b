"""Ensembles: models that stand for many networks.

`deep` has members that are trained side by side, each with weights of its own;
`one_network` members inside of one network; `averaging` what one training
visits; `jobs` the training of members in other processes. To add a kind: see
the folder that it belongs to.
"""

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
