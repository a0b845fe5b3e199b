"""Scores of the places that count: masks, weights and ignored labels."""

import functools

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from tfpbnn import likelihoods, metrics, plots
from tfpbnn.prediction.results import (
    ClassificationPredictive,
    RegressionPredictive,
)

SHAPE = (4, 3)  # of the places
RNG = np.random.default_rng(0)
IGNORED = 7
# The likelihood, its outputs for a place, and what makes targets.
KINDS = {
    "normal": (
        likelihoods.Normal(),
        4,
        lambda shape: RNG.normal(size=(*shape, 2)),
    ),
    "poisson": (
        likelihoods.Poisson(),
        1,
        lambda shape: RNG.poisson(2, shape),
    ),
    "categorical": (
        likelihoods.Categorical(ignore_class=IGNORED),
        3,
        lambda shape: RNG.integers(0, 3, shape),
    ),
    "bernoulli": (
        likelihoods.Bernoulli(),
        2,
        lambda shape: RNG.integers(0, 2, (*shape, 2)),
    ),
}
settings = hypothesis.settings(
    max_examples=5, deadline=None, derandomize=True, database=None
)
masks = st.lists(st.booleans(), min_size=12, max_size=12).filter(any)
numbers = st.sampled_from([0.0, -1.0, 1e6, np.nan, np.inf])


@functools.cache
def case(kind):
    likelihood, size, targets = KINDS[kind]
    outputs = RNG.normal(size=(5, *SHAPE, size)).astype("float32")
    return likelihood, outputs, targets(SHAPE).astype(float)


def predictive(likelihood, outputs, mask=None):
    kind = RegressionPredictive
    if likelihood.is_classification:
        kind = ClassificationPredictive
    return kind(outputs, likelihood, mask=mask)


def assert_same(found, expected, **tolerance):
    assert list(found) == list(expected)
    for name in found:
        np.testing.assert_allclose(
            found[name], expected[name], err_msg=name, **tolerance
        )


@pytest.mark.parametrize("kind", KINDS)
@settings
@hypothesis.given(mask=masks, target=numbers, output=numbers)
def test_what_stands_at_places_that_do_not_count_changes_no_score(
    kind, mask, target, output
):
    likelihood, outputs, y = case(kind)
    mask = np.reshape(mask, SHAPE)
    expected = predictive(likelihood, outputs[:, mask]).evaluate(y[mask])
    y, outputs = y.copy(), outputs.copy()
    y[~mask], outputs[:, ~mask] = target, output
    p = predictive(likelihood, outputs, mask)
    assert_same(p.evaluate(y), expected, rtol=0)
    q = predictive(likelihood, outputs)
    assert_same(q.evaluate(y, mask.astype(float)), expected, rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@settings
@hypothesis.given(order=st.permutations(range(4)), data=st.data())
def test_the_order_of_rows_changes_no_score(kind, order, data):
    likelihood, outputs, y = case(kind)
    mask = np.reshape(data.draw(masks), SHAPE)
    weights = RNG.uniform(1, 2, SHAPE)
    p = predictive(likelihood, outputs, mask)
    q = predictive(likelihood, outputs[:, order], mask[order])
    expected = p.evaluate(y, weights)
    assert_same(q.evaluate(y[order], weights[order]), expected, rtol=1e-6)
    assert_same(
        p[order].evaluate(y[order], weights[order]), expected, rtol=1e-6
    )


@pytest.mark.parametrize("kind", KINDS)
@settings
@hypothesis.given(
    counts=st.lists(st.integers(0, 3), min_size=12, max_size=12).filter(any)
)
def test_weights_are_counts_of_copies(kind, counts):
    likelihood, outputs, y = case(kind)
    flat = outputs.reshape(5, 12, -1), y.reshape(12, *y.shape[2:])
    copies = np.repeat(flat[0], counts, axis=1), np.repeat(flat[1], counts, 0)
    expected = predictive(likelihood, copies[0]).evaluate(copies[1])
    weights = np.reshape(counts, SHAPE)
    p = predictive(likelihood, outputs)
    assert_same(p.evaluate(y, weights), expected, rtol=1e-6, atol=1e-9)
    found = p.evaluate(y, 0.25 * weights[..., None])
    assert_same(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_rows_by_hand(kind):
    likelihood, outputs, y = case(kind)
    weights = np.array([0.0, 1, 2, 5])
    p = predictive(likelihood, outputs)
    expected = -np.average(p.log_prob(y).mean(axis=1), weights=weights)
    assert p.nll(y, weights) == pytest.approx(expected)
    if likelihood.is_classification:
        right = p.labels == y
        right = right.reshape(4, -1).mean(axis=1)
        expected = np.average(right, weights=weights)
        assert p.accuracy(y, weights) == pytest.approx(expected)
        return
    targets = y.reshape(p.mean.shape)
    errors = np.square(targets - p.mean).mean(axis=(1, 2))
    expected = np.sqrt(np.average(errors, weights=weights))
    assert p.rmse(y, weights) == pytest.approx(expected)
    each = [p[row].crps(y[[row]]) for row in range(4)]
    expected = np.average(each, weights=weights)
    assert p.crps(y, weights) == pytest.approx(expected)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_without_draws_leave_out_what_does_not_count(kind):
    likelihood, outputs, y = case(kind)
    mask = RNG.random(SHAPE) < 0.5
    full = predictive(likelihood, outputs)
    p = type(full).without_draws(
        5, full.summaries, likelihood, "coherent", mask=mask
    )
    bad = np.where(mask if y.ndim == 2 else mask[..., None], y, np.nan)
    found = p.evaluate(bad)
    expected = predictive(likelihood, outputs, mask).evaluate(bad)
    assert_same(found, {name: expected[name] for name in found}, rtol=1e-6)
    assert p[1:].mask.tolist() == mask[1:].tolist()


def test_ignored_labels_are_left_out():
    likelihood, outputs, y = case("categorical")
    kept = RNG.random(SHAPE) < 0.5
    ignored = np.where(kept, y, IGNORED)
    p = predictive(likelihood, outputs)
    expected = predictive(likelihood, outputs[:, kept]).evaluate(y[kept])
    assert_same(p.evaluate(ignored), expected, rtol=0)
    assert np.array_equal(np.isnan(p.log_prob(ignored)), ~kept)
    assert p.confidence(ignored)[0].shape == (kept.sum(),)


@pytest.mark.parametrize("method", ["log_prob", "cdf", "pit"])
def test_arrays_of_targets_are_nan_where_masked(method):
    likelihood, outputs, y = case("normal")
    mask = RNG.random(SHAPE) < 0.5
    y = np.where(mask[..., None], y, np.nan)
    found = getattr(predictive(likelihood, outputs, mask), method)(y)
    expected = getattr(predictive(likelihood, outputs[:, mask]), method)(
        y[mask]
    )
    np.testing.assert_array_equal(found[mask], expected)
    assert np.all(np.isnan(found[~mask]))


def test_tables_are_nan_where_masked_and_outputs_stay():
    likelihood, outputs, _ = case("categorical")
    mask = np.ones(SHAPE, bool)
    mask[:2, 0] = False
    p = predictive(likelihood, outputs, mask)
    table = p.to_dict()
    for name in ("label", "probability", "mutual_information"):
        assert np.isnan(table[f"{name}_0"]).tolist() == [True] * 2 + [False] * 2
        assert not np.isnan(table[f"{name}_1"]).any()
    assert "nan" in repr(p)
    np.testing.assert_array_equal(p.outputs, outputs)
    assert np.all(np.isfinite(p.mean))


@pytest.mark.parametrize(
    ("kind", "axes", "expected"),
    [
        ("normal", 1, {"nll": "row", "rmse": "target"}),
        ("normal", 2, {"nll": "step", "crps": "target"}),
        ("categorical", 2, {"nll": "step", "accuracy": "step"}),
        ("categorical", 3, {"nll": "position", "ece": "position"}),
        ("bernoulli", 1, {"nll": "row", "brier": "label"}),
    ],
)
def test_scores_say_what_they_are_per(kind, axes, expected):
    likelihood, outputs, y = case(kind)
    if axes == 1:
        outputs, y = outputs[:, :, 0], y[:, 0]
    elif axes == 3:
        outputs, y = outputs[:, :, None], y[:, None]
    p = predictive(likelihood, outputs)
    scores = p.evaluate(y)
    assert scores.per.keys() == scores.keys()
    assert expected.items() <= scores.per.items()
    assert f"nll is per {expected['nll']}" in repr(p)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(3), r"place of the outputs, \(4, 3\)"),
        (np.ones((4, 3, 2)), "weights of shape"),
        (-np.ones(4), "finite and 0 or more"),
        (np.full(4, np.nan), "finite and 0 or more"),
        (np.zeros(4), "must have a place that counts"),
    ],
)
def test_weights_that_are_none_raise(weights, message):
    likelihood, outputs, y = case("normal")
    with pytest.raises(ValueError, match=message):
        predictive(likelihood, outputs).evaluate(y, weights)


def test_a_target_that_counts_is_still_looked_at():
    likelihood, outputs, y = case("categorical")
    mask = np.zeros(SHAPE, bool)
    mask[0] = True
    p = predictive(likelihood, outputs, mask)
    p.evaluate(np.where(mask, y, -1))
    with pytest.raises(ValueError, match="labels from 0 to 2"):
        p.evaluate(np.where(mask, -1, y))


def test_a_mask_of_rows_and_one_of_other_steps():
    likelihood, outputs, y = case("normal")
    rows = np.array([True, False, True, True])
    p = predictive(likelihood, outputs, rows)
    assert p.mask.shape == SHAPE
    assert p.nll(y) == predictive(likelihood, outputs[:, rows]).nll(y[rows])
    assert predictive(likelihood, outputs, np.zeros((4, 9))).mask is None
    assert predictive(likelihood, outputs, np.ones(SHAPE)).mask is None


MASKED = np.ma.masked_array(np.ones(6), mask=np.arange(6) < 2)
TAKES_WEIGHTS = {
    "evaluate": lambda p, y: p.evaluate(y, MASKED),
    "crps": lambda p, y: p.crps(y, MASKED),
    "rmse": lambda p, y: metrics.rmse(y, p.mean, MASKED),
    "plot": lambda p, y: plots.calibration_curve(p, y, sample_weight=MASKED),
    "adapt": lambda p, y: p.likelihood.adapt(y, MASKED),
    "targets": lambda p, y: p.likelihood.adapt(MASKED + y[:, 0]),
}


@pytest.mark.parametrize("name", TAKES_WEIGHTS)
def test_masks_of_numpy_are_not_lost(name):
    """They would count as weights of 1, or as numbers."""
    p = RegressionPredictive(np.zeros((3, 6, 2)), likelihoods.Normal())
    with pytest.raises(ValueError, match="must be an array without masked"):
        TAKES_WEIGHTS[name](p, np.zeros((6, 1)))
