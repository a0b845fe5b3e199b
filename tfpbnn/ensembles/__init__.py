"""Ensembles: several networks, trained together and used as one posterior."""

from tfpbnn.ensembles.deep_ensemble import DeepEnsemble
from tfpbnn.ensembles.early_stopping import MemberEarlyStopping
from tfpbnn.ensembles.executors import MemberTrainingError, process_pool
from tfpbnn.ensembles.hyper_ensemble import HyperEnsemble
from tfpbnn.ensembles.mixed_ensemble import MixedEnsemble
from tfpbnn.ensembles.ray_executor import RayExecutor

__all__ = [
    "DeepEnsemble",
    "HyperEnsemble",
    "MemberEarlyStopping",
    "MemberTrainingError",
    "MixedEnsemble",
    "RayExecutor",
    "process_pool",
]
