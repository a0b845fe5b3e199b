"""Intervals of scores, and comparisons of two models."""

import copy
import pickle

import keras
import numpy as np
import pytest
from scipy import stats

from tfpbnn import metrics
from tfpbnn.metrics import bootstrap
from tfpbnn.metrics.rows import Rows


def one_each(count):
    return Rows(np.ones(count), np.arange(count))


def labels(rows, seed, classes=3):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(classes), rows)
    return (rng.random((rows, 1)) > p.cumsum(-1)).sum(-1), p


def test_intervals_are_scipys():
    """BCa of skewed numbers; two bootstraps differ by chance at the ends."""
    values = np.random.default_rng(0).exponential(size=60)
    ours = bootstrap.mean(values, one_each(60), 20_000, 0, 0.9)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="BCa", rng=1,
        confidence_level=0.9,
    )  # fmt: skip
    low, high = theirs.confidence_interval
    assert ours.lower == pytest.approx(low, abs=0.03 * ours.stderr)
    assert ours.upper == pytest.approx(high, abs=0.05 * ours.stderr)
    assert ours.stderr == pytest.approx(theirs.standard_error, rel=0.03)
    # Percentiles are lower here, by more than that.
    percentile = np.quantile(ours.replicates, 0.95)
    assert ours.upper - percentile > 0.1 * ours.stderr


def test_intervals_cover():
    """The mean of 60 skewed numbers is in 90 % intervals of 250 data sets.

    Of a coverage of 0.88, which BCa has of so few, the share is outside of
    [0.79, 0.95] once in 10,000 times.
    """
    rng = np.random.default_rng(0)
    inside = 0
    for seed in range(250):
        values = rng.exponential(size=60)
        found = bootstrap.mean(values, one_each(60), 200, seed, 0.9)
        inside += found.lower <= 1 <= found.upper
    assert 0.79 < inside / 250 < 0.95


def test_ends_are_in_order_at_the_pole_of_bca():
    """Where one resample and one group of rows are all there is."""
    replicates = np.append(np.linspace(0, 1, 999), 1e6)
    left_out = np.append(np.zeros(99), -1e4)
    found = metrics.Estimate(1e3, replicates, left_out, np.arange(100), 0.9999)
    assert found.lower <= found.upper
    assert found.p_value(0.5) <= 1


def test_rows_are_resampled_and_not_places():
    """40 places that say the same tell what one does."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=50)
    alone = bootstrap.mean(values, one_each(50), 500, 0)
    many = Rows(np.ones(2000), np.repeat(np.arange(50), 40))
    together = bootstrap.mean(np.repeat(values, 40), many, 500, 0)
    np.testing.assert_allclose(together.replicates, alone.replicates)
    separate = bootstrap.mean(np.repeat(values, 40), one_each(2000), 500, 0)
    assert together.stderr > 5 * separate.stderr


@pytest.mark.parametrize("name", ["ece", "ace", "mce", "smooth_ece", "brier"])
def test_a_score_is_inside_of_its_interval(name):
    """Also one that chance makes larger, and larger yet in resamples."""
    y, p = labels(200, 0)
    found = getattr(metrics, name)(y, p, n_boot=100, seed=0)
    assert 0 <= found.lower < found < found.upper
    assert found == getattr(metrics, name)(y, p)


def test_intervals_of_biased_scores_cover_their_mean():
    """An ECE of 200 rows has a mean above 0, which 90 % intervals contain.

    They are conservative: of a coverage of 0.9 fewer than 76 of 100 have a
    chance below 1 in 10,000.
    """

    def ece(number, **options):
        rng = np.random.default_rng(number)
        p = rng.uniform(0.5, 0.9, 200)
        return metrics.ece(rng.random(200) < p, p, **options)

    truth = np.mean([ece(1000 + seed) for seed in range(500)])
    found = [ece(s, n_boot=100, seed=s, level=0.9) for s in range(100)]
    assert truth > 0.05
    assert sum(e.lower <= truth <= e.upper for e in found) >= 76


def test_seeds():
    y, p = labels(50, 0)

    def replicates(seed):
        return metrics.brier(y, p, n_boot=5, seed=seed).replicates

    np.testing.assert_array_equal(replicates(3), replicates(3))
    assert not np.array_equal(replicates(3), replicates(4))
    assert not np.array_equal(replicates(None), replicates(None))
    keras.utils.set_random_seed(0)
    found = replicates(None)
    keras.utils.set_random_seed(0)
    np.testing.assert_array_equal(replicates(None), found)


def test_estimates_are_floats():
    y, p = labels(50, 0)
    found = metrics.brier(y, p, n_boot=50, seed=0, level=0.9)
    assert isinstance(found, float)
    assert found + 1 == metrics.brier(y, p) + 1
    for other in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found)):
        assert other == found
        assert other.lower == found.lower
    assert "90 % interval" in repr(found)
    assert f"{found:.2f}" == f"{float(found):.2f}"


def test_no_difference_is_found_where_there_is_none():
    """Two models that are as good, on 200 data sets of 100 rows.

    A p-value is below 0.1 in 20 +- 4.2 of them, so in 4 to 37 but for 1 in
    10,000 runs.
    """
    found = []
    for seed in range(200):
        y, p = labels(100, seed)
        noise = labels(200, seed + 1000)[1].reshape(2, 100, 3)
        first, second = 0.7 * p + 0.3 * noise
        result = metrics.compare(
            metrics.brier, y, first, second, n_boot=150, seed=seed
        )
        found.append(result.p_value)
    assert 4 <= np.sum(np.array(found) < 0.1) <= 37


def test_a_difference_is_found_where_there_is_one():
    y, p = labels(300, 0)
    worse = 0.5 * p + 0.5 / 3
    found = metrics.compare(metrics.brier, y, p, worse, n_boot=500, seed=0)
    assert found.difference == pytest.approx(
        metrics.brier(y, p) - metrics.brier(y, worse)
    )
    assert found.p_value < 0.05
    assert found.difference.upper < 0
    # Alone, neither score tells: what rows have in common is not taken out.
    assert found.first.upper > found.second.lower
    assert found.difference.stderr < 0.5 * found.first.stderr
    again = metrics.compare(metrics.brier, y, p, p, n_boot=50)
    assert again.difference == again.difference.lower == 0
    assert again.p_value == 1


def test_several_numbers_are_compared_one_by_one():
    y, p = labels(100, 0)
    worse = 0.5 * p + 0.5 / 3
    options = {"n_boot": 40, "seed": 0}
    found = metrics.compare(metrics.brier_parts, y, p, worse, **options)
    each = [metrics.brier_parts(y, q, **options) for q in (p, worse)]
    for name in metrics.BrierParts._fields:
        one = getattr(found, name)
        a, b = (getattr(parts, name) for parts in each)
        assert (one.first, one.second, one.difference) == (a, b, a - b)
        np.testing.assert_array_equal(
            one.difference.replicates, a.replicates - b.replicates
        )
    assert found.uncertainty.p_value == 1  # which is of the labels alone
    images = np.zeros((3, 4, 4), int)
    right = np.full((3, 4, 4, 1), 0.1)
    wrong = np.where(np.arange(3)[:, None, None, None] == 0, 0.8, right)
    patches = metrics.compare(
        metrics.pavpu, images, right, wrong, patch_size=2, **options
    )
    assert patches.pavpu.difference == patches.pavpu.first - patches.pavpu[1]
    missing = patches.uncertain_if_inaccurate  # nothing of the first is wrong
    assert np.isnan([missing.first, missing.difference, missing.p_value]).all()
    assert np.isfinite(missing.second)


def test_p_values_belong_to_intervals():
    """The end of a 1 - p interval is where the p-value is p."""
    values = np.random.default_rng(0).exponential(size=80)
    for level in (0.5, 0.9, 0.99):
        found = bootstrap.mean(values, one_each(80), 5000, 0, level)
        for end in (found.lower, found.upper):
            assert found.p_value(end) == pytest.approx(1 - level, rel=0.1)


def test_scores_that_some_resamples_lack():
    """They are left out, unless most are."""

    def if_first(weights):
        return float(weights.sum()) if weights[0] > 0 else np.nan

    found = bootstrap.estimate(if_first, one_each(20), 200, 0)
    assert 0.5 < np.isfinite(found.replicates).mean() < 0.75
    assert found.lower == found.upper == 20

    def if_all(weights):
        return 1.0 if np.all(weights > 0) else np.nan

    with pytest.raises(ValueError, match="most resampled rows have no such"):
        bootstrap.estimate(if_all, one_each(20), 50, 0)


def test_comparisons_need_the_same_rows():
    y, p = labels(20, 0)
    with pytest.raises(TypeError, match="`metric` must be a function"):
        metrics.compare("brier", y, p, p)
    for plain in (lambda *_, **__: 0.5, lambda *_, **__: (1, 2)):
        with pytest.raises(TypeError, match="must give numbers with their bo"):
            metrics.compare(plain, y, p, p, n_boot=2)

    def masked(y_true, y_pred, **options):
        return metrics.brier(np.ma.array(y_true, mask=y_pred[1]), p, **options)

    hidden = [(p, np.arange(20) < n) for n in (2, 3)]
    with pytest.raises(ValueError, match=r"same rows count. Received: 18 "):
        metrics.compare(masked, y, *hidden)
