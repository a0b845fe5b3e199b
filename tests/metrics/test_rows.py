"""What people bring: forms, masks, weights, and errors that say what to do."""

import numpy as np
import pytest
import tensorflow as tf

from tfpbnn import metrics
from tfpbnn.likelihoods import Bernoulli, Categorical, Normal
from tfpbnn.metrics import rows
from tfpbnn.prediction.results import (
    ClassificationPredictive,
    RegressionPredictive,
)

RNG = np.random.default_rng(0)
Y = RNG.integers(0, 3, (8, 5))
P = RNG.dirichlet([1, 1, 1], (8, 5))
HIDDEN = RNG.random((8, 5)) < 0.3
HIDDEN[3] = True
WEIGHTS = RNG.uniform(0.5, 2, (8, 5))
# Labels and probabilities where they don't count are any numbers.
DIRTY_Y = np.where(HIDDEN, 255, Y)
DIRTY_P = np.where(HIDDEN[..., None], np.nan, P)
LOGITS = np.log(P)[np.newaxis]

LABELLED = {
    "accuracy": metrics.accuracy,
    "nll": metrics.nll,
    "brier": metrics.brier,
    "reliability": lambda *a, **k: metrics.brier_parts(*a, **k).reliability,
    "ece": metrics.ece,
    "ece of equal mass": lambda *a, **k: metrics.ece(*a, bins="mass", **k),
    "ece of top labels": lambda *a, **k: metrics.ece(*a, of="top_label", **k),
    "ece without bias": lambda *a, **k: metrics.ece(
        *a, norm=2, debias=True, **k
    ),
    "mce": metrics.mce,
    "ace": metrics.ace,
    "smooth_ece": metrics.smooth_ece,
    "set_coverage": lambda *a, **k: metrics.set_coverage(*a, mass=0.5, **k),
    "mean_iou": metrics.mean_iou,
    "pavpu": lambda *a, **k: (
        metrics.pavpu(*a, threshold=0.7, patch_size=1, **k).pavpu
    ),
}


def same(a, b):
    return a == pytest.approx(b, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", LABELLED)
def test_places_that_do_not_count_are_not_looked_at(name):
    """However that is said, and whatever is there."""
    score = LABELLED[name]
    seen, weights = ~HIDDEN, WEIGHTS[~HIDDEN]
    cut = Y[seen][:, None], P[seen][:, None]  # [n, 1], as pavpu needs places
    expected = score(*cut)
    assert same(score(DIRTY_Y, DIRTY_P, sample_weight=1.0 * seen), expected)
    hidden = np.ma.array(DIRTY_Y, mask=HIDDEN)
    assert same(score(hidden, DIRTY_P), expected)
    own = ClassificationPredictive(LOGITS, Categorical(), mask=seen)
    assert same(score(DIRTY_Y, own), expected)
    ignoring = ClassificationPredictive(LOGITS, Categorical(ignore_class=255))
    assert same(score(DIRTY_Y, ignoring), expected)
    plain = ClassificationPredictive(LOGITS, Categorical())
    assert same(score(hidden, plain), expected)
    expected = score(*cut, sample_weight=weights[:, None])
    assert same(score(hidden, DIRTY_P, sample_weight=WEIGHTS), expected)
    assert same(score(hidden, plain, sample_weight=WEIGHTS), expected)
    assert same(score(DIRTY_Y, own, sample_weight=WEIGHTS), expected)


@pytest.mark.parametrize("name", LABELLED)
def test_weights_are_counts_and_rows_have_no_order(name):
    score = LABELLED[name]
    counts = np.random.default_rng(1).integers(0, 4, 8)
    repeated = np.repeat(Y, counts, axis=0), np.repeat(P, counts, axis=0)
    found = score(Y, P, sample_weight=counts)
    # A copy of a row tells nothing of chance, which is all that bias is of.
    if name != "ece without bias":
        assert same(found, score(*repeated))
    assert same(found, score(Y, P, sample_weight=0.3 * counts))
    order = np.random.default_rng(2).permutation(8)
    assert same(score(Y[order], P[order]), score(Y, P))


@pytest.mark.parametrize("name", LABELLED)
def test_forms_of_labels_and_of_probabilities(name):
    score = LABELLED[name]
    expected = score(Y, P)
    assert same(score(tf.constant(Y), tf.constant(P)), expected)
    assert same(score(Y[..., None].astype(float), P.tolist()), expected)
    assert same(score(np.eye(3)[Y], P), expected)
    yes, p = Y == 1, P[..., 1:2] / 2
    expected = score(yes, np.concatenate([1 - p, p], -1))
    assert same(score(yes, p), expected)
    assert same(score(yes[..., None], p.astype(np.float32)), expected)
    if name != "pavpu":
        assert same(score(yes.ravel(), p.ravel()), expected)
    own = ClassificationPredictive(np.log(p / (1 - p))[None], Bernoulli())
    assert same(score(yes, own), expected)


@pytest.mark.parametrize("name", LABELLED)
def test_one_row_and_one_class(name):
    """No metric fails, and none leaves its range, where little is there."""
    score = LABELLED[name]
    for y, p in (
        (np.array([[1]]), P[:1, :1]),
        (np.zeros((6, 2), int), np.tile([1.0, 0.0, 0.0], (6, 2, 1))),
        (np.ones((6, 2), int), np.tile([0.0, 0.5, 0.5], (6, 2, 1))),
    ):
        with np.errstate(all="raise", under="ignore"):
            found = score(y, p)
        assert found >= 0
        most = {"brier": 2, "reliability": 2, "nll": np.inf}
        assert found <= most.get(name, 1)


def test_what_rounding_puts_beyond_one_is_one():
    """Probabilities in half precision; a logarithm of -0.004 would be NaN."""
    p = np.array([[1.004, -0.004], [-0.004, 1.004]])
    assert metrics.nll([0, 1], p) == metrics.brier([0, 1], p) == 0
    assert metrics.nll([0, 0], p) == np.inf
    assert metrics.ece([0, 1], p) == metrics.smooth_ece([0, 1], p) == 0


BAD = [
    (Y, P * 3 - 1, {}, r"`y_pred` must be probabilities.*look like logits"),
    (Y, P / 2, {}, r"`y_pred` must sum to 1 .* Received: sums from 0.5 to 0.5"),
    (Y, DIRTY_P, {}, "`y_pred` must be finite"),
    (Y + 1, P, {}, r"`y_true` must hold labels from 0 to 2.*masked_equal"),
    (Y - 1, P, {}, "`y_true` must hold labels from 0 to 2"),
    (Y + 0.5, P, {}, "`y_true` must hold labels"),
    (np.where(HIDDEN, np.nan, Y), P, {}, "`y_true` must be finite"),
    (Y[:7], P, {}, r"`y_true` must have one label for each place.*\(7, 5\)"),
    (Y, np.stack([P, P]), {}, "of draws, take the mean first"),
    (Y, P, {"sample_weight": np.zeros(8)}, "must have a place that counts"),
    (Y, P, {"sample_weight": -WEIGHTS}, "`sample_weight` must be finite and 0"),
    (Y, P, {"sample_weight": WEIGHTS[:7]}, "`sample_weight` must be one"),
    (np.ma.array(Y, mask=True), P, {}, "must have a place that counts"),
    (Y, np.ma.array(P, mask=HIDDEN[..., None] & [1, 1, 1]), {}, "`y_pred`"),
    (2 * np.eye(3)[Y], P, {}, "`y_true` must be probabilities"),
    (Y, P, {"n_boot": 1}, "`n_boot` must be an integer of 2 or more"),
    (Y[:1], P[:1], {"n_boot": 9}, "`n_boot` must be None where one row counts"),
    (Y, P, {"n_boot": 9, "level": 1.5}, "`level` must be a number between"),
]


@pytest.mark.parametrize(("y", "p", "options", "message"), BAD)
def test_bad_input(y, p, options, message):
    for score in (metrics.brier, metrics.smooth_ece):
        with pytest.raises(ValueError, match=message):
            score(y, p, **options)


@pytest.mark.parametrize("name", [*LABELLED, "disagreement", "variation_ratio"])
def test_predictions_that_failed(name):
    """A NaN is the greatest of nothing, and no label."""
    failed = np.where(HIDDEN[..., np.newaxis], np.nan, LOGITS)
    p = ClassificationPredictive(np.repeat(failed, 2, 0), Categorical())
    score = LABELLED.get(name) or getattr(metrics, name)
    args = (Y, p) if name in LABELLED else (p,)
    with pytest.raises(ValueError, match="`y_pred` must be finite"):
        score(*args)
    seen = np.where(HIDDEN, 0.0, 1.0)
    assert np.all(np.isfinite(score(*args, sample_weight=seen)))


def test_bad_types():
    numbers = RegressionPredictive(np.zeros((2, 8, 2)), Normal())
    with pytest.raises(TypeError, match="must be a prediction of labels"):
        metrics.brier(np.zeros(8), numbers)
    with pytest.raises(TypeError, match="must hold numbers"):
        metrics.brier(np.full((8, 5), "cat"), P)
    label = ClassificationPredictive(LOGITS, Categorical())
    for several in ({"a": label}, [label, label]):
        with pytest.raises(TypeError, match="give one at a time"):
            metrics.brier(Y, several)
    with pytest.raises(TypeError, match="must be a prediction of labels"):
        metrics.disagreement(numbers)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.ece(Y, P, 0), "`num_bins` must be a positive"),
        (lambda: metrics.ece(Y, P, bins="wide"), "`bins` must be one of"),
        (lambda: metrics.ece(Y, P, of="top"), "`of` must be one of"),
        (lambda: metrics.ece(Y, P, norm=3), "`norm` must be one of"),
        (lambda: metrics.ece(Y, P, debias=True), "unless norm=2"),
        (lambda: metrics.disagreement(P[None]), "must have 2 or more draws"),
        (lambda: metrics.disagreement(Y), r"`\[S, N, ..., K\]`"),
        (lambda: metrics.set_size(P, 1.0), "`mass` must be a number between"),
        (lambda: metrics.set_size(3 * P), "look like logits"),
        (lambda: metrics.pavpu(Y[:, 0], P[:, 0]), "places to cut in patches"),
        (lambda: metrics.pavpu(Y, P, Y[0]), "`uncertainty` must have the"),
        (lambda: metrics.pavpu(Y, P, np.nan * Y), "`uncertainty` must be fin"),
        (
            lambda: metrics.grouping_loss(Y[:, 0], P[:, 0], Y[:2]),
            "`features` must have one row for each of the 8 rows",
        ),
        (
            lambda: metrics.grouping_loss(Y[:2, 0], P[:2, 0], Y[:2]),
            "`y_true` must have 4 or more rows",
        ),
        (
            lambda: metrics.grouping_loss(
                Y[:, 0], P[:, 0], Y, num_bins=50, of="top_label", num_groups=9
            ),
            "`num_bins` must be so small",
        ),
    ],
)
def test_bad_options(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_places_of_several_numbers():
    """The readers of numbers and ranks, which other metrics share."""
    y = np.ma.masked_less(RNG.normal(size=(10, 2)), -1)
    mean = RNG.normal(size=(4, 10, 2))
    read = rows.numbers(y, mean=mean)
    assert read.y.shape[1] == 2
    each = read.each()
    assert np.sum(each.weights > 0) == np.sum(~y.mask)
    assert len(each.row) == read.y.size
    with pytest.raises(ValueError, match="the same for all targets of a row"):
        read.places()
    ranked = rows.ranked([0, 1, 1], [0.5, np.inf, np.nan], [1, 1, 0])
    assert ranked.is_positive.tolist() == [False, True]
    with pytest.raises(ValueError, match="must hold booleans, or 0 and 1"):
        rows.ranked([0, 2], [1, 2])
    with pytest.raises(ValueError, match="must have the last axes of `y_true`"):
        rows.numbers(np.zeros(3), lower=np.zeros(4))
