"""Ensembles: several networks, trained together and used as one model."""

from tfpbnn.ensembles.batch_ensemble import (
    BatchEnsemble,
    to_batch_ensemble,
    to_rank1,
)
from tfpbnn.ensembles.masksembles import Masksembles, to_masksembles
from tfpbnn.ensembles.mimo import MIMO, to_mimo
from tfpbnn.ensembles.packed import PackedEnsemble, to_packed_ensemble

__all__ = [
    "MIMO",
    "BatchEnsemble",
    "Masksembles",
    "PackedEnsemble",
    "to_batch_ensemble",
    "to_masksembles",
    "to_mimo",
    "to_packed_ensemble",
    "to_rank1",
]
