"""Scores of a monitor against those of `evaluate` on the same rows."""

import numpy as np
import pytest

import tfpbnn
from tests.monitor import cases
from tests.monitor.cases import CASES, N
from tfpbnn import calibration, likelihoods
from tfpbnn.prediction.results import RegressionPredictive

IDS = [f"row-{i}" for i in range(N)]


def shuffled(seed=0):
    return np.random.default_rng(seed).permutation(N)


def assert_scores(found, expected, rel=1e-5):
    """Those that a monitor has, which are all but the CRPS."""
    assert found.keys() - {"confidence"} == expected.keys() - {"crps"}
    for name in expected.keys() - {"crps"}:
        assert found[name] == pytest.approx(
            expected[name], rel=rel, abs=1e-6
        ), name


@pytest.mark.parametrize("name", CASES)
def test_scores_are_those_of_evaluate(name, make):
    """Whatever order labels come in, and in however many calls."""
    p = CASES[name]()
    y = cases.drawn(CASES["labels"]() if "without" in name else p)
    monitor = make()
    for part in np.array_split(np.arange(N), 3):
        monitor.log([IDS[i] for i in part], p[part])
    for part in np.array_split(shuffled(), 4):
        assert monitor.observe([IDS[i] for i in part], y[part])[0] == len(part)
    assert_scores(monitor.status().scores, p.evaluate(y))


@pytest.mark.parametrize("kind", ["numbers", "labels"])
def test_a_calibrated_mixture(kind, make):
    p = CASES[kind]()
    y = cases.drawn(p)
    maps = {
        "numbers": calibration.IsotonicQuantiles,
        "labels": calibration.Isotonic,
    }
    map_of = maps[kind]().fit(p, y)
    p = type(p)(p.outputs, p.likelihood.recalibrated(map_of))
    monitor = make()
    monitor.log(IDS, p)
    monitor.observe(IDS, y)
    assert_scores(monitor.status().scores, p.evaluate(y))


def test_moments_are_scored_as_normals(make):
    """With keep_draws=False, and as a server gives them."""
    p = CASES["numbers"]()
    y = cases.drawn(p)
    raw = np.log(np.expm1(p.stddev - 1e-6))
    normal = RegressionPredictive(
        np.concatenate([p.mean, raw], axis=-1)[np.newaxis],
        likelihoods.Normal(),
    )
    expected = normal.evaluate(y)
    for i, (given, options) in enumerate(
        [(p, {"keep_draws": False}), (cases.without_draws(p), {})]
    ):
        monitor = make(name=str(i), **options)
        monitor.log(IDS, given)
        monitor.observe(IDS, y)
        assert_scores(monitor.status().scores, expected)


def test_several_labels_without_draws_have_no_joint_score(make):
    p = CASES["several labels"]()
    y, p = cases.drawn(p), cases.without_draws(p)
    monitor = make()
    monitor.log(IDS, p)
    monitor.observe(IDS, y)
    scores = monitor.status().scores
    assert "nll" not in scores
    assert_scores(scores, p.evaluate(y))


@pytest.mark.parametrize("form", ["one-hot", "soft", "column", "ignored"])
def test_forms_of_labels(form, make):
    p = CASES["labels"]()
    y = cases.drawn(p)
    given = {
        "one-hot": np.eye(3)[y],
        "soft": 0.9 * np.eye(3)[y] + 0.1 / 3,
        "column": y[:, np.newaxis],
        "ignored": np.where(np.arange(N) % 4 == 0, 255, y),
    }[form]
    if form == "ignored":
        p = type(p)(p.outputs, likelihoods.Categorical(ignore_class=255))
    monitor = make()
    monitor.log(IDS, p)
    found = monitor.observe(IDS, given)
    assert found.ignored == (N // 4 if form == "ignored" else 0)
    expected = p.evaluate(given)
    if form == "soft":  # of these it takes draws, which are not kept
        del expected["nll"]
    assert_scores(monitor.status().scores, expected)


def test_of_a_model_in_half_precision_and_several_outputs(make):
    """One monitor for each output, from `predict` to the scores."""
    import keras

    x = cases.rng(0).normal(size=(N, 4)).astype("float32")
    keras.config.set_dtype_policy("mixed_float16")
    inputs = keras.Input((4,))
    outputs = {
        "price": tfpbnn.layers.DenseFlipout(2, dtype="float32")(inputs),
        "kind": tfpbnn.layers.DenseFlipout(3)(inputs),
    }
    model = tfpbnn.Model(inputs, outputs)
    model.compile(
        "adam",
        loss={
            "price": likelihoods.Normal(),
            "kind": likelihoods.Categorical(),
        },
    )
    p = tfpbnn.predict(model, x, 5, seed=0)
    for name, one in p.items():
        y = cases.drawn(one)
        monitor = make(name=name)
        monitor.log(IDS, one, inputs=x)
        monitor.observe(IDS, y)
        assert_scores(monitor.status().scores, one.evaluate(y))
    with pytest.raises(TypeError, match="each has a monitor"):
        make(name="both").log(IDS, p)


def test_a_label_sent_again_with_another_value_replaces_it(make):
    p = CASES["numbers"]()
    y = cases.drawn(p)
    monitor = make()
    monitor.log(IDS, p)
    monitor.observe(IDS, y + 1)
    assert monitor.observe(IDS[:50], y[:50] + 1).repeated == 50
    assert monitor.observe(IDS, y).changed == N
    assert_scores(monitor.status().scores, p.evaluate(y))
    assert monitor.status().counts["labels"] == N
    assert monitor.find("row-3")["y"] == [pytest.approx(float(y[3, 0]))]


def test_labels_that_came_first_are_scored_with_their_predictions(make):
    p = CASES["labels"]()
    y = cases.drawn(p)
    monitor = make()
    assert monitor.observe(IDS, y).waiting == N  # of an unknown model yet
    monitor.log(IDS[:60], p[:60])
    assert monitor.status().counts["waiting"] == 60
    assert monitor.observe(IDS[60:70], (y[60:70] + 1) % 3).changed == 10
    assert monitor.observe(IDS[60:70], y[60:70]).changed == 10
    monitor.log(IDS[60:], p[60:])
    status = monitor.status()
    assert status.counts["waiting"] == 0
    assert_scores(status.scores, p.evaluate(y))


def test_labels_of_both_forms_that_waited(make):
    p = CASES["labels"]()
    y = cases.drawn(p)
    monitor = make()
    monitor.observe(IDS[:60], y[:60])
    monitor.observe(IDS[60:], np.eye(3)[y[60:]])
    monitor.log(IDS, p)
    assert_scores(monitor.status().scores, p.evaluate(y))


def test_waiting_labels_that_do_not_fit_are_counted(make):
    p = CASES["labels"]()
    monitor = make()
    monitor.observe(["row-0", "row-1", "row-2"], [7, 1, 2])
    monitor.log(IDS, p)
    status = monitor.status()
    assert status.counts["unfit"] == 1
    assert status.counts["labels"] == 2
    assert "did not fit their predictions" in repr(status)
