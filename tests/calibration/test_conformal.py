"""Sets and intervals have the coverage that they promise."""

import math

import numpy as np
import pytest
from scipy import stats

from tests.calibration import made
from tfpbnn import calibration, likelihoods
from tfpbnn.calibration.conformal.scores import Scores

SPLITS, ROWS, NEW = 1000, 39, 5
# A rate of false alarms of each comparison.
FALSE = 1e-6


def labels(rows, seed=0):
    """Of an overconfident model."""
    z, y = made.classes(rows, 5, factor=3.0, seed=seed)
    return made.labels(z), y


def numbers(rows, seed=0):
    """Of a model whose noise is wrong, and of skewed errors."""
    rng = np.random.default_rng(seed)
    loc, raw = rng.standard_normal((2, 1, rows, 1))
    scale = np.logaddexp(0, raw[0])
    y = loc[0] + scale * (rng.exponential(size=(rows, 1)) - 0.3)
    return made.normal(np.concatenate([loc, raw], -1)), y


# Name: a predictor, and what it is for.
SPLIT = {
    "LAC": (calibration.LAC, labels),
    "APS": (calibration.APS, labels),
    "APS not random": (lambda: calibration.APS(randomized=False), labels),
    "RAPS": (lambda: calibration.RAPS(0.1, 1), labels),
    "AbsoluteResidual": (calibration.AbsoluteResidual, numbers),
    "NormalizedResidual": (calibration.NormalizedResidual, numbers),
    "CQR": (lambda: calibration.CQR(0.8), numbers),
}


def of_a_stack(rows, seed=0):
    """Labels by predictions that a temperature and Isotonic have mapped."""
    p, y = labels(rows, seed)
    return STACK.transform(p), y


def stack():
    p, y = labels(300, seed=7)
    q = calibration.Temperature().fit(p, y).transform(p)
    return calibration.Isotonic().fit(q, y)


STACK = stack()
SPLIT["APS of a stack"] = (calibration.APS, of_a_stack)


def covered(found, predictive, y, **kwargs):
    """Which targets are inside, `[N]`."""
    if hasattr(found, "sets"):
        sets = found.sets(predictive, **kwargs)
        return sets[np.arange(len(y)), y]
    low, high = found.interval(predictive, **kwargs)
    return np.all((low <= y) & (y <= high), axis=-1)


@pytest.mark.parametrize("name", SPLIT)
def test_coverage_of_many_splits(name):
    """A share k / (n + 1) of new rows, within bounds of false alarms of 1e-6.

    Given the held-out rows the coverage is a Beta, which the bound knows.
    """
    make, data = SPLIT[name]
    held_out, new = (
        data(SPLITS * n, seed) for seed, n in ((0, ROWS), (1, NEW))
    )
    one = make().fit(held_out[0][:ROWS], held_out[1][:ROWS])
    # Held-out rows have other random numbers than new ones.
    old = one._scores(held_out[0], np.asarray(held_out[1]))
    old = np.reshape(old, (SPLITS, ROWS))
    fresh = one.scores_of(*new).reshape(SPLITS, NEW)
    for coverage in (0.9, 0.5):
        limits = [
            Scores.of(scores, np.ones(ROWS)).threshold(coverage)
            for scores in old
        ]
        inside = fresh <= np.stack(limits)[:, None]
        k = math.ceil(coverage * (ROWS + 1))
        beta = stats.beta(k, ROWS + 1 - k)
        spread = beta.var() + (beta.mean() - beta.moment(2)) / NEW
        error = abs(inside.mean() - beta.mean()) / np.sqrt(spread / SPLITS)
        assert error < stats.norm.isf(FALSE / 2)


@pytest.mark.parametrize("name", SPLIT)
def test_sets_are_what_scores_allow(name):
    make, data = SPLIT[name]
    (p, y), (new, new_y) = data(200), data(300, 1)
    for coverage in (0.9, 0.6):
        found = make().fit(p, y, coverage)
        limit = Scores.of(
            np.ravel(found._scores(p, np.asarray(y))), np.ones(200)
        ).threshold(coverage)
        inside = covered(found, new, new_y)
        np.testing.assert_array_equal(
            inside, found.scores_of(new, new_y)[:, 0] <= limit
        )
        # The Beta's standard deviation and that of 300 rows, six times.
        assert abs(inside.mean() - coverage) < 6 * np.sqrt(0.25 / 120)
        wider = make().fit(p, y, coverage)
        assert np.all(covered(wider, new, new_y, coverage=0.99) >= inside)


def test_threshold_is_a_rank_of_all_rows_and_a_new_one():
    values = np.random.default_rng(0).standard_normal(99)
    scores = Scores.of(values, np.ones(99))
    for coverage in (0.1, 0.29, 0.5, 0.9, 0.99):
        rank = math.ceil(round(coverage * 100, 9))
        assert scores.threshold(coverage) == np.sort(values)[rank - 1]
    assert scores.threshold(0.995) == np.inf
    assert scores.threshold(0.0) == scores.threshold(-0.5) == -np.inf


@pytest.mark.parametrize("name", SPLIT)
def test_groups_are_covered_each(name):
    """Of two groups, one of which is much harder (Mondrian)."""
    make, data = SPLIT[name]
    (p, y), (new, new_y) = data(1000), data(1000, 1)

    def harder(p, y):
        rows = np.arange(len(y)) % 2 == 0
        if data is not numbers:
            return rows, np.where(rows, (y + 1) % 5, y)
        return rows, np.where(rows[:, None], 5 * y, y)

    group, y = harder(p, y)
    new_group, new_y = harder(new, new_y)
    found = make().fit(p, y, 0.8, groups=group)
    inside = covered(found, new, new_y, groups=new_group)
    errors = np.sqrt(2 * 0.16 / 500)
    for rows in (new_group, ~new_group):
        error = inside[rows].mean() - 0.8
        assert error > -5.5 * errors
        # Where a group needs all labels, sets that are not random have them.
        assert error < 5.5 * errors or name == "APS not random"
    plain = covered(make().fit(p, y, 0.8), new, new_y)
    assert plain[new_group].mean() < plain[~new_group].mean() - 0.1


@pytest.mark.parametrize("free", [0, 2])
@pytest.mark.parametrize("penalty", [0.0, 0.05])
def test_sets_that_are_not_random_are_a_loop(penalty, free):
    """The labels in order, until their sum and the penalties pass a score."""

    def score(p, label):
        order = sorted(range(5), key=lambda k: -p[k])
        rank = order.index(label) + 1
        return p[order[:rank]].sum() + penalty * max(0, rank - free)

    (p, y), (new, _) = labels(200), labels(100, 1)
    scores = [score(row, label) for row, label in zip(p.mean, y, strict=True)]
    limit = sorted(scores)[math.ceil(0.8 * 201) - 1]
    expected = [
        [score(row, label) <= limit + 1e-12 for label in range(5)]
        for row in new.mean
    ]
    found = calibration.RAPS(penalty, free, randomized=False).fit(p, y, 0.8)
    np.testing.assert_array_equal(found.sets(new), expected)
    if penalty == 0:
        found = calibration.APS(randomized=False).fit(p, y, 0.8)
        np.testing.assert_array_equal(found.sets(new), expected)


def test_classes_are_covered_each():
    """At a rate of false alarms of 1e-7 for each class."""
    (p, y), (new, new_y) = labels(3000), labels(3000, 1)
    found = calibration.LAC().fit(p, y, 0.8, groups="class")
    inside = covered(found, new, new_y)
    for k in range(5):
        counts = [np.sum(a == k) for a in (y, new_y)]
        error = np.sqrt(0.16 * sum(1 / count for count in counts))
        assert abs(inside[new_y == k].mean() - 0.8) < 5.5 * error


def test_weights_mend_another_population():
    """New rows are harder, and held-out ones are weighted by how like them."""
    rng = np.random.default_rng(0)

    def rows(count, mean):
        x = rng.normal(mean, 1.0, count)
        y = x + np.exp(x) * rng.standard_normal(count)
        outputs = np.stack([x, np.full(count, made.ONE)], -1)[None]
        return made.normal(outputs), y[:, None], np.exp(x - 0.5)

    (p, y, weights), (new, new_y, new_weights) = rows(4000, 0), rows(4000, 1)
    found = calibration.AbsoluteResidual()
    plain = covered(found.fit(p, y), new, new_y).mean()
    found.fit(p, y, sample_weight=weights)
    weighted = covered(found, new, new_y, sample_weight=new_weights).mean()
    assert plain < 0.8
    size = weights.sum() ** 2 / (weights**2).sum()
    assert abs(weighted - 0.9) < 5 * np.sqrt(0.09 * (1 / size + 1 / 4000))
    # A row that outweighs all others could have any score.
    low, high = found.interval(new[:1], sample_weight=[1e9])
    assert np.isinf(low).all()
    assert np.isinf(high).all()


def test_weights_of_zero_and_masks_leave_rows_out():
    p, y = numbers(200)
    kept = np.random.default_rng(0).uniform(size=200) < 0.6
    bad = np.where(kept[:, None], y, np.nan)
    masked = made.normal(p.outputs, mask=kept)
    groups = np.arange(200) % 2
    expected = calibration.CQR().fit(p[kept], y[kept], 0.8, groups=groups[kept])
    found = calibration.CQR().fit(masked, bad, 0.8, groups=groups)
    np.testing.assert_array_equal(
        found.interval(p, groups=groups), expected.interval(p, groups=groups)
    )
    steps, y = made.classes(40, places=(6,))
    mask = np.random.default_rng(0).uniform(size=y.shape) < 0.5
    flat = made.labels(steps[:, mask])
    expected = calibration.LAC().fit(flat, y[mask])
    y = np.where(mask, y, 255)
    ignoring = likelihoods.Categorical(ignore_class=255)
    for p in (made.labels(steps, mask=mask), made.labels(steps, ignoring)):
        sets = calibration.LAC().fit(p, y).sets(p)
        assert sets.shape == (40, 6, 3)
        np.testing.assert_array_equal(sets[mask], expected.sets(flat))


def test_several_targets_have_intervals_each():
    outputs, y = made.numbers(300, targets=2)
    y = y * [1.0, 10.0]
    found = calibration.AbsoluteResidual().fit(made.normal(outputs), y, 0.8)
    low, high = found.interval(made.normal(outputs))
    for target in range(2):
        inside = (low <= y)[:, target] & (y <= high)[:, target]
        assert inside.sum() == math.ceil(0.8 * 301)
    assert np.all(np.diff(high - low, axis=1) > 0)


def test_yes_or_no():
    rng = np.random.default_rng(0)
    z = rng.standard_normal((1, 200, 1))
    y = rng.integers(0, 2, 200)
    p = made.labels(z, likelihoods.Bernoulli())
    sets = calibration.LAC().fit(p, y, 0.8).sets(p)
    assert sets.shape == (200, 2)
    both = np.concatenate([0 * z, z], -1)
    same = calibration.LAC().fit(made.labels(both), y, 0.8)
    np.testing.assert_array_equal(sets, same.sets(made.labels(both)))


def test_calibrated_and_averaged_predictions_have_sets_too():
    z, y = made.classes(300, factor=3.0)
    after = calibration.Isotonic().fit_arrays(z, y).transform(made.labels(z))
    new, new_y = made.classes(300, factor=3.0, seed=1)
    q = after.likelihood.recalibration.transform(made.labels(new))
    found = calibration.LAC().fit(q, new_y)
    np.testing.assert_array_equal(covered(found, q, new_y).sum(), 271)
    averages = type(q).without_draws(1, q.summaries, q.likelihood, "mean")
    np.testing.assert_array_equal(found.sets(averages), found.sets(q))


@pytest.mark.parametrize("name", SPLIT)
def test_a_file_has_all_of_it(name, tmp_path):
    make, data = SPLIT[name]
    p, y = data(100)
    ask = {"sample_weight": np.ones(100), "groups": np.arange(100) % 2}
    for kwargs in ({}, ask):
        found = make().fit(p, y, 0.8, **kwargs)
        found.save(tmp_path / "found.json")
        loaded = calibration.load(tmp_path / "found.json")
        assert repr(loaded) == repr(found)
        method = "sets" if hasattr(found, "sets") else "interval"
        np.testing.assert_array_equal(
            getattr(found, method)(p, **kwargs),
            getattr(loaded, method)(p, **kwargs),
        )
