"""Scores of labels against other packages, loops and their definitions."""

import json
import math
import pathlib

import numpy as np
import pytest
from scipy import integrate, stats
from sklearn import metrics as sklearn

from tfpbnn import metrics
from tfpbnn.likelihoods import Bernoulli, Categorical
from tfpbnn.prediction.results import ClassificationPredictive

DATA = pathlib.Path(__file__).parents[1] / "data" / "class_scores.json"
KEPT = json.loads(DATA.read_text())
X = {name: np.array(value) for name, value in KEPT["inputs"].items()}
P, Y = X["draws"].mean(axis=0), X["labels"]
PIXELS = X["pixel_labels"], X["pixels"]

# What torch-uncertainty, netcal, relplot and glest say, at their precision.
OTHERS = {
    "nll": lambda: metrics.nll(Y, P),
    "brier": lambda: metrics.brier(Y, P),
    "mass": lambda: metrics.ece(Y, P, 10, bins="mass"),
    "classes": lambda: metrics.ece(Y, P, 10, of="classes"),
    "ece_netcal": lambda: metrics.ece(Y, P, 10),
    "mce_netcal": lambda: metrics.mce(Y, P, 10),
    "ece_l1": lambda: metrics.ece(Y, P, 10),
    "ece_l2": lambda: metrics.ece(Y, P, 10, norm=2),
    "ece_max": lambda: metrics.mce(Y, P, 10),
    "smooth": lambda: metrics.smooth_ece(Y, P),
    "smooth_relplot": lambda: metrics.smooth_ece(Y, P),
    "disagreement": lambda: metrics.disagreement(X["draws"]),
    "set_size": lambda: metrics.set_size(X["sets"]),
    "set_coverage": lambda: metrics.set_coverage(Y, X["sets"]),
    "mean_iou": lambda: metrics.mean_iou(*PIXELS),
    # Of the same half of rows to find groups, by that seed.
    "grouping": lambda: metrics.grouping_loss(
        X["is_right"],
        X["confidence"],
        X["features"],
        5,
        of="classes",
        num_groups=8,
        seed=0,
    ),
    "pavpu": lambda: (
        metrics.pavpu(
            *PIXELS, 1 - X["pixels"].max(-1), threshold=0.4, accuracy=0.4
        ).pavpu
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_packages_agree(name):
    # Theirs of smooth ECE has a bandwidth to within 1e-3.
    tolerance = 2e-4 if name.startswith("smooth") else 1e-7
    expected = KEPT["expected"][name]
    assert OTHERS[name]() == pytest.approx(expected, abs=tolerance)


def test_all_that_is_kept_is_used():
    assert set(OTHERS) == set(KEPT["expected"])


def test_sklearn_agrees():
    exact = P / P.sum(axis=-1, keepdims=True)
    assert metrics.nll(Y, exact) == pytest.approx(sklearn.log_loss(Y, exact))
    assert metrics.accuracy(Y, P) == sklearn.accuracy_score(Y, P.argmax(-1))
    yes = P[:, 1]
    expected = 2 * sklearn.brier_score_loss(Y == 1, yes)
    assert metrics.brier(Y == 1, yes) == pytest.approx(expected)
    labels, p = PIXELS
    each = sklearn.jaccard_score(
        labels.ravel(), p.argmax(-1).ravel(), average="macro"
    )
    assert metrics.mean_iou(labels, p) == pytest.approx(each)


def loop_ece(y, p, num_bins, of):
    """ECE from its definition, bin by bin, in bins of equal mass."""
    kinds = {
        "confidence": [(p.max(-1), p.argmax(-1) == y)],
        "classes": [(p[:, k], y == k) for k in range(p.shape[1])],
        "top_label": [
            (p.max(-1)[p.argmax(-1) == k], (y == k)[p.argmax(-1) == k])
            for k in range(p.shape[1])
        ],
    }[of]
    total = sum(len(q) for q, _ in kinds)
    error = 0.0
    for q, came in kinds:
        order = np.argsort(q)
        for rows in np.array_split(order, num_bins):
            if len(rows):
                gap = abs(np.mean(q[rows]) - np.mean(came[rows]))
                error += len(rows) / total * gap
    return error


@pytest.mark.parametrize("of", ["confidence", "classes"])
def test_bins_of_equal_mass(of):
    found = metrics.ece(Y, P, 10, bins="mass", of=of)
    assert found == pytest.approx(loop_ece(Y, P, 10, of))


def test_top_labels_are_apart():
    """Errors of two classes that cancel in confidences don't in these."""
    p = np.array([[0.7, 0.3]] * 10 + [[0.3, 0.7]] * 10)
    y = np.array([0] * 10 + [1] * 4 + [0] * 6)
    assert metrics.ece(y, p) == pytest.approx(0)
    assert metrics.ece(y, p, of="top_label") == pytest.approx(0.3)
    found = metrics.ece(Y, P, 1, of="top_label")
    assert found == pytest.approx(loop_ece(Y, P, 1, "top_label"))


def test_ties_are_in_one_bin_in_any_order():
    """Else a constant probability would be miscalibrated by order alone."""
    p, y = np.full(100, 0.7), np.arange(100) < 70
    assert metrics.ece(y, p, bins="mass") == pytest.approx(0)
    order = np.random.default_rng(0).permutation(60)
    rounded = np.round(P[:, 1], 1)
    for function in (metrics.ace, metrics.ece, metrics.smooth_ece):
        found = function(Y == 1, rounded)
        again = function((Y == 1)[order], rounded[order])
        assert found == pytest.approx(again, rel=1e-6)


def calibrated(rows, seed, overconfident=0.0):
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.5, 0.9, rows)
    return rng.random(rows) < p, p + overconfident * (1 - p)


def test_without_bias_a_calibrated_model_is_calibrated():
    """The mean square is 0 on average; the plain one is not.

    The mean over 200 data sets is compared with 4 standard errors: false alarms
    are below 1 in 10,000.
    """
    squares, plain = [], []
    for seed in range(200):
        y, p = calibrated(300, seed)
        # Signs are needed, which the root cuts off.
        weight, events, forecast = (
            np.histogram(p, 15, (0, 1), weights=w)[0]
            for w in (np.ones(300), 1.0 * y, p)
        )
        gap = (events - forecast)[weight > 1] / weight[weight > 1]
        rate = (events / np.maximum(weight, 1))[weight > 1]
        noise = rate * (1 - rate) / (weight[weight > 1] - 1)
        square = np.sum(weight[weight > 1] * (gap**2 - noise)) / 300
        squares.append(square)
        found = metrics.ece(y, p, of="classes", norm=2, debias=True)
        assert found == pytest.approx(math.sqrt(max(square, 0)))
        plain.append(metrics.ece(y, p, norm=2) ** 2)
    error = np.std(squares) / math.sqrt(200)
    assert abs(np.mean(squares)) < 4 * error
    assert np.mean(plain) > 20 * error


@pytest.mark.parametrize("overconfident", [0.0, 0.3])
def test_smooth_ece_is_its_definition(overconfident):
    """The integral of smoothed residuals, at the bandwidth that equals it."""
    y, p = calibrated(80, 1, overconfident)
    found = metrics.smooth_ece(y, p, of="classes")

    def smooth(t):
        images = [s * p + 2 * k for s in (1, -1) for k in (-1, 0, 1)]
        kernel = sum(stats.norm.pdf(t, image, found) for image in images)
        return abs(np.mean((y - p) * kernel))

    points = np.linspace(0, 1, 2001)
    error = integrate.simpson([smooth(t) for t in points], x=points)
    assert error == pytest.approx(found, rel=1e-3)


def test_smooth_ece_knows_the_overconfident():
    """0.12 above at 0.3 of the way to 1; chance adds 0.02 to 0."""
    for seed in range(10):
        good = metrics.smooth_ece(*calibrated(2000, seed))
        bad = metrics.smooth_ece(*calibrated(2000, seed, 0.4))
        assert good < 0.04 < 0.09 < bad


@pytest.mark.parametrize("num_bins", [1, 7, 10])
@pytest.mark.parametrize("weighted", [False, True])
def test_parts_of_brier_add_up(num_bins, weighted):
    weights = np.random.default_rng(0).random(60) if weighted else None
    parts = metrics.brier_parts(Y, P, num_bins, weights)
    total = parts.reliability - parts.resolution + parts.uncertainty
    total += parts.within_variance - parts.within_covariance
    assert total == pytest.approx(metrics.brier(Y, P, weights), abs=1e-12)


def test_parts_of_brier_are_murphys():
    """Of probabilities that are the bins' values, nothing is within bins."""
    p = np.array([0.2, 0.2, 0.2, 0.8, 0.8])
    y = np.array([0, 0, 1, 1, 1])
    parts = metrics.brier_parts(y, p, 5)
    reliability = (3 * (0.2 - 1 / 3) ** 2 + 2 * 0.2**2) / 5
    resolution = (3 * (1 / 3 - 0.6) ** 2 + 2 * 0.4**2) / 5
    assert parts.reliability == pytest.approx(2 * reliability)
    assert parts.resolution == pytest.approx(2 * resolution)
    assert parts.uncertainty == pytest.approx(2 * 0.6 * 0.4)
    assert parts[3:] == pytest.approx((0, 0))


@pytest.mark.parametrize("score", [metrics.nll, metrics.brier])
def test_the_true_distribution_scores_best(score):
    """In expectation, exactly: with the truth as weights of all labels."""
    truth = np.array([0.5, 0.3, 0.2])

    def expected(p):
        return score(np.arange(3), np.tile(p, (3, 1)), truth)

    rng = np.random.default_rng(0)
    best = expected(truth)
    assert all(expected(p) > best for p in rng.dirichlet(np.ones(3), 50))


def test_nll_of_an_impossible_label_is_infinite():
    assert metrics.nll([1, 0], [0.0, 0.0]) == math.inf
    with pytest.raises(ValueError, match="must be None where the score is not"):
        metrics.nll([1, 0], [0.0, 0.0], n_boot=5)


def prediction(seed=0, shape=(7, 40, 3), kind=Categorical):
    outputs = np.random.default_rng(seed).normal(size=shape)
    return ClassificationPredictive(2 * outputs, kind())


def test_votes_are_counted():
    p = prediction()
    top = p.likelihood.distribution(p.outputs).probs_parameter().numpy()
    top = top.argmax(-1)
    pairs = [
        np.mean(top[i] != top[j]) for i in range(7) for j in range(7) if i != j
    ]
    assert metrics.disagreement(p) == pytest.approx(np.mean(pairs))
    most = [np.bincount(column).max() for column in top.T]
    assert metrics.variation_ratio(p) == pytest.approx(1 - np.mean(most) / 7)
    weights = np.arange(40.0)
    found = metrics.variation_ratio(p, weights, n_boot=5, seed=0)
    expected = np.average(p.variation_ratio, weights=weights)
    assert found == pytest.approx(expected)


def test_sets_are_the_smallest_of_their_mass():
    p = prediction()
    sizes, inside = [], []
    y = np.random.default_rng(1).integers(0, 3, 40)
    for row, label in zip(p.probabilities, y, strict=True):
        order = np.argsort(-row)
        size = next(n for n in (1, 2, 3) if row[order[:n]].sum() >= 0.8)
        sizes.append(size)
        inside.append(label in order[:size])
    assert metrics.set_size(p, 0.8) == pytest.approx(np.mean(sizes))
    assert metrics.set_coverage(y, p, 0.8) == np.mean(inside)
    # Rounding must not add a class: 0.6 + 0.3 is 0.8999...
    assert metrics.set_size(np.array([[0.6, 0.3, 0.1]]), 0.9) == 2
    empty = np.zeros((2, 3), bool)
    assert metrics.set_size(empty) == metrics.set_coverage([0, 1], empty) == 0


def test_patches_leave_out_what_is_masked():
    labels, p = PIXELS
    hidden = np.zeros(labels.shape, bool)
    hidden[0, :, 4:] = hidden[1, 1] = True
    given = np.where(hidden, 255, labels)
    found = metrics.pavpu(np.ma.array(given, mask=hidden), p, patch_size=4)
    entropy = -np.sum(p * np.log(p), axis=-1)
    counts = np.zeros((2, 2))
    for image, top, left in np.ndindex(2, 2, 2):
        part = np.s_[image, 4 * top : 4 * top + 4, 4 * left : 4 * left + 4]
        seen = ~hidden[part]
        if seen.any():
            right = (p.argmax(-1) == labels)[part][seen].mean() > 0.5
            doubt = entropy[part][seen].mean() > entropy[~hidden].mean()
            counts[int(right), int(doubt)] += 1
    assert counts.sum() == 6
    assert found.pavpu == (counts[1, 0] + counts[0, 1]) / 6
    assert found.uncertain_if_inaccurate == pytest.approx(
        counts[0, 1] / counts[0].sum()
    )


def test_grouping_loss_is_what_features_tell():
    """Groups of 0.9 and 0.5 below a confidence of 0.7: 0.04.

    Over 40 data sets, with 4 standard errors: false alarms are below 1 in
    10,000. The same model that knows the groups has none to find, nor has a
    calibrated one where groups have few rows, and many have one.
    """
    found = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x = rng.integers(0, 2, 400)
        truth = np.where(x, 0.9, 0.5)
        y = rng.random(400) < truth
        blind = metrics.grouping_loss(y, np.full(400, 0.7), x, seed=seed)
        knowing = metrics.grouping_loss(
            y, truth, rng.normal(size=(400, 2)), of="classes", seed=seed
        )
        p = rng.uniform(0.3, 0.7, 60)
        few = metrics.grouping_loss(
            rng.random(60) < p, p, rng.normal(size=(60, 2)), of="classes",
            seed=seed,
        )  # fmt: skip
        found.append([blind, knowing, few])
    mean, error = np.mean(found, axis=0), np.std(found, axis=0) / math.sqrt(40)
    assert np.all(np.abs(mean - [0.04, 0.0, 0.0]) < 4 * error)
    assert mean[0] > 10 * error[0]


def test_yes_or_no_labels_are_places_of_their_own():
    p = prediction(shape=(5, 20, 3), kind=Bernoulli)
    y = np.random.default_rng(0).integers(0, 2, (20, 3))
    flat = y.ravel(), p.probabilities.ravel()
    for name in ("accuracy", "brier", "ece", "ace", "smooth_ece", "mean_iou"):
        score = getattr(metrics, name)
        assert score(y, p) == pytest.approx(score(*flat), rel=1e-6), name
    # The nll is joint, for three labels at a time.
    assert metrics.nll(y, p) == pytest.approx(p.nll(y))
