"""Merges averages over draws that are made a few at a time."""

from collections.abc import Iterable

from tfpbnn.base.types import Array


def merge(parts: Iterable[tuple[int, tuple[Array, ...]]]) -> tuple[Array, ...]:
    """Merges averages over some draws into averages over all of them.

    Args:
        parts: pairs of a number of draws and `Predictive.summaries` over them:
            a mean, its variance over draws, and further averages.

    Reference:
        [Chan et al., 1983](https://doi.org/10.1080/00031305.1983.10483115)
    """
    iterator = iter(parts)
    total, (mean, variance, *averages) = next(iterator)
    for count, (new_mean, new_variance, *new_averages) in iterator:
        total += count
        share = count / total
        gap = new_mean - mean
        mean = mean + share * gap
        variance = (
            (1 - share) * variance
            + share * new_variance
            + share * (1 - share) * gap**2
        )
        averages = [
            old + share * (new - old)
            for old, new in zip(averages, new_averages, strict=True)
        ]
    return mean, variance, *averages
