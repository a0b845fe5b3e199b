"""Maps of averaged probabilities, against scikit-learn and plain loops."""

import itertools
import math

import numpy as np
import pytest
from scipy import special
from sklearn.isotonic import IsotonicRegression

from tests.calibration import made
from tfpbnn import calibration, likelihoods
from tfpbnn.calibration import steps

KINDS = {
    "Isotonic": calibration.Isotonic,
    "HistogramBinning": calibration.HistogramBinning,
    "width": lambda: calibration.HistogramBinning(8, "width"),
    "BBQ": calibration.BBQ,
}


def probabilities(z):
    return special.softmax(z, axis=-1).mean(axis=0)


def divided(p):
    return p / p.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("draws", [1, 4])
def test_isotonic_is_that_of_scikit_learn(draws):
    z, y = made.classes(400, factor=2.0, draws=draws)
    z = np.round(z, 1)  # for ties
    weights = np.random.default_rng(1).uniform(0.5, 2, len(y))
    new_z, _ = made.classes(300, factor=3.0, draws=draws, seed=1)
    p, new_p = probabilities(z), probabilities(new_z)
    least = 1 / (weights.sum() ** 2 / (weights**2).sum() + 2)
    columns = [
        IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip")
        .fit(p[:, k], y == k, weights)
        .predict(new_p[:, k])
        for k in range(3)
    ]
    found = calibration.Isotonic().fit_arrays(z, y, weights)
    found = found.transform(made.labels(new_z))
    np.testing.assert_allclose(
        found.probabilities, divided(np.stack(columns, -1)), atol=1e-6
    )


def test_histogram_binning_is_a_loop():
    z, y = made.classes(203, factor=2.0)
    p = probabilities(z)
    found = calibration.HistogramBinning(7).fit_arrays(z, y)
    q = np.empty_like(p)
    for k in range(3):
        order = np.argsort(p[:, k])
        ranks = np.empty(203, int)
        ranks[order] = np.arange(203)
        # Bin b has the ranks from ceil(203 b / 7) on.
        starts = [math.ceil(203 * b / 7 - 1e-9) for b in range(8)]
        for start, stop in itertools.pairwise(starts):
            rows = (ranks >= start) & (ranks < stop)
            q[rows, k] = np.clip((y[rows] == k).mean(), 1 / 205, 204 / 205)
    after = found.transform(made.labels(z)).probabilities
    np.testing.assert_allclose(after, divided(q), atol=1e-9)


def test_bbq_is_the_average_of_binnings():
    """By the formulas of Naeini et al., one bin and one row at a time."""
    rng = np.random.default_rng(0)
    z = 2 * rng.standard_normal((1, 60, 1))
    y = (rng.uniform(size=(60, 1)) < special.expit(z[0] / 2)).astype(int)
    p = special.expit(z[0, :, 0])
    order = np.sort(p)
    logs, predictions = [], []
    root = 60 ** (1 / 3)
    for count in range(1, 31):
        if not int(root / 10) <= count <= int(root * 10):
            continue
        cuts = [math.ceil(60 * b / count - 1e-9) for b in range(1, count)]
        edges = [0.0, *(0.5 * (order[c - 1] + order[c]) for c in cuts), 1.0]
        total, levels = 0.0, np.empty(60)
        for low, high in itertools.pairwise(edges):
            rows = (p >= low) & (p < high)
            n, m = rows.sum(), y[rows, 0].sum()
            alpha = 2 / count * 0.5 * (low + high)
            beta = 2 / count - alpha
            total += math.lgamma(2 / count) - math.lgamma(n + 2 / count)
            total += math.lgamma(m + alpha) - math.lgamma(alpha)
            total += math.lgamma(n - m + beta) - math.lgamma(beta)
            levels[rows] = (m + alpha) / (n + 2 / count)
        logs.append(total)
        predictions.append(levels)
    expected = special.softmax(logs) @ np.stack(predictions)
    yes = likelihoods.Bernoulli()
    found = calibration.BBQ().fit_arrays(z, y, likelihood=yes)
    after = found.transform(made.labels(z, yes))
    np.testing.assert_allclose(
        after.mean[:, 0], np.clip(expected, 1 / 62, 61 / 62), atol=1e-9
    )


def test_steps_and_lines_are_those_of_numpy():
    rng = np.random.default_rng(0)
    rows = [np.sort(rng.uniform(size=m)) for m in (1, 2, 7, 64)]
    knots = steps.padded(rows)
    own = [np.sort(rng.uniform(size=len(row))) for row in rows]
    levels = steps.padded(own)
    values = np.concatenate([rng.uniform(-0.2, 1.2, (50, 4)), knots[:, :1].T])
    lines = steps.lines(values, knots, levels).numpy()
    found = steps.steps(values, knots, levels).numpy()
    for k, (x, y) in enumerate(zip(rows, own, strict=True)):
        np.testing.assert_allclose(lines[:, k], np.interp(values[:, k], x, y))
        place = np.maximum(np.searchsorted(x, values[:, k], "right") - 1, 0)
        np.testing.assert_array_equal(found[:, k], y[place])


@pytest.mark.parametrize("name", KINDS)
def test_weights_are_rows_that_are_there_more_often(name):
    z, y = made.classes(200, factor=2.0)
    counts = np.random.default_rng(0).integers(0, 2, len(y))
    rows = np.repeat(np.arange(len(y)), counts)
    found = [
        KINDS[name]().fit_arrays(z, y, 2.0 * counts),
        KINDS[name]().fit_arrays(z[:, rows], y[rows], 2.0 * counts[rows]),
    ]
    after = [one.transform(made.labels(z)).probabilities for one in found]
    np.testing.assert_allclose(*after, atol=1e-12)


@pytest.fixture(scope="module", params=KINDS)
def mapped(request):
    z, y = made.classes(600, factor=3.0, draws=4)
    found = KINDS[request.param]().fit_arrays(z, y)
    new_z, new_y = made.classes(400, factor=3.0, draws=4, seed=1)
    raw = made.labels(new_z)
    return raw, found.transform(raw), new_y


def test_predictions_are_calibrated(mapped):
    raw, p, y = mapped
    assert np.all(p.probabilities > 0)
    np.testing.assert_allclose(p.probabilities.sum(-1), 1)
    before, after = raw.evaluate(y), p.evaluate(y)
    assert after["ece"] < before["ece"] / 1.5
    assert after["nll"] < before["nll"]
    logs = np.log(p.probabilities[np.arange(len(y)), y])
    np.testing.assert_allclose(p.log_prob(y), logs)
    np.testing.assert_allclose(p.log_prob(np.eye(3)[y]), logs)
    np.testing.assert_allclose(p.nll(y), -logs.mean())


def test_the_epistemic_share_stays(mapped):
    raw, p, _ = mapped
    shares = [q.mutual_information / q.predictive_entropy for q in (raw, p)]
    np.testing.assert_allclose(*shares, atol=1e-9)
    total = p.expected_entropy + p.mutual_information
    np.testing.assert_allclose(total, p.predictive_entropy)
    shares = [q.epistemic_variance / q.variance for q in (raw, p)]
    np.testing.assert_allclose(*shares, atol=1e-9)
    np.testing.assert_allclose(p.variance, p.mean * (1 - p.mean))
    np.testing.assert_array_equal(raw.variation_ratio, p.variation_ratio)


def test_samples_have_the_probabilities(mapped):
    """Shares are within 6 standard errors: false alarms 1e-5 in all."""
    _, p, _ = mapped
    few = p[:5]
    samples = few.sample(4000, seed=1)
    assert samples.shape == (4000, 5)
    shares = np.mean(samples[..., None] == np.arange(3), axis=0)
    errors = np.sqrt(few.mean * (1 - few.mean) / 4000)
    assert np.all(np.abs(shares - few.mean) < 6 * errors + 1e-9)
    np.testing.assert_array_equal(few.sample(7, 1), few.sample(7, 1))


def test_single_draws_are_not_calibrated(mapped):
    raw, p, _ = mapped
    assert raw.draw_means.shape == (4, 400, 3)
    with pytest.raises(ValueError, match="calibrated one by one"):
        _ = p.draw_means
    other = type(p)(p.outputs, p.likelihood.recalibrated(None))
    np.testing.assert_allclose(other.probabilities, raw.probabilities)


def test_degenerate_input():
    """One row, equal rows, classes never seen: nothing is certain."""
    for make in KINDS.values():
        for rows in (1, 5):
            z = np.zeros((1, rows, 3))
            found = make().fit_arrays(z, np.zeros(rows, int))
            p = found.transform(made.labels(z)).probabilities
            np.testing.assert_allclose(p.sum(-1), 1)
            assert np.all((p > 0) & (p < 1))
            assert np.all(np.argmax(p, -1) == 0)


def test_sure_draws_that_the_map_doubts_have_no_epistemic_part():
    z = np.array([[[40.0, -40.0]]]) * np.ones((3, 50, 1))
    y = np.arange(50) % 5 == 0
    found = calibration.Isotonic().fit_arrays(z, y.astype(int))
    p = found.transform(made.labels(z))
    np.testing.assert_allclose(p.mean[:, 1], 0.2)
    np.testing.assert_allclose(p.mutual_information, 0, atol=1e-12)
    assert np.all(p.expected_entropy > 0.4)


def test_several_labels_have_a_map_each():
    rng = np.random.default_rng(0)
    z = 2 * rng.standard_normal((3, 500, 2))
    y = rng.uniform(size=(500, 2)) < special.expit(z.mean(0) * [0.5, 1.0])
    yes = likelihoods.Bernoulli()
    found = calibration.Isotonic().fit_arrays(z, y, likelihood=yes)
    p = found.transform(made.labels(z, yes))
    for label in range(2):
        one = calibration.Isotonic().fit_arrays(
            z[..., label : label + 1], y[:, label], likelihood=yes
        )
        alone = one.transform(made.labels(z[..., label : label + 1], yes))
        np.testing.assert_allclose(p.mean[:, label], alone.mean[:, 0])
    logs = np.where(y, np.log(p.mean), np.log1p(-p.mean))
    np.testing.assert_allclose(p.log_prob(y), logs.sum(-1))
    assert p.sample(3, 0).shape == (3, 500, 2)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: calibration.HistogramBinning(0), "`num_bins` must be"),
        (lambda: calibration.HistogramBinning(5, "x"), "`strategy` must be"),
        (lambda: calibration.BBQ(0.5), "`range_factor` must be"),
        (
            lambda: calibration.Isotonic().fit(
                made.normal(made.numbers(5)[0]), np.zeros(5)
            ),
            "predictions of labels",
        ),
        (
            lambda: (
                calibration.Isotonic()
                .fit_arrays(*made.classes(50))
                .transform(made.labels(made.classes(5, 4)[0]))
                .mean
            ),
            "as many classes as it was fitted to, 3",
        ),
    ],
    ids=["num_bins", "strategy", "range", "numbers", "classes"],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
