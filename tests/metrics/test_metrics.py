"""Scores against loops and scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as reference

from tfpbnn import metrics


def make(num_classes, count=500, seed=0):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(num_classes), count)
    return rng.integers(0, num_classes, count), probabilities


def test_rmse():
    y, mean = np.random.default_rng(0).standard_normal((2, 50, 3))
    expected = reference.mean_squared_error(y.ravel(), mean.ravel()) ** 0.5
    assert metrics.rmse(y, mean) == pytest.approx(expected)
    assert metrics.rmse(np.array([1.0, 5.0]), np.array([4.0, 1.0])) == (
        pytest.approx(np.sqrt(12.5))
    )


def test_coverage_counts_both_ends():
    y = np.array([0.0, 1.0, 2.0, 3.0, -1.0])
    assert metrics.coverage(y, np.zeros(5), np.full(5, 2.0)) == 0.6


def test_calibration_curve_is_a_distribution_function():
    pit = np.random.default_rng(0).random((40, 2)) ** 2
    levels = np.array([0.0, 0.1, 0.5, 1.0])
    expected = [
        sum(value <= level for value in pit.ravel()) / 80 for level in levels
    ]
    found = metrics.calibration_curve(pit, levels)
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize(
    ("pit", "expected"),
    [
        # Always beyond the highest quantile, or before the lowest.
        (np.full(7, 0.99), 0.5),
        (np.full(7, 0.01), 0.5),
        # Evenly spread: each level is met.
        (np.arange(0.025, 1, 0.05), 0.0),
        # Always in the middle: |1{level >= 1/2} - level| over 19 levels.
        (np.full(7, 0.5), (2 * 0.05 * 45 + 0.5) / 19),
    ],
)
def test_calibration_error(pit, expected):
    assert metrics.calibration_error(pit) == pytest.approx(expected)


@pytest.mark.parametrize("num_classes", [2, 5])
def test_accuracy(num_classes):
    labels, probabilities = make(num_classes)
    expected = reference.accuracy_score(labels, probabilities.argmax(-1))
    assert metrics.accuracy(labels, probabilities) == pytest.approx(expected)


@pytest.mark.parametrize("num_classes", [2, 5])
def test_brier(num_classes):
    labels, probabilities = make(num_classes)
    expected = np.mean(
        [
            sum((p[k] - (k == label)) ** 2 for k in range(num_classes))
            for label, p in zip(labels, probabilities, strict=True)
        ]
    )
    found = metrics.brier(labels, probabilities)
    assert found == pytest.approx(expected, rel=1e-5)
    if num_classes == 2:  # scikit-learn's counts one of the two classes.
        half = reference.brier_score_loss(labels, probabilities[:, 1])
        assert found == pytest.approx(2 * half, rel=1e-5)


@pytest.mark.parametrize(("label", "expected"), [(0, 0.0), (1, 2.0)])
def test_brier_of_certainty(label, expected):
    found = metrics.brier(np.array([label]), np.array([[1.0, 0.0]]))
    assert found == pytest.approx(expected, abs=1e-6)


def loop_ece(labels, probabilities, num_bins):
    confidence = probabilities.max(axis=-1)
    right = probabilities.argmax(axis=-1) == labels
    bins = np.minimum((confidence * num_bins).astype(int), num_bins - 1)
    error = 0.0
    for i in range(num_bins):
        inside = bins == i
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            error += inside.sum() / len(labels) * gap
    return error


@pytest.mark.parametrize("num_bins", [1, 10, 15])
@pytest.mark.parametrize("num_classes", [2, 5])
def test_ece(num_classes, num_bins):
    labels, probabilities = make(num_classes)
    expected = loop_ece(labels, probabilities, num_bins)
    found = metrics.ece(labels, probabilities, num_bins)
    assert found == pytest.approx(expected, rel=1e-4)
    assert found > 0.01


def test_ece_of_known_cases():
    sure = np.array([[1.0, 0.0]] * 4)
    assert metrics.ece(np.zeros(4), sure) == pytest.approx(0, abs=1e-6)
    assert metrics.ece(np.ones(4), sure) == pytest.approx(1, abs=1e-6)
    # Three in four are right, as announced.
    fair = np.array([[0.75, 0.25]] * 4)
    labels = np.array([0, 0, 0, 1])
    assert metrics.ece(labels, fair) == pytest.approx(0, abs=1e-6)


def test_more_axes_are_more_rows():
    labels, probabilities = make(4, 60)
    for score in (metrics.accuracy, metrics.brier, metrics.ece):
        folded = score(labels.reshape(20, 3), probabilities.reshape(20, 3, 4))
        assert folded == pytest.approx(score(labels, probabilities))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("name", "score"),
    [
        ("y_true", lambda y: metrics.rmse(y, np.zeros(3))),
        ("y_true", lambda y: metrics.coverage(y, np.zeros(3), np.ones(3))),
        ("pit", metrics.calibration_error),
        ("y_true", lambda y: metrics.accuracy(y, np.full((3, 2), 0.5))),
        ("y_true", lambda y: metrics.brier(y, np.full((3, 2), 0.5))),
        ("y_true", lambda y: metrics.ece(y, np.full((3, 2), 0.5))),
    ],
)
def test_what_is_not_finite_is_no_number(name, score, bad):
    message = rf"`{name}` must be finite. Received: 1 .* index \(2,"
    with pytest.raises(ValueError, match=message):
        score(np.array([0.0, 1.0, bad]))


WEIGHTED = {
    "rmse": lambda rng, n: (rng.normal(size=(n, 2)), rng.normal(size=(n, 2))),
    "coverage": lambda rng, n: (
        rng.normal(size=(n, 2)),
        np.full((n, 2), -1.0),
        np.full((n, 2), 0.5),
    ),
    "calibration_error": lambda rng, n: (rng.uniform(size=(n, 2)),),
    "accuracy": lambda rng, n: (
        rng.integers(0, 3, n),
        rng.dirichlet([1, 1, 1], n),
    ),
    "brier": lambda rng, n: (
        rng.integers(0, 3, n),
        rng.dirichlet([1, 1, 1], n),
    ),
    "ece": lambda rng, n: (
        rng.integers(0, 3, n),
        rng.dirichlet([1, 1, 1], n),
    ),
    "mean": lambda rng, n: (rng.normal(size=(n, 2)),),
}


@pytest.mark.parametrize("name", WEIGHTED)
def test_weights_are_counts_of_copies(name):
    """A row of weight 0 is none; all that matters are ratios."""
    rng = np.random.default_rng(0)
    arrays = WEIGHTED[name](rng, 40)
    counts = rng.integers(0, 4, 40)
    score = getattr(metrics, name)
    expected = score(*(np.repeat(array, counts, axis=0) for array in arrays))
    found = score(*arrays, sample_weight=0.3 * counts)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert found != score(*arrays)
    with pytest.raises(ValueError, match="`sample_weight` must "):
        score(*arrays, sample_weight=counts[:7])


def test_calibration_of_counts_is_the_mean_over_random_places():
    rng = np.random.default_rng(0)
    below = rng.uniform(0, 0.5, 50)
    pit = below + rng.uniform(0, 0.5, 50)
    levels = np.linspace(0, 1, 11)
    places = below + rng.uniform(size=(20_000, 50)) * (pit - below)
    expected = np.mean(places[..., None] <= levels, axis=(0, 1))
    found = metrics.calibration_curve(pit, levels, below=below)
    np.testing.assert_allclose(found, expected, atol=3e-3)
