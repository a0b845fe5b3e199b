"""Scores of numbers against other packages, loops and closed forms."""

import itertools
import json
import pathlib

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn

from tests.statistics import assert_mean
from tfpbnn import likelihoods, metrics
from tfpbnn.prediction.results import (
    ClassificationPredictive,
    RegressionPredictive,
)

DATA = pathlib.Path(__file__).parents[1] / "data" / "number_scores.json"
KEPT = json.loads(DATA.read_text())
GIVEN = {name: np.array(value) for name, value in KEPT["inputs"].items()}
EXPECTED = KEPT["expected"]
Y, MEAN, SD = GIVEN["y"], GIVEN["mean"], GIVEN["sd"]


def raw(scale):
    """What softplus and the floor make a scale of."""
    return np.log(np.expm1(scale - 1e-6))


NORMAL = RegressionPredictive(
    np.concatenate([MEAN, raw(SD)], axis=-1)[np.newaxis], likelihoods.Normal()
)
LEVELS = np.arange(1, 20) / 20
FOUND = {
    "crps_biased": lambda: metrics.crps(Y, GIVEN["samples"], fair=False),
    "crps_fair": lambda: metrics.crps(Y, GIVEN["samples"]),
    "energy_biased": lambda: metrics.energy_score(
        Y, GIVEN["samples"], fair=False
    ),
    "energy_fair": lambda: metrics.energy_score(Y, GIVEN["samples"]),
    "variogram_biased": lambda: metrics.variogram_score(
        Y, GIVEN["samples"], fair=False
    ),
    "interval": lambda: metrics.interval_score(
        Y, (MEAN - SD, MEAN + 1.5 * SD), nominal=0.8
    ),
    "weighted_interval": lambda: metrics.weighted_interval_score(
        Y,
        [MEAN + SD * z for z in (-0.5, -0.9, 0, 0.5, 0.9)],
        nominals=[0.5, 0.9],
    ),
    "crps_normal": lambda: metrics.crps(Y, NORMAL),
    "crps_laplace": lambda: metrics.crps(Y, of(likelihoods.Laplace())),
    "crps_student_t": lambda: metrics.crps(Y, of(likelihoods.StudentT(df=5.0))),
    "crps_poisson": lambda: metrics.crps(
        GIVEN["counts"],
        RegressionPredictive(
            np.full((1, 30, 1), np.log(2.5)), likelihoods.Poisson()
        ),
    ),
    "pinball": lambda: metrics.pinball(Y, NORMAL, q=np.linspace(0.1, 0.9, 9)),
    # Its levels include 0 and 1, where there is no error.
    "calibration_quantile": lambda: (
        19 / 21 * metrics.regression_calibration_error(Y, NORMAL, levels=LEVELS)
    ),
    "calibration_interval": lambda: (
        np.sqrt(19 / 21)
        * metrics.regression_calibration_error(
            Y, NORMAL, levels=LEVELS, norm="l2", is_central=True
        )
    ),
}


def of(likelihood):
    return RegressionPredictive(NORMAL.outputs, likelihood)


@pytest.mark.parametrize("name", FOUND)
def test_other_packages_agree(name):
    assert FOUND[name]() == pytest.approx(EXPECTED[name], rel=1e-5)


def test_scikit_learn_agrees():
    weights = np.arange(30.0)
    mean = sklearn.mean_absolute_error(Y, MEAN, sample_weight=weights)
    found = metrics.mae(Y, MEAN, sample_weight=weights)
    assert found == pytest.approx(mean)
    assert metrics.mae(Y, NORMAL, sample_weight=weights) == pytest.approx(mean)
    for q in (0.1, 0.8):
        loss = sklearn.mean_pinball_loss(
            Y, MEAN, alpha=q, sample_weight=weights
        )
        found = metrics.pinball(Y, MEAN, q=q, sample_weight=weights)
        assert found == pytest.approx(loss)


def pairs_loop(values, distance, count):
    return sum(
        distance(values[i], values[j])
        for i, j in itertools.permutations(range(count), 2)
    ) / (2 * count * (count - 1))


@pytest.mark.parametrize("count", [2, 7])
def test_fair_scores_are_loops_over_pairs(count):
    samples = np.round(GIVEN["samples"][:count], 1)  # with ties
    y = Y

    def length(a, b):
        return np.linalg.norm(a - b, axis=-1)

    expected = np.mean(length(samples, y)) - np.mean(
        pairs_loop(samples, length, count)
    )
    assert metrics.energy_score(y, samples) == pytest.approx(expected)
    expected = np.mean(np.abs(samples - y)) - np.mean(
        pairs_loop(samples, lambda a, b: np.abs(a - b), count)
    )
    assert metrics.crps(y, samples) == pytest.approx(expected)
    half = metrics.energy_score(y[:, :1], samples[..., :1])
    assert half == pytest.approx(metrics.crps(y[:, 0], samples[..., 0]))


def test_fair_variogram_score_is_a_product_of_different_samples():
    samples, weights = GIVEN["samples"][:5], np.array([[0, 1], [3, 0.0]])
    gaps = np.abs(samples[..., 0] - samples[..., 1]) ** 0.5
    off = np.abs(Y[:, 0] - Y[:, 1]) ** 0.5 - gaps
    products = [off[i] * off[j] for i, j in itertools.permutations(range(5), 2)]
    found = metrics.variogram_score(
        Y[:, :2], samples[..., :2], pair_weights=weights
    )
    assert found == pytest.approx(4 * np.mean(products))


FAIR = {
    "crps": metrics.crps,
    "energy": metrics.energy_score,
    "variogram": metrics.variogram_score,
}


@pytest.mark.parametrize("name", FAIR)
def test_fair_scores_do_not_depend_on_the_number_of_samples(name):
    """And biased ones do: 3,000 rows of 2 samples against one of 20,000.

    False alarms: one in a million.
    """
    rng = np.random.default_rng(0)
    y, few = np.array([[0.3, -0.2]]), rng.normal(size=(2, 3000, 2))
    many = rng.normal(size=(400, 50, 2))
    score = FAIR[name]
    exact = np.mean([score(y, many[:, [i]], fair=False) for i in range(50)])
    each = [score(y, few[:, [i]]) for i in range(3000)]
    assert_mean(np.array(each) - exact, 0.0)
    biased = score(np.repeat(y, 3000, 0), few, fair=False)
    assert biased > exact + 0.05


@pytest.mark.parametrize("name", ["crps", "energy_score"])
def test_the_true_distribution_scores_best(name):
    """Of Normals that are shifted, wider or narrower, on 2,000 targets."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=(1000, 2))
    options = {} if name == "crps" else {"seed": 0, "num_samples": 50}
    found = {}
    for shift, scale in ((0, 1), (0.4, 1), (0, 1.6), (0, 0.6)):
        outputs = np.zeros((1, 1000, 4))
        outputs[..., :2], outputs[..., 2:] = shift, raw(scale)
        p = RegressionPredictive(outputs, likelihoods.Normal())
        found[shift, scale] = getattr(metrics, name)(y, p, **options)
    assert min(found, key=found.get) == (0, 1)


def test_interval_scores_are_least_for_the_true_interval():
    y = np.random.default_rng(0).normal(size=4000)
    found = {}
    for z in (1.0, 1.645, 2.3):
        ends = np.full(4000, -z), np.full(4000, z)
        found[z] = metrics.interval_score(y, ends)
    assert min(found, key=found.get) == 1.645


def test_many_intervals_and_quantiles_come_near_the_crps():
    y, p = Y[:5], NORMAL[:5]
    exact = metrics.crps(y, p)
    levels = (np.arange(100) + 0.5) / 100
    found = 2 * metrics.pinball(y, p, q=levels)
    assert found == pytest.approx(exact, rel=2e-3)
    nominals = list(1 - 2 * levels[:50])
    found = metrics.weighted_interval_score(y, p, nominals=nominals)
    assert found == pytest.approx(exact, rel=2e-2)


def test_a_prediction_has_its_own_methods_numbers():
    assert metrics.rmse(Y, NORMAL) == pytest.approx(NORMAL.rmse(Y))
    assert metrics.crps(Y, NORMAL) == pytest.approx(NORMAL.crps(Y))
    assert metrics.coverage(Y, NORMAL) == pytest.approx(NORMAL.coverage(Y))
    assert metrics.regression_calibration_error(Y, NORMAL) == pytest.approx(
        NORMAL.calibration_error(Y)
    )
    np.testing.assert_allclose(
        metrics.pit(Y, NORMAL), stats.norm.cdf(Y, MEAN, SD).ravel(), atol=1e-6
    )
    lower, upper = NORMAL.interval(0.5)
    found = metrics.sharpness(Y, NORMAL, nominal=0.5)
    assert found == pytest.approx(np.mean(upper - lower))


@pytest.mark.parametrize("test", ["ks", "chi2"])
def test_uniformity_finds_what_is_wrong_and_only_that(test):
    """Right predictions are called wrong in 1 of 20; scales off are seen.

    Of 400 data sets between 2 and 45 alarms: false alarms 1 in 100,000.
    """
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(400):
        y, samples = rng.normal(size=(1, 100)), rng.normal(size=(30, 1, 100))
        found = metrics.pit_uniformity(y, samples, test=test, seed=None)
        alarms += found.p_value < 0.05
    low, high = stats.binom.ppf([5e-6, 1 - 5e-6], 400, 0.05)
    assert low <= alarms <= high
    y = rng.normal(size=500)
    narrow = 0.6 * rng.normal(size=(30, 500))
    assert metrics.pit_uniformity(y, narrow, test=test).p_value < 1e-4


def test_uniformity_is_that_of_scipy():
    found = metrics.pit_uniformity(Y, NORMAL)
    expected = stats.kstest(stats.norm.cdf(Y, MEAN, SD).ravel(), "uniform")
    assert found == pytest.approx(
        (expected.statistic, expected.pvalue), rel=1e-4
    )
    shares = np.histogram(metrics.pit(Y, NORMAL), np.linspace(0, 1, 6))[0]
    found = metrics.pit_uniformity(Y, NORMAL, test="chi2", num_bins=5)
    assert found == pytest.approx(tuple(stats.chisquare(shares)), rel=1e-6)


def test_weights_of_uniformity_are_counts_of_copies():
    counts = np.random.default_rng(0).integers(0, 4, 30)
    rows = np.repeat(np.arange(30), counts)
    for options in ({"test": "ks"}, {"test": "chi2", "num_bins": 3}):
        once = metrics.pit_uniformity(
            Y, NORMAL, sample_weight=0.2 * counts, **options
        )
        copies = metrics.pit_uniformity(Y[rows], NORMAL[rows], **options)
        # Copies say nothing new.
        assert once.p_value > copies.p_value
        if options["test"] == "ks":
            assert once.statistic == pytest.approx(copies.statistic)
            count = 3 * counts.sum() ** 2 / (counts**2).sum()
            expected = stats.kstwo.sf(once.statistic, round(count))
            assert once.p_value == pytest.approx(expected)


def test_pit_of_counts_is_uniform():
    """By Kolmogorov and Smirnov, in one of a million by chance not."""
    rng = np.random.default_rng(0)
    y = rng.poisson(1.5, 3000)
    outputs = np.full((1, 3000, 1), np.log(1.5))
    p = RegressionPredictive(outputs, likelihoods.Poisson())
    assert metrics.pit_uniformity(y, p).p_value > 1e-6
    # Not random for the curve: the same as on average over random places.
    found = metrics.regression_calibration_error(y, p)
    assert found < 0.05
    assert found == pytest.approx(p.calibration_error(y))


WRONG = {
    "labels": (
        lambda: metrics.crps(
            np.zeros(3),
            ClassificationPredictive(
                np.zeros((1, 3, 2)), likelihoods.Categorical()
            ),
        ),
        "`y_pred` must be a prediction of numbers",
    ),
    "no samples": (
        lambda: metrics.crps(Y, MEAN),
        r"`y_pred` must be `\[S, N, ..., k\]`",
    ),
    "one sample": (
        lambda: metrics.crps(Y, MEAN[np.newaxis]),
        "`y_pred` must have 2 or more samples",
    ),
    "samples for means": (
        lambda: metrics.rmse(Y, GIVEN["samples"]),
        r"`y_pred` must be `\[N, ..., k\]`",
    ),
    "one target": (
        lambda: metrics.variogram_score(Y[:, :1], GIVEN["samples"][..., :1]),
        "`y_true` must have 2 or more targets",
    ),
    "pair weights": (
        lambda: metrics.variogram_score(
            Y, GIVEN["samples"], pair_weights=-np.ones((3, 3))
        ),
        "`pair_weights` must be numbers of 0 or more",
    ),
    "ends swapped": (
        lambda: metrics.interval_score(Y, (MEAN + SD, MEAN - SD)),
        "`y_pred` must have lower ends that are below",
    ),
    "three ends": (
        lambda: metrics.interval_score(Y, (MEAN, MEAN, MEAN)),
        "`y_pred` must have 2 arrays",
    ),
    "level": (
        lambda: metrics.coverage(Y, NORMAL, nominal=90),
        "`nominal` must be a number between 0 and 1",
    ),
    "quantiles": (
        lambda: metrics.pinball(Y, [MEAN], q=[0.1, 0.9]),
        "`y_pred` must have one quantile for each level",
    ),
    "beta": (
        lambda: metrics.energy_score(Y, GIVEN["samples"], beta=2),
        "`beta` must be a number between 0 and 2",
    ),
    "few for chi2": (
        lambda: metrics.pit_uniformity(Y[:5], NORMAL[:5], test="chi2"),
        "`num_bins` must be at most a fifth",
    ),
    "nan": (
        lambda: metrics.mae(np.full((30, 3), np.nan), MEAN),
        "`y_true` must be finite",
    ),
    "length": (
        lambda: metrics.mae(Y[:7], MEAN),
        "`y_pred` must have the last axes of `y_true`",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said(name):
    call, message = WRONG[name]
    with pytest.raises((TypeError, ValueError), match=message):
        call()
