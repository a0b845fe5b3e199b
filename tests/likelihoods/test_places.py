"""What counts in a loss: masks, weights and ignored labels of positions."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.likelihoods.test_likelihoods import CASES, make_case
from tfpbnn import likelihoods
from tfpbnn.base.keras_private import with_mask

SHAPE = (5, 4)
RNG = np.random.default_rng(1)
KEPT = RNG.random(SHAPE) < 0.6
WEIGHTS = RNG.uniform(0.5, 2, SHAPE).astype("float32")
# None of these is a target that the likelihoods can give.
PADDINGS = [-1.0, np.nan, 1e9, 255.0]


def case(name, **kwargs):
    """A likelihood, targets, outputs and the NLL at each position."""
    if name != "categorical":
        loss, y, outputs, nll = make_case(name, SHAPE, **kwargs)
        return loss, y.astype("float32"), outputs, nll.sum(axis=-1)
    loss = likelihoods.Categorical(**kwargs)
    outputs = RNG.standard_normal((*SHAPE, 3)).astype("float32")
    y = RNG.integers(0, 3, SHAPE)
    log_p = np.asarray(keras.ops.log_softmax(outputs))
    nll = -np.take_along_axis(log_p, y[..., None], -1)[..., 0]
    return loss, y.astype("float32"), outputs, nll


def value_and_gradient(loss, y, outputs, mask=None, sample_weight=None):
    outputs = tf.constant(outputs)
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        y_pred = with_mask(tf.identity(outputs), mask)
        value = loss(tf.constant(y), y_pred, sample_weight)
    return value.numpy(), tape.gradient(value, outputs).numpy()


@pytest.mark.parametrize("name", [*CASES, "categorical"])
def test_what_stands_at_positions_that_do_not_count_changes_nothing(name):
    """Masked, of weight 0, or both: targets and outputs may be anything."""
    loss, y, outputs, nll = case(name)
    expected = np.sum(nll * KEPT, axis=1).mean()
    zero = KEPT.astype("float32")
    for padding in PADDINGS:
        y[~KEPT] = padding
        outputs[~KEPT] = padding
        for mask, weight in ((KEPT, None), (None, zero), (KEPT, zero)):
            value, gradient = value_and_gradient(loss, y, outputs, mask, weight)
            np.testing.assert_allclose(value, expected, rtol=1e-5)
            assert np.all(gradient[~KEPT] == 0)
            assert np.all(np.isfinite(gradient))
            assert np.any(gradient[KEPT] != 0)


@pytest.mark.parametrize(
    ("reduction", "by_hand"),
    [
        ("sum", lambda nll, w: np.sum(nll * w)),
        ("mean", lambda nll, w: np.sum(nll * w) / 5),
        ("sum_over_batch_size", lambda nll, w: np.sum(nll * w) / 5),
        ("mean_with_sample_weight", lambda nll, w: np.average(nll, weights=w)),
        ("none", lambda nll, w: np.sum(nll * w, axis=1)),
    ],
)
@pytest.mark.parametrize("last_axis", [(), (1,)])
def test_weights_of_positions(reduction, by_hand, last_axis):
    loss, y, outputs, nll = case("laplace", reduction=reduction)
    found = loss(y, outputs, np.reshape(WEIGHTS, SHAPE + last_axis))
    np.testing.assert_allclose(found, by_hand(nll, WEIGHTS), rtol=1e-5)


@pytest.mark.parametrize("shape", [(5,), (5, 1), (5, 1, 1)])
def test_weights_of_rows(shape):
    loss, y, outputs, nll = case("normal")
    weights = np.arange(5.0)
    found = loss(y, outputs, np.reshape(weights, shape))
    expected = np.mean(weights * nll.sum(axis=1))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [(5, 3), (4,), (5, 4, 2)])
def test_weights_that_do_not_fit_raise(shape):
    loss, y, outputs, _ = case("normal")
    with pytest.raises(ValueError, match="must be one weight per example, or"):
        loss(y, outputs, np.ones(shape))


def test_a_mask_of_steps_goes_for_all_pixels_of_the_step():
    loss, y, outputs, nll = make_case("normal", (5, 4, 2, 3))
    y[~KEPT] = np.nan
    value, _ = value_and_gradient(loss, y.astype("float32"), outputs, KEPT)
    expected = np.sum(nll.sum(axis=(2, 3, 4)) * KEPT, axis=1).mean()
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_a_mask_of_other_steps_is_left_aside():
    """A layer of one's own that joins steps hands their mask on."""
    loss, y, outputs, nll = make_case("normal", (5,))
    value, _ = value_and_gradient(loss, y.astype("float32"), outputs, KEPT)
    np.testing.assert_allclose(value, nll.sum(axis=1).mean(), rtol=1e-5)


@pytest.mark.parametrize("ignored", [255, -1, 1])
@pytest.mark.parametrize("last_axis", [(), (1,)])
def test_ignore_class(ignored, last_axis):
    loss, y, outputs, nll = case("categorical", ignore_class=ignored)
    y[~KEPT] = ignored
    kept = y != ignored
    value, gradient = value_and_gradient(
        loss, np.reshape(y, SHAPE + last_axis), outputs
    )
    np.testing.assert_allclose(
        value, np.sum(nll * kept, axis=1).mean(), rtol=1e-5
    )
    assert np.all(gradient[~kept] == 0)
    # Rows of probabilities have no label that could be the ignored one.
    soft = np.eye(3, dtype="float32")[np.where(kept, y, 0).astype(int)]
    value, _ = value_and_gradient(loss, soft, outputs)
    assert value > np.sum(nll * kept, axis=1).mean()


def test_ignore_class_is_saved_and_read_off_keras_s_loss():
    loss = likelihoods.Categorical(ignore_class=255)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.ignore_class == 255
    plain = keras.losses.SparseCategoricalCrossentropy(ignore_class=0)
    assert likelihoods.from_loss(plain).ignore_class == 0
    plain = keras.losses.SparseCategoricalCrossentropy()
    assert likelihoods.from_loss(plain).ignore_class is None
    with pytest.raises(ValueError, match="`ignore_class` must be None"):
        likelihoods.Categorical(ignore_class=2.5)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_fit_with_weights_of_steps(jit_compile):
    """One step of SGD, beside one with weights that count copies of steps."""
    x = RNG.standard_normal((4, 3, 2)).astype("float32")
    y = RNG.standard_normal((4, 3))
    y[0, 0] = np.nan
    weights = np.ones((4, 3))
    weights[0, 0], weights[1] = 0, 2
    found = []
    for loss in (likelihoods.Normal(scale=1.0), "mse"):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3, 2)), keras.layers.Dense(1)])
        model.compile(
            keras.optimizers.SGD(0.1 if loss == "mse" else 1 / 15),
            loss,
            jit_compile=jit_compile,
        )
        clean = np.nan_to_num(y) if loss == "mse" else y
        model.fit(x, clean[..., None], sample_weight=weights, verbose=0)
        found.append(model.get_weights())
    # Keras's mean over 12 steps of a square, ours over 4 rows of its half.
    for ours, plain in zip(*found, strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-4)
