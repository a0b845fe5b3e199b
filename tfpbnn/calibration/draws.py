"""Chooses how a model is drawn from, where the user did not say."""

from typing import Any

from tfpbnn.networks import reading
from tfpbnn.particles.effects import is_random


def draws_of(model: Any) -> str:
    """Returns "mean" for a model of which nothing is random, else "auto".

    Code that is not known may be random.
    """
    is_fixed = not is_random(model) and reading.is_known(model)
    return "mean" if is_fixed else "auto"
