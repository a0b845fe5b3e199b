"""Intervals of streams, and of data too small to set some aside."""

import zipfile

import keras
import numpy as np
import pytest
from scipy import stats

from tests import fresh
from tests.calibration import made
from tests.calibration.test_conformal import labels, numbers
from tfpbnn import calibration


def linear(x, y):
    weights, *_ = np.linalg.lstsq(x, y, rcond=None)
    return lambda x: x @ weights


def first(x):
    return x[:, 0]


def rows(rng, count, shape=()):
    x = rng.standard_normal((count, 3))
    noise = rng.standard_t(3, (count, *shape))
    return x, (x.sum(1) + noise.T).T


@pytest.mark.parametrize("num_folds", [None, 5])
def test_jackknife_plus_covers(num_folds):
    """At least 2 c - 1, and about c, at a rate of false alarms of 1e-6."""
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(200):
        x, y = rows(rng, 20)
        found = calibration.JackknifePlus(linear, num_folds).fit(x, y, 0.8)
        new_x, new_y = rows(rng, 20)
        low, high = found.interval(new_x)
        inside.append(np.mean((low <= new_y) & (new_y <= high)))
    error = np.std(inside) / np.sqrt(200)
    assert np.mean(inside) > 0.6
    assert 0.78 - 5 * error < np.mean(inside) < 0.85 + 5 * error


def test_jackknife_plus_is_a_loop():
    rng = np.random.default_rng(0)
    x, y = rows(rng, 12)
    new, _ = rows(rng, 3)
    low, high = calibration.JackknifePlus(linear).fit(x, y, 0.8).interval(new)
    ends = []
    for i in range(12):
        model = linear(np.delete(x, i, 0), np.delete(y, i))
        error = abs(y[i] - model(x[i : i + 1])[0])
        ends.append([model(new) - error, model(new) + error])
    ends = np.sort(ends, axis=0)
    place = int(np.ceil(0.8 * 13))
    np.testing.assert_allclose(high, ends[place - 1, 1])
    np.testing.assert_allclose(low, ends[12 - place, 0])


@pytest.fixture(scope="module")
def folds():
    """CV+ of Keras models and of functions, and the rows of each model."""
    x, y = rows(np.random.default_rng(0), 30, (2,))
    built = []

    def fit_model(x, y):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        model.compile("sgd", loss="mse")
        model.layers[0].set_weights(
            [np.linalg.lstsq(x, y, rcond=None)[0], np.zeros(2)]
        )
        built.append(len(x))
        return model

    found = calibration.JackknifePlus(fit_model, num_folds=2).fit(x, y, 0.8)
    plain = calibration.JackknifePlus(linear, num_folds=2).fit(x, y, 0.8)
    return x, y, built, found, plain


def test_cv_plus_of_keras_models_and_several_targets(folds):
    x, _, built, found, plain = folds
    assert built == [15, 15]
    np.testing.assert_allclose(found.interval(x), plain.interval(x), atol=1e-5)
    assert found.interval(x)[0].shape == (30, 2)


def test_folds_are_saved_with_their_models(folds, tmp_path):
    x, y, _, found, plain = folds
    path = tmp_path / "folds.zip"
    found.save(path)
    program = (
        "import sys, numpy as np; from tfpbnn import calibration\n"
        "found = calibration.load(sys.argv[1])\n"
        "assert found.coverage == 0.8\n"
        "np.save(sys.argv[3], found.interval(np.load(sys.argv[2])))"
    )
    np.save(tmp_path / "x.npy", x)
    names = [path, tmp_path / "x.npy", tmp_path / "y.npy"]
    fresh.run(program, *map(str, names))
    np.testing.assert_array_equal(np.load(names[-1]), found.interval(x))
    loaded = calibration.load(path)
    with pytest.raises(ValueError, match="`fit_model` must be known to fit"):
        loaded.fit(x, y, 0.7)
    assert loaded.coverage == 0.8  # it is what it was
    loaded.save(tmp_path / "again.zip")
    with pytest.raises(TypeError, match="must return Keras models for `save`"):
        plain.save(tmp_path / "none.zip")
    with pytest.raises(ValueError, match="must be fitted first"):
        calibration.JackknifePlus(linear).save(tmp_path / "none.zip")
    assert not (tmp_path / "none.zip").exists()
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("other", "")
    with pytest.raises(TypeError, match="written by a conformal predictor's"):
        calibration.load(tmp_path / "other.zip")


BAD_FOLDS = {
    "one model": (
        lambda: calibration.JackknifePlus(lambda *_: first).fit(*few()),
        "a new model each time.*one model twice",
    ),
    "function": (lambda: calibration.JackknifePlus(3), "a function"),
    "folds": (lambda: calibration.JackknifePlus(linear, 1), "`num_folds` must"),
    "rows": (
        lambda: calibration.JackknifePlus(linear, 20).fit(*few()),
        "20 or more rows",
    ),
    "coverage": (
        lambda: calibration.JackknifePlus(linear).fit(*few(), 0.95),
        "19 or more rows",
    ),
    "dataset": (
        lambda: calibration.JackknifePlus(linear).fit(few()[0], None),
        "`y` must be an array of targets",
    ),
    "lengths": (
        lambda: calibration.JackknifePlus(linear).fit(few()[0][:5], few()[1]),
        "one row for each",
    ),
    "nan": (
        lambda: calibration.JackknifePlus(linear).fit(few()[0], [np.nan] * 12),
        "`?y`? .*NaN",
    ),
    "fitted": (
        lambda: calibration.JackknifePlus(linear).interval(few()[0]),
        "fitted first",
    ),
    "shape": (
        lambda: calibration.JackknifePlus(lambda *_: lambda x: x).fit(*few()),
        "means of y",
    ),
}


def few():
    return rows(np.random.default_rng(0), 12)


@pytest.mark.parametrize("name", BAD_FOLDS)
def test_bad_input_of_folds(name):
    call, words = BAD_FOLDS[name]
    with pytest.raises((TypeError, ValueError), match=words):
        call()


@pytest.mark.parametrize("step", [0.005, 0.05])
@pytest.mark.parametrize("name", ["CQR", "APS"])
def test_any_stream_is_covered_in_the_long_run(name, step):
    """Within the bound of Gibbs and Candes, however it drifts."""
    if name == "CQR":
        (p, y), (new, new_y) = numbers(100), numbers(1500, 1)
        new_y = new_y * np.linspace(1, 20, 1500)[:, None]
    else:
        (p, y), (new, new_y) = labels(100), labels(1500, 1)
        new_y = np.where(np.arange(1500) > 500, (new_y + 1) % 5, new_y)
    split = getattr(calibration, name)().fit(p, y, 0.8)
    stream = calibration.AdaptiveConformal(split, step)
    stream.update(new, new_y)
    share = stream.num_errors / stream.num_labels
    assert abs(share - 0.2) <= (0.8 + step) / (1500 * step) + 1e-9
    plain = np.mean(split.scores_of(new, new_y) > split.thresholds(new))
    assert plain > 0.4


def test_a_stream_is_updated_as_its_sets_tell():
    (p, y), (new, new_y) = numbers(100), numbers(200, 1)
    split = calibration.AbsoluteResidual().fit(p, y, 0.8)
    one = calibration.AdaptiveConformal(split, 0.05)
    all_at_once = calibration.AdaptiveConformal(split, 0.05)
    for row in range(0, 200, 10):
        low, high = one.interval(new[row])
        inside = np.all((low <= new_y[row]) & (new_y[row] <= high))
        level = one.level
        one.update(new[row], new_y[row : row + 1])
        moved = 0.05 * (0.2 - (not inside))
        assert one.level == pytest.approx(level + moved)
    rows = np.arange(0, 200, 10)
    all_at_once.update(new[rows], new_y[rows])
    assert all_at_once.level == pytest.approx(one.level)
    one.level = -0.1
    assert np.all(np.isinf(one.interval(new[:2])[0]))
    one.level = 1.1
    low, high = one.interval(new[:2])
    assert np.all(low == high)


def test_a_stream_goes_on_from_a_file(tmp_path):
    (p, y), (new, new_y) = labels(100), labels(60, 1)
    stream = calibration.AdaptiveConformal(calibration.LAC().fit(p, y), 0.05)
    stream.update(new[:30], new_y[:30])
    stream.save(tmp_path / "stream.json")
    loaded = calibration.load(tmp_path / "stream.json")
    for one in (stream, loaded):
        one.update(new[30:], new_y[30:])
    assert loaded.level == stream.level
    assert loaded.num_labels == 60
    assert loaded.num_errors == stream.num_errors
    np.testing.assert_array_equal(loaded.sets(new), stream.sets(new))


def test_a_calm_stream_keeps_its_level():
    (p, y), (new, new_y) = numbers(500), numbers(500, 1)
    split = calibration.AbsoluteResidual().fit(p, y, 0.8)
    stream = calibration.AdaptiveConformal(split, 0.001)
    stream.update(new, new_y)
    share = stream.num_errors / 500
    error = np.sqrt(0.16 * (1 / 500 + 1 / 500))
    assert abs(share - 0.2) < stats.norm.isf(5e-7) * error


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: calibration.AdaptiveConformal(calibration.CQR()),
            "fitted on held-out",
        ),
        (
            lambda: calibration.AdaptiveConformal(
                calibration.CQR().fit(*numbers(50)), step=0.0
            ),
            "`step` must be",
        ),
        (
            lambda: calibration.AdaptiveConformal(
                calibration.LAC().fit(*labels(50))
            ).interval(labels(5)[0]),
            "has `sets`",
        ),
        (
            lambda: calibration.AdaptiveConformal(
                calibration.CQR().fit(*numbers(50))
            ).sets(numbers(5)[0]),
            "has `interval`",
        ),
        (
            lambda: calibration.AdaptiveConformal(
                calibration.CQR().fit(*numbers(50), groups=[1] * 50)
            ),
            "without groups",
        ),
        (
            lambda: calibration.AdaptiveConformal(
                calibration.AbsoluteResidual().fit(
                    made.normal(made.numbers(50, targets=2)[0]),
                    made.numbers(50, targets=2)[1],
                )
            ),
            "one target",
        ),
    ],
    ids=["fitted", "step", "sets", "interval", "groups", "targets"],
)
def test_bad_input_of_streams(call, words):
    with pytest.raises(ValueError, match=words):
        call()
