"""Randomized sets have random numbers of rows, of seeds, or of the caller."""

import numpy as np
from scipy import stats

from tests.calibration import made
from tests.calibration.test_conformal import FALSE, labels
from tfpbnn import calibration
from tfpbnn.calibration.conformal import shares


def test_rows_that_are_asked_for_one_by_one_have_random_numbers_each():
    """By Kolmogorov and Smirnov; false alarms are 1e-6 in each.

    And so do rows that are alike, of one batch.
    """
    p = labels(1000)[0].mean
    alike = np.full((1000, 5), 0.2)
    for numbers in (
        [shares.of_predictions(row[np.newaxis], 3).item() for row in p],
        shares.of_predictions(p, 3).ravel(),
        shares.of_predictions(alike, 3).ravel(),
    ):
        assert stats.kstest(numbers, "uniform").pvalue > FALSE
    np.testing.assert_array_equal(
        shares.of_predictions(p, 3), shares.of_predictions(p, 3)
    )
    assert (
        np.abs(shares.of_predictions(p, 3) - shares.of_predictions(p, 4)).max()
        > 0.5
    )
    (new, y), found = labels(200), calibration.APS()
    found.fit(new, y, 0.6)
    sets = [found.sets(new[row : row + 1])[0] for row in range(200)]
    inside = np.array(sets)[np.arange(200), y]
    assert abs(inside.mean() - 0.6) < 4.9 * np.sqrt(0.24 * (2 / 200))


def test_random_numbers_of_seeds():
    """A row's is that of its seed; coverage and evenness at 1e-6 each."""
    (p, y), (new, new_y) = labels(500), labels(2000, 1)
    found = calibration.RAPS(0.1, 1, seed=3).fit(p, y, 0.6)
    rows, error = np.arange(2000), np.sqrt(0.24 * (1 / 500 + 1 / 2000))
    for seed in (7, rows + 2**40, -rows):
        sets = found.sets(new, seed=seed)
        assert abs(sets[rows, new_y].mean() - 0.6) < 4.9 * error
        numbers = shares.given(seed, None, 3, (2000,))
        assert stats.kstest(numbers.ravel(), "uniform").pvalue > FALSE
        np.testing.assert_array_equal(sets, found.sets(new, uniforms=numbers))
    for row in (0, 5, 6):
        alone = found.sets(new[row : row + 1], seed=-row)
        np.testing.assert_array_equal(alone[0], sets[row])
        number = shares.given(-row, None, 3, (1,))
        np.testing.assert_array_equal(number[0], numbers[row])
    # The first row of a seed is the one of that seed alone.
    np.testing.assert_array_equal(
        found.sets(new, seed=7)[:1], found.sets(new[:1], seed=[7])
    )
    other = calibration.RAPS(0.1, 1, seed=4).fit(p, y, 0.6)
    assert np.any(other.sets(new, seed=7) != found.sets(new, seed=7))
    steps, y = made.classes(40, places=(6,))
    p = made.labels(steps)
    one = calibration.APS().fit(p, y)
    numbers = shares.given(np.arange(40), None, 0, (40, 6))
    assert len(np.unique(numbers)) == 240
    np.testing.assert_array_equal(
        one.sets(p, uniforms=numbers[..., 0]), one.sets(p, seed=np.arange(40))
    )
