"""Ensembles: several networks, trained together and used as one model."""

from tfpbnn.ensembles.batch_ensemble import (
    BatchEnsemble,
    to_batch_ensemble,
    to_rank1,
)

__all__ = ["BatchEnsemble", "to_batch_ensemble", "to_rank1"]
