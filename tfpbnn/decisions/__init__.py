"""Turns predictions into decisions: whom to trust, and what to do.

`DeferralPolicy` hands cases to someone else, by a threshold with a guarantee;
`expected_cost`, `optimal` and `expected_utility` choose actions. To add a
guarantee: a function of losses and uncertainties in `guarantees` that returns a
threshold and the words for it, an argument of `DeferralPolicy.fit`, and a
simulation in tests/decisions that holds it.
"""

from tfpbnn.decisions.actions import expected_cost, expected_utility, optimal
from tfpbnn.decisions.deferral import Decisions, DeferralPolicy, load

__all__ = [
    "Decisions",
    "DeferralPolicy",
    "expected_cost",
    "expected_utility",
    "load",
    "optimal",
]
