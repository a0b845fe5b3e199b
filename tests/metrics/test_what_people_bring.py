"""Scores of numbers, ranks and selection, over the forms that data come in."""

import pickle

import numpy as np
import pytest

from tfpbnn import likelihoods, metrics
from tfpbnn.prediction.results import (
    ClassificationPredictive,
    RegressionPredictive,
)

RNG = np.random.default_rng(0)
ROWS = 24
TARGETS = RNG.normal(size=(ROWS, 2))
SAMPLES = RNG.normal(size=(5, ROWS, 2))
ENDS = TARGETS[:, ::-1] - 0.8, TARGETS[:, ::-1] + RNG.random((ROWS, 2))
LABELS = RNG.integers(0, 3, ROWS)
PROBABILITIES = RNG.dirichlet(np.ones(3), ROWS)
EVENTS = RNG.random(ROWS) < 0.4
SCORES = np.round(RNG.random(ROWS), 1)
# Of each metric targets, predictions with the axis of their rows, and options
# that are arrays of rows, or not.
ARRAYS = {
    "rmse": (TARGETS, SAMPLES[0], 0, {}, {}),
    "mae": (TARGETS, SAMPLES[0], 0, {}, {}),
    "pinball": (TARGETS, SAMPLES[:2], 1, {}, {"q": [0.2, 0.6]}),
    "crps": (TARGETS, SAMPLES, 1, {}, {}),
    "energy_score": (TARGETS, SAMPLES, 1, {}, {}),
    "variogram_score": (TARGETS, SAMPLES, 1, {}, {}),
    "coverage": (TARGETS, np.stack(ENDS), 1, {}, {}),
    "sharpness": (TARGETS, np.stack(ENDS), 1, {}, {}),
    "interval_score": (TARGETS, np.stack(ENDS), 1, {}, {}),
    "weighted_interval_score": (
        TARGETS,
        np.sort(SAMPLES[:3], axis=0),
        1,
        {},
        {"nominals": [0.5]},
    ),
    "regression_calibration_error": (TARGETS, SAMPLES, 1, {}, {}),
    "auroc": (EVENTS, SCORES, 0, {}, {}),
    "aupr": (EVENTS, SCORES, 0, {}, {}),
    "fpr_at_tpr": (EVENTS, SCORES, 0, {}, {"tpr": 0.6}),
    "aurc": (LABELS, PROBABILITIES, 0, {}, {}),
    "augrc": (LABELS, PROBABILITIES, 0, {"by": SCORES}, {}),
    "risk_at_coverage": (TARGETS, SAMPLES[0], 0, {"by": SCORES}, {}),
    "coverage_at_risk": (LABELS, PROBABILITIES, 0, {}, {"risk": 0.5}),
    "scod_aurc": (LABELS, PROBABILITIES, 0, {"is_ood": EVENTS}, {}),
    "ause": (TARGETS, SAMPLES[0], 0, {"by": SCORES}, {}),
}


def rows_of(name, rows):
    y, y_pred, axis, arrays, options = ARRAYS[name]
    return (
        y[rows],
        np.take(y_pred, rows, axis),
        {key: value[rows] for key, value in arrays.items()} | options,
    )


@pytest.mark.parametrize("name", ARRAYS)
def test_weights_are_counts_of_copies_in_any_order(name):
    """A row of weight 0 is none, whatever is in it; ratios are what counts."""
    score = getattr(metrics, name)
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 4, ROWS)
    copies = rng.permutation(np.repeat(np.arange(ROWS), counts))
    y, y_pred, options = rows_of(name, copies)
    expected = score(y, y_pred, **options)
    y, y_pred, options = rows_of(name, np.arange(ROWS))
    if y.dtype == float:
        y = np.where(counts[:, None] > 0, y, np.nan)
    found = score(y, y_pred, sample_weight=0.3 * counts, **options)
    assert found == pytest.approx(expected, rel=1e-9)
    assert found != score(*rows_of(name, np.arange(ROWS))[:2], **options)
    if y.dtype == float:
        y = np.ma.array(y, mask=np.isnan(y))
        weights = np.where(counts > 0, counts, 1)
        masked = score(y, y_pred, sample_weight=weights, **options)
        assert masked == pytest.approx(expected, rel=1e-9)
    with pytest.raises(ValueError, match="`sample_weight` must "):
        score(y, y_pred, sample_weight=counts[:7], **options)
    with pytest.raises(ValueError, match="have a place that counts"):
        score(y, y_pred, sample_weight=0 * counts, **options)


@pytest.mark.parametrize("name", ARRAYS)
def test_an_interval_holds_the_score(name):
    y, y_pred, options = rows_of(name, np.arange(ROWS))
    score = getattr(metrics, name)
    found = score(y, y_pred, n_boot=60, seed=1, **options)
    assert found == pytest.approx(score(y, y_pred, **options))
    assert found.lower <= found <= found.upper
    assert found.stderr > 0
    again = score(y, y_pred, n_boot=60, seed=1, **options)
    np.testing.assert_array_equal(found.replicates, again.replicates)
    assert pickle.loads(pickle.dumps(found)) == found


def regression(shape, seed=0, mask=None, likelihood=None):
    likelihood = likelihood or likelihoods.Normal()
    rng = np.random.default_rng(seed)
    k = shape[-1]
    outputs = rng.normal(size=(*shape[:-1], likelihood.params_size(k)))
    return RegressionPredictive(outputs, likelihood, mask=mask)


OF_NUMBERS = [
    "rmse",
    "mae",
    "pinball",
    "crps",
    "energy_score",
    "variogram_score",
    "coverage",
    "sharpness",
    "interval_score",
    "weighted_interval_score",
    "regression_calibration_error",
    "aurc",
    "augrc",
    "risk_at_coverage",
    "ause",
]
SEEDED = {"energy_score", "variogram_score"}


@pytest.fixture(scope="module")
def steps():
    """A prediction of steps that are padded, and the same places as rows."""
    mask = np.arange(5) < np.array([5, 3, 1, 4])[:, None]
    padded = regression((3, 4, 5, 2), mask=mask)
    return padded, RegressionPredictive(
        padded.outputs[:, mask], padded.likelihood
    )


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_padded_steps_are_left_out_whatever_they_hold(steps, name):
    padded, rows = steps
    y = np.random.default_rng(1).normal(size=(4, 5, 2))
    score = getattr(metrics, name)
    options = {"seed": 0, "num_samples": 4} if name in SEEDED else {}
    expected = score(y[padded.mask], rows, **options)
    y[~padded.mask] = np.nan
    assert score(y, padded, **options) == pytest.approx(expected)
    # A resample takes rows with all their steps.
    found = score(y, padded, n_boot=20, **({"seed": 0} | options))
    assert len(found.rows) == 4


OF_LABELS = {
    "aurc": {},
    "augrc": {"loss": "brier"},
    "risk_at_coverage": {},
    "coverage_at_risk": {"risk": 0.6},
    "ause": {"by": "mutual_information"},
    "auroc": {"event": "error"},
    "aupr": {"event": "error", "by": "predictive_entropy"},
    "fpr_at_tpr": {"event": "error"},
}


@pytest.mark.parametrize("name", OF_LABELS)
def test_labels_to_ignore_and_padded_ones_are_left_out(name):
    mask = np.arange(5) < np.array([5, 3, 2, 4])[:, None]
    rng = np.random.default_rng(0)
    outputs, y = rng.normal(size=(3, 4, 5, 3)), rng.integers(0, 3, (4, 5))
    y[0, :2] = 255
    kept = mask & (y != 255)
    likelihood = likelihoods.Categorical(ignore_class=255)
    padded = ClassificationPredictive(outputs, likelihood, mask=mask)
    rows = ClassificationPredictive(outputs[:, kept], likelihood)
    score, options = getattr(metrics, name), OF_LABELS[name]
    expected = score(y[kept], rows, **options)
    assert score(y, padded, **options) == pytest.approx(expected)
    by = metrics.uncertainty(padded, options.get("by"))
    found = score(y, padded, **options | {"by": by})
    assert found == pytest.approx(expected)


def test_yes_or_no_labels_are_places_of_their_own():
    rng = np.random.default_rng(0)
    outputs, y = rng.normal(size=(3, 20, 2)), rng.integers(0, 2, (20, 2))
    p = ClassificationPredictive(outputs, likelihoods.Bernoulli())
    for name, options in OF_LABELS.items():
        if name == "coverage_at_risk":
            continue
        flat = ClassificationPredictive(
            outputs.reshape(3, 40, 1), likelihoods.Bernoulli()
        )
        score = getattr(metrics, name)
        found, expected = (
            score(y, p, **options),
            score(y.reshape(40, 1), flat, **options),
        )
        assert found == pytest.approx(expected)
    found = metrics.auroc(y, p, event="label")
    assert found == pytest.approx(metrics.auroc(y, p.mean))


def test_forms_of_arrays():
    """What has other shapes or types, and no other numbers."""
    found = metrics.auroc(EVENTS, SCORES[:, None])
    assert found == metrics.auroc(EVENTS[:, None].tolist(), SCORES)
    assert found == metrics.auroc(EVENTS.astype(int), SCORES.astype("float32"))
    open_ends = np.full(ROWS, -np.inf), SCORES
    found = metrics.coverage(TARGETS[:, 0], open_ends)
    assert found == np.mean(TARGETS[:, 0] <= SCORES)
    assert found == metrics.coverage(TARGETS[:, 0], *open_ends)


def test_one_hot_labels_are_labels():
    found = metrics.aurc(np.eye(3)[LABELS], PROBABILITIES, loss="error")
    assert found == metrics.aurc(LABELS, PROBABILITIES)
    p = ClassificationPredictive(
        np.log(PROBABILITIES)[None], likelihoods.Categorical()
    )
    assert metrics.aurc(np.eye(3)[LABELS], p) == pytest.approx(found)
    hot = np.where(EVENTS[:, None], np.nan, np.eye(3)[LABELS])
    found = metrics.scod_aurc(hot, p, is_ood=EVENTS)
    expected = metrics.scod_aurc(LABELS, PROBABILITIES, is_ood=EVENTS)
    assert found == pytest.approx(expected)


def test_a_last_axis_of_one_may_be_there_or_not():
    y, mean = TARGETS[:, 0], SAMPLES[0, :, 0]
    expected = metrics.rmse(y, mean)
    assert metrics.rmse(y, mean[:, None]) == expected
    assert metrics.rmse(y[:, None], mean) == expected
    samples = SAMPLES[..., 0]
    found = metrics.crps(y, samples[..., None])
    assert found == metrics.crps(y, samples)
    found = metrics.ause(y, mean[:, None], by=SCORES)
    assert found == metrics.ause(y[:, None], mean, by=SCORES[:, None])


def test_rows_in_and_out_of_the_distribution():
    rng = np.random.default_rng(0)
    mask = np.arange(4) < np.array([4, 2, 3])[:, None]
    outputs, far = rng.normal(size=(3, 3, 4, 3)), rng.normal(size=(3, 5, 4, 3))
    kind = likelihoods.Categorical()
    inside = ClassificationPredictive(4 * outputs, kind, mask=mask)
    outside = ClassificationPredictive(far, kind)
    pair = metrics.in_and_out(inside, outside, by="predictive_entropy")
    scores = [
        metrics.uncertainty(p, "predictive_entropy") for p in (inside, outside)
    ]
    flat = scores[0][mask], scores[1].ravel()
    expected = metrics.auroc(*metrics.in_and_out(*flat))
    assert metrics.auroc(*pair) == pytest.approx(expected)
    together = ClassificationPredictive(
        np.concatenate([4 * outputs, far], axis=1),
        kind,
        mask=np.concatenate([mask, np.ones((5, 4), bool)]),
    )
    found = metrics.auroc(
        np.arange(8) >= 3, together, event="ood", by="predictive_entropy"
    )
    assert found == pytest.approx(expected)
    # Without errors of its own, what is foreign is all that costs.
    y = np.where(np.arange(8)[:, None] < 3, together.labels, -1)
    found = metrics.scod_aurc(
        y, together, is_ood=np.arange(8) >= 3, ood_cost=1.0
    )
    wrong = np.where(np.arange(8)[:, None] < 3, together.labels, 0)
    wrong[3:] = (together.labels[3:] + 1) % 3
    assert found == pytest.approx(metrics.aurc(wrong, together))


def test_two_models_on_the_same_rows():
    rng = np.random.default_rng(0)
    y = rng.normal(size=60)
    good, bad = y + 0.1 * rng.normal(size=60), y + rng.normal(size=60)
    found = metrics.compare(metrics.rmse, y, good, bad, n_boot=200, seed=0)
    assert found.difference.upper < 0
    assert found.p_value < 0.01
