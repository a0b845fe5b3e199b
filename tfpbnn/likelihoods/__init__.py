"""Defines Keras losses that are distributions of the targets.

A likelihood is the loss that a model is compiled with: its value is the
negative log-likelihood of each example. It also turns the model's outputs into
a TFP distribution, which is how `tfpbnn.predict` knows what they mean. To add
one: a subclass of `Likelihood` in the file of its kind of targets, registered
as one of the "likelihoods", with the names of its `parameters` and the TFP
distribution that they make (`_marginals`); its name below; a row of the table
in tests/likelihoods. Where a Keras loss means the same, an entry in
`from_loss.py`. A `recalibration.Recalibration` maps what a likelihood says of
outputs.
"""

from tfpbnn.likelihoods.base import Likelihood
from tfpbnn.likelihoods.classification import Bernoulli, Categorical
from tfpbnn.likelihoods.counts import NegativeBinomial, Poisson
from tfpbnn.likelihoods.from_loss import from_loss
from tfpbnn.likelihoods.regression import (
    Laplace,
    MixtureNormal,
    Normal,
    StudentT,
)

__all__ = [
    "Bernoulli",
    "Categorical",
    "Laplace",
    "Likelihood",
    "MixtureNormal",
    "NegativeBinomial",
    "Normal",
    "Poisson",
    "StudentT",
    "from_loss",
]
