"""Ensembles: several networks, trained together and used as one posterior."""

from tfpbnn.ensembles.deep_ensemble import DeepEnsemble
from tfpbnn.ensembles.early_stopping import MemberEarlyStopping
from tfpbnn.ensembles.executors import MemberTrainingError
from tfpbnn.ensembles.mixed_ensemble import MixedEnsemble

__all__ = [
    "DeepEnsemble",
    "MemberEarlyStopping",
    "MemberTrainingError",
    "MixedEnsemble",
]
