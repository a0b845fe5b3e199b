"""Scores batch by batch are those of all rows at once."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfpbnn import metrics
from tfpbnn.likelihoods import Bernoulli, Categorical, MixtureNormal, Normal
from tfpbnn.metrics import streaming
from tfpbnn.prediction.results import (
    ClassificationPredictive,
    RegressionPredictive,
)

RNG = np.random.default_rng(0)
ROWS, STEPS, BATCH = 50, 6, 20
NAMES = {
    "accuracy": streaming.Accuracy,
    "brier": streaming.Brier,
    "ece": streaming.ECE,
    "nll": streaming.NLL,
}


def logits(*shape):
    return RNG.normal(size=shape).astype(np.float32)


# Likelihood, outputs and targets of each kind that people bring.
CASES = {
    "classes": (Categorical(), logits(ROWS, 4), RNG.integers(0, 4, ROWS)),
    "one-hot": (
        Categorical(),
        logits(ROWS, 4),
        np.eye(4)[RNG.integers(0, 4, ROWS)],
    ),
    "steps": (
        Categorical(ignore_class=-1),
        logits(ROWS, STEPS, 3),
        RNG.integers(-1, 3, (ROWS, STEPS)),
    ),
    "yes or no": (Bernoulli(), logits(ROWS, 1), RNG.integers(0, 2, ROWS)),
    "labels": (Bernoulli(), logits(ROWS, 3), RNG.integers(0, 2, (ROWS, 3))),
    "probabilities": (
        Categorical(from_logits=False),
        tf.nn.softmax(logits(ROWS, 4)).numpy(),
        RNG.integers(0, 4, (ROWS, 1)),
    ),
    "numbers": (Normal(), logits(ROWS, 4), logits(ROWS, 2)),
    "a mixture": (MixtureNormal(3), logits(ROWS, 9), logits(ROWS, 1)),
    "units": (
        Normal().adapt(5 + 3 * logits(100, 1)),
        logits(ROWS, 2),
        5 + 3 * logits(ROWS),
    ),
}


def kinds():
    for case, (likelihood, *_) in CASES.items():
        for name in NAMES if likelihood.is_classification else ["nll"]:
            yield case, name


def batches(*arrays):
    for start in range(0, ROWS, BATCH):
        yield [None if a is None else a[start : start + BATCH] for a in arrays]


def whole(name, likelihood, outputs, y, weights=None, mask=None):
    kind = (
        ClassificationPredictive
        if likelihood.is_classification
        else RegressionPredictive
    )
    p = kind(outputs[np.newaxis], likelihood, mask=mask)
    return getattr(metrics, name)(y, p, sample_weight=weights)


@pytest.mark.parametrize(("case", "name"), list(kinds()))
@pytest.mark.parametrize("weighted", [False, True])
def test_batches_add_up(case, name, weighted):
    likelihood, outputs, y = CASES[case]
    places = outputs.shape[:-1]
    weights = RNG.integers(0, 3, places) if weighted else None
    metric = NAMES[name](likelihood)
    for y_batch, outputs_batch, weights_batch in batches(y, outputs, weights):
        metric.update_state(y_batch, outputs_batch, weights_batch)
    expected = whole(name, likelihood, outputs, y, weights)
    np.testing.assert_allclose(metric.result(), expected, rtol=2e-5)
    metric.reset_state()
    assert metric.result() == 0
    copied = type(metric).from_config(metric.get_config())
    copied.update_state(y, outputs, weights)
    np.testing.assert_allclose(copied.result(), expected, rtol=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_without_a_likelihood_as_keras(name):
    """Probabilities, or logits if it is said; the number of outputs tells."""
    for case in ("classes", "yes or no"):
        likelihood, outputs, y = CASES[case]
        expected = whole(name, likelihood, outputs, y)
        metric = NAMES[name](from_logits=True)
        metric.update_state(y, outputs)
        np.testing.assert_allclose(metric.result(), expected, rtol=2e-5)
        activation = tf.nn.softmax if case == "classes" else tf.sigmoid
        metric = NAMES[name]()
        metric.update_state(y, activation(outputs))
        np.testing.assert_allclose(metric.result(), expected, rtol=2e-5)


@pytest.mark.parametrize("loss", ["mse", keras.losses.MeanSquaredError()])
def test_losses_of_keras_are_likelihoods(loss):
    metric = streaming.NLL(loss)
    y, mean = logits(10, 2), logits(10, 2)
    metric = streaming.NLL.from_config(metric.get_config())
    metric.update_state(y, mean)
    expected = 0.5 * np.sum((y - mean) ** 2, axis=-1) + np.log(2 * np.pi)
    np.testing.assert_allclose(metric.result(), np.mean(expected), rtol=1e-5)


@pytest.fixture(scope="module")
def compiled():
    likelihood = Categorical(ignore_class=9)
    model = keras.Sequential(
        [
            keras.Input((STEPS, 4)),
            keras.layers.Masking(),
            keras.layers.Dense(3),
        ]
    )
    model.compile(
        keras.optimizers.SGD(0.0),
        likelihood,
        metrics=[cls(likelihood) for cls in NAMES.values()],
        weighted_metrics=[
            cls(likelihood, name=f"weighted_{name}")
            for name, cls in NAMES.items()
        ],
    )
    x = logits(ROWS, STEPS, 4)
    x[::3, 4:] = 0
    y = RNG.integers(0, 3, (ROWS, STEPS))
    y[5] = 9
    y[::3, 4:] = -7  # what is masked is any number
    weights = RNG.integers(0, 3, ROWS).astype(np.float32)
    return model, (x, y, weights)


def expected_of(model, x, y, weights):
    outputs = model(x)
    mask = np.any(x != 0, axis=-1)
    found = {}
    for name in NAMES:
        arguments = name, model.loss, np.array(outputs), y
        found[name] = whole(*arguments, mask=mask)
        found[f"weighted_{name}"] = whole(*arguments, weights, mask)
    return found


def test_in_fit_and_evaluate(compiled):
    """Of a model with a mask, labels to ignore and weights, from tf.data."""
    model, data = compiled
    expected = expected_of(model, *data)
    stream = tf.data.Dataset.from_tensor_slices(data).batch(BATCH)
    history = model.fit(stream, verbose=0).history
    found = model.evaluate(stream, verbose=0, return_dict=True)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-4), name
        assert history[name] == pytest.approx([value], rel=1e-4), name


def test_under_xla():
    likelihood, outputs, y = CASES["steps"]
    scores = {name: NAMES[name](likelihood) for name in ("ece", "nll")}

    @tf.function(jit_compile=True)
    def update(*arrays):
        for metric in scores.values():
            metric.update_state(*arrays)

    weights = RNG.random((ROWS, STEPS)).astype(np.float32)
    update(tf.constant(y), tf.constant(outputs), tf.constant(weights))
    for name, metric in scores.items():
        expected = whole(name, likelihood, outputs, y, weights)
        np.testing.assert_allclose(metric.result(), expected, rtol=2e-5)


def test_saved_with_a_model(compiled, tmp_path):
    model, (x, y, weights) = compiled
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    expected = model.evaluate(x, y, BATCH, 0, weights, return_dict=True)
    found = loaded.evaluate(x, y, BATCH, 0, weights, return_dict=True)
    assert found == pytest.approx(expected)
    assert expected.keys() >= NAMES.keys()


def test_replicas_add_up():
    """The state of two is the sum, which is what Keras makes of it."""
    likelihood, outputs, y = CASES["classes"]
    parts = [streaming.ECE(likelihood) for _ in range(2)]
    for part, rows in zip(parts, (np.s_[:20], np.s_[20:]), strict=True):
        part.update_state(y[rows], outputs[rows])
    both = streaming.ECE(likelihood)
    for total, *each in zip(
        both.variables, *(p.variables for p in parts), strict=True
    ):
        total.assign(sum(tf.convert_to_tensor(v) for v in each))
        assert total.aggregation == "sum"
    expected = whole("ece", likelihood, outputs, y)
    np.testing.assert_allclose(both.result(), expected, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [3, -1, np.nan, 0.5, "output"])
def test_labels_out_of_range_are_no_score(name, bad):
    """An error is not possible in a graph under XLA, and 0 would be a lie."""
    metric = NAMES[name]()
    p = np.full((2, 3), 1 / 3)
    if bad == "output":
        bad, p[1] = 0, np.nan
    metric.update_state(np.array([0, bad]), p)
    assert np.isnan(metric.result())
    metric.reset_state()
    metric.update_state(np.array([0, bad]), p, np.array([1, 0]))
    assert np.isfinite(metric.result())


def test_bad_arguments():
    with pytest.raises(ValueError, match="`likelihood` must be one of labels"):
        streaming.Brier(Normal()).update_state(np.zeros(2), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="`num_bins` must be a positive"):
        streaming.ECE(num_bins=0)
    with pytest.raises(ValueError, match="`loss` must be a likelihood"):
        streaming.NLL("hinge")
    metric = streaming.NLL(Normal())
    with pytest.raises(ValueError, match="`sample_weight` must be one weight"):
        metric.update_state(np.zeros(4), np.zeros((4, 2)), np.ones(3))
