"""Calibrators that are fitted over others map what these have mapped."""

import keras
import numpy as np
import pytest
from scipy import special, stats

from tests.calibration import made
from tfpbnn import calibration, likelihoods


def classes(rows, seed=0):
    z, y = made.classes(rows, 3, factor=3.0, draws=3, seed=seed)
    return made.labels(z), y


def yes(rows, seed=0):
    z, y = made.classes(rows, 2, factor=3.0, draws=3, seed=seed)
    z = z[..., 1:] - z[..., :1]
    return made.labels(z, likelihoods.Bernoulli()), y


def numbers(rows, seed=0):
    outputs, y = made.numbers(rows, noise=2.0, draws=3, seed=seed)
    return made.normal(outputs), y**3 / 4  # no factor alone mends it


def lines(p, found):
    """Each column's map, as SciPy would have it."""
    pairs = zip(found.fitted["knots"], found.fitted["levels"], strict=True)
    columns = [np.interp(p[..., k], *pair) for k, pair in enumerate(pairs)]
    return np.stack(columns, -1)


def steps(p, found):
    pairs = zip(found.fitted["knots"], found.fitted["levels"], strict=True)
    columns = [
        levels[np.searchsorted(knots, p[..., k], side="right") - 1]
        for k, (knots, levels) in enumerate(pairs)
    ]
    return np.stack(columns, -1)


def shares(q):
    return q / q.sum(-1, keepdims=True)


def normal_cdf(outputs, factor, y):
    loc, raw = np.split(outputs, 2, -1)
    scale = factor * (np.logaddexp(0, raw) + 1e-6)
    return stats.norm.cdf(y, loc, scale).mean(0)


def temperature(p, found):
    return special.softmax(p.outputs / found.temperature, -1).mean(0)


# Name: the data, the calibrators from below, and the probabilities (of numbers
# the distribution function) by hand, of the raw prediction, y and calibrators.
STACKS = {
    "temperature, isotonic": (
        classes,
        (calibration.Temperature, calibration.Isotonic),
        lambda p, _, a, b: shares(lines(temperature(p, a), b)),
    ),
    "vector, temperature": (
        classes,
        (calibration.VectorScaling, calibration.Temperature),
        lambda p, _, a, b: special.softmax(
            (p.outputs * a.scales + a.offsets) / b.temperature, -1
        ).mean(0),
    ),
    "matrix, dirichlet": (
        classes,
        (calibration.MatrixScaling, calibration.Dirichlet),
        lambda p, _, a, b: special.softmax(
            special.log_softmax(p.outputs @ a.matrix + a.offsets, -1) @ b.matrix
            + b.offsets,
            -1,
        ).mean(0),
    ),
    "temperature, bbq, isotonic": (
        classes,
        (calibration.Temperature, calibration.BBQ, calibration.Isotonic),
        lambda p, _, a, b, c: shares(
            lines(shares(steps(temperature(p, a), b)), c)
        ),
    ),
    "platt, histogram": (
        yes,
        (calibration.Platt, calibration.HistogramBinning),
        lambda p, _, a, b: steps(
            special.expit(p.outputs * a.scales + a.offsets).mean(0), b
        ),
    ),
    "scale, quantiles, quantiles": (
        numbers,
        (
            calibration.Scale,
            calibration.IsotonicQuantiles,
            lambda: calibration.IsotonicQuantiles(5),
        ),
        lambda p, y, a, b, c: lines(
            lines(normal_cdf(p.outputs, a.factors, y), b), c
        ),
    ),
    "scale, scale": (
        numbers,
        (calibration.Scale, calibration.Scale),
        lambda p, y, a, b: normal_cdf(p.outputs, a.factors * b.factors, y),
    ),
}


@pytest.fixture(scope="module")
def stacked():
    """Each stack, of which each calibrator has rows of its own."""
    found = {}
    for name, (data, makers, _) in STACKS.items():
        parts = []
        for seed, make in enumerate(makers):
            p, y = data(400, seed)
            p = parts[-1].transform(p) if parts else p
            parts.append(make().fit(p, y))
        found[name] = parts
    return found


def asked(p, y):
    is_labels = p.likelihood.is_classification
    return p.probabilities if is_labels else p.cdf(y)


@pytest.mark.parametrize("name", STACKS)
def test_a_stack_is_its_maps_one_after_another(name, stacked):
    data, _, by_hand = STACKS[name]
    parts, (raw, y) = stacked[name], data(50, 9)
    last = parts[-1]
    p = last.transform(raw)
    expected = by_hand(raw, y, *parts)
    np.testing.assert_allclose(asked(p, y), expected, rtol=1e-5, atol=1e-9)
    one_by_one = raw
    for part in parts:
        one_by_one = part.transform(one_by_one)
    np.testing.assert_array_equal(asked(one_by_one, y), asked(p, y))
    config = keras.saving.serialize_keras_object(p.likelihood)
    loaded = type(p)(raw.outputs, keras.saving.deserialize_keras_object(config))
    np.testing.assert_array_equal(asked(loaded, y), asked(p, y))
    assert repr(last).count(" over ") == len(parts) - 1
    assert repr(loaded.likelihood) == repr(p.likelihood)


@pytest.mark.parametrize("name", STACKS)
def test_scores_and_samples_are_of_the_stack(name, stacked):
    """Samples by Kolmogorov and Smirnov, or counts: false alarms of 1e-6."""
    data, *_ = STACKS[name]
    raw, y = data(300, 9)
    p = stacked[name][-1].transform(raw)
    y = y.reshape(300, -1)
    samples = p.sample(20, seed=0)
    if p.likelihood.is_classification:
        q = p.probabilities
        q = q if q.shape[-1] > 1 else np.concatenate([1 - q, q], -1)
        density = np.take_along_axis(q, y, -1)[:, 0]
        for label in range(q.shape[-1]):
            total = np.sum(np.reshape(samples, (20, -1)) == label)
            mean, variance = q[:, label], q[:, label] * (1 - q[:, label])
            error = abs(total - 20 * mean.sum())
            assert error < 4.9 * np.sqrt(20 * variance.sum())
    else:
        step = 1e-5
        density = (p.cdf(y + step) - p.cdf(y - step))[:, 0] / (2 * step)
        levels = np.stack([p.cdf(one) for one in samples])
        assert stats.kstest(np.ravel(levels), "uniform").pvalue > 1e-6
        low, high = p.interval(0.5)
        np.testing.assert_allclose(p.cdf(low), 0.25, atol=1e-6)
        np.testing.assert_allclose(p.cdf(high), 0.75, atol=1e-6)
    np.testing.assert_allclose(
        p.log_prob(y)[density > 0], np.log(density[density > 0]), atol=2e-3
    )
    before = stacked[name][-2].transform(raw)
    assert p.nll(y) < before.nll(y) + 0.1


def test_a_later_fit_moves_no_prediction_made_before():
    (p, y), (other, other_y) = classes(200), yes(200)
    below = calibration.Temperature().fit(p, y)
    q = below.transform(p)
    over = calibration.Isotonic().fit(q, y)
    before = over.transform(p).probabilities
    temperature = below.temperature
    below.fit(other, other_y)
    assert below.temperature != temperature
    assert q.likelihood.recalibration.temperature == temperature
    assert over.over.temperature == temperature
    np.testing.assert_array_equal(over.transform(p).probabilities, before)
    assert over.fit(p, y).over is None
