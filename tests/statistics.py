"""Tests of random draws with a stated rate of false alarms.

A check fails by chance with probability `false_fail` in all, whatever the
number of values compared. Each also says how small a mistake it can see.
"""

import numpy as np
from scipy import stats

FALSE_FAIL = 1e-6


def assert_moments(draws, mean, sd, false_fail=FALSE_FAIL, detects=0.1):
    """Draws `[S, ...]` of Normals have these means and standard deviations.

    Args:
        draws: independent along the first axis.
        mean: of each element.
        sd: of each element.
        false_fail: the chance of an alarm if all is right.
        detects: the relative error of a variance, of any one element, that
            so many draws must see in 999 of 1,000 cases.
    """
    draws = np.asarray(draws, np.float64)
    count = draws.shape[0]
    mean = np.broadcast_to(mean, draws.shape[1:])
    sd = np.broadcast_to(sd, draws.shape[1:])
    each = false_fail / (2 * mean.size)  # Bonferroni, over both moments
    z = stats.norm.isf(each / 2)
    error = np.abs(draws.mean(0) - mean) / (sd / np.sqrt(count))
    assert error.max() < z, f"mean off by {error.max():.1f} standard errors"
    low, high = stats.chi2.ppf([each / 2, 1 - each / 2], count - 1)
    ratio = (count - 1) * draws.var(0, ddof=1) / sd**2
    assert np.all((ratio > low) & (ratio < high)), (
        "variance ratios from "
        f"{ratio.min() / (count - 1):.3f} to {ratio.max() / (count - 1):.3f}"
    )
    # A variance off by `detects`, and 3 standard errors the other way, is seen.
    unlucky = stats.chi2.ppf([1e-3, 1 - 1e-3], count - 1)
    seen = (1 + detects) * unlucky[0] > high and (1 - detects) * unlucky[
        1
    ] < low
    assert seen, f"{count} draws are too few to see it"


def assert_correlation(a, b, expected, false_fail=FALSE_FAIL):
    """Normal draws `[S]` have a correlation, by Fisher's z (or are equal)."""
    found = np.corrcoef(np.ravel(a), np.ravel(b))[0, 1]
    if abs(expected) == 1:
        assert found * expected > 1 - 1e-5
        return
    z = np.sqrt(np.size(a) - 3) * (np.arctanh(found) - np.arctanh(expected))
    assert abs(z) < stats.norm.isf(false_fail / 2), f"correlation {found:.3f}"


def assert_covariance(draws, mean, covariance, false_fail=FALSE_FAIL):
    """Draws `[S, P]` of any distribution have these first two moments.

    Each by its t statistic, whose standard error is the draws' own: so pairs
    that are uncorrelated but dependent, and products of Normals, are in order.

    Args:
        draws: independent along the first axis.
        mean: `[P]`.
        covariance: `[P, P]`.
        false_fail: the chance of an alarm if all is right, to leading order.
    """
    centred = np.asarray(draws, np.float64) - mean
    count, size = centred.shape
    limit = stats.norm.isf(false_fail / (size**2 + 3 * size))
    variance = np.diag(covariance)
    error = centred.mean(0) / np.sqrt(variance / count)
    assert np.abs(error).max() < limit, f"{np.abs(error).max():.1f} errors"
    found = centred.T @ centred / count
    fourth = (centred**2).T @ (centred**2) / count
    error = np.sqrt(np.maximum(fourth - found**2, 0) / count)
    size = np.sqrt(np.outer(variance, variance))
    wrong = np.abs(found - covariance) - limit * error
    assert wrong.max() < 1e-6 * size.max(), (
        f"correlations off by up to {np.max((found - covariance) / size):.3f}"
    )
    # An error of 15 % of the standard deviations, and 3 errors off, is seen.
    assert np.max((limit + 3) * error / size) < 0.15, f"{count} are too few"


def assert_mean(draws, mean, false_fail=FALSE_FAIL):
    """Draws `[S]` of any distribution have a mean, by the t statistic."""
    draws = np.asarray(draws, np.float64)
    error = (draws.mean() - mean) / (draws.std(ddof=1) / np.sqrt(len(draws)))
    limit = stats.t.isf(false_fail / 2, len(draws) - 1)
    assert abs(error) < limit, f"off by {error:.1f} standard errors"
