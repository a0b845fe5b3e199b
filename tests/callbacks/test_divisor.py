"""What the KL is divided by, for all spellings of data, losses and weights.

The right number follows from what Keras computes: a batch's loss is a sum of
log-likelihoods over a divisor, and the divisors add up over an epoch.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.callbacks.fits import (
    CLASSES,
    LABELS,
    ONE_HOT,
    REDUCTIONS,
    ROWS,
    STEPS,
    Uneven,
    W,
    X,
    Y,
    dataset,
    divisor_of,
    generated,
)

# The arguments of `fit`, and the numbers of rows and batches.
DATA = {
    "arrays": ({"x": X, "y": Y, "batch_size": 7}, 20, 3),
    "arrays_default_batch": ({"x": X, "y": Y}, 20, 1),
    "tensors": ({"x": tf.constant(X), "y": tf.constant(Y)}, 20, 1),
    "split": (
        {"x": X, "y": Y, "batch_size": 7, "validation_split": 0.25},
        15,
        3,
    ),
    "split_beside_validation_data": (
        {"x": X, "y": Y, "validation_split": 0.5, "validation_data": (X, Y)},
        20,
        1,
    ),
    "part_of_a_pass_of_arrays": (
        {"x": X, "y": Y, "batch_size": 5, "steps_per_epoch": 2},
        20,
        4,
    ),
    "dataset": ({"x": dataset(X, Y).batch(5)}, 20, 4),
    "ragged_last_batch": ({"x": dataset(X, Y).batch(16)}, 20, 2),
    "dropped_remainder": (
        {"x": dataset(X, Y).batch(16, drop_remainder=True)},
        16,
        1,
    ),
    "twice": ({"x": dataset(X, Y).repeat(2).batch(16)}, 40, 3),
    "part_of_a_pass": (
        {"x": dataset(X, Y).batch(16), "steps_per_epoch": 1},
        20,
        2,
    ),
    "filtered": (
        {"x": dataset(X, Y).filter(lambda x, _: x[0] > -99).batch(8)},
        20,
        3,
    ),
    "generated": ({"x": generated(X, Y)}, 20, 4),
    "generated_with_steps": (
        {"x": generated(X, Y), "steps_per_epoch": 4},
        20,
        4,
    ),
    "uneven": ({"x": Uneven(X, Y)}, 20, 4),
    "uneven_of_told_length": (
        {
            "x": generated(X, Y).apply(
                tf.data.experimental.assert_cardinality(4)
            )
        },
        20,
        4,
    ),
}


def network(output="dense"):
    """A built model with an output of a kind, and a KL weight."""
    x = keras.Input((2,))
    h = tfpbnn.layers.DenseFlipout(STEPS * CLASSES)(x)
    if output == "steps":
        h = keras.layers.Reshape((STEPS, CLASSES))(h)
    elif output == "one":
        h = keras.layers.Dense(1)(h)
    return tfpbnn.Model(x, h)


MODELS = {output: network(output) for output in ("one", "dense", "steps")}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("spelled", sorted(DATA))
@pytest.mark.parametrize("kind", ["likelihood", "mse"])
def test_data(kind, spelled, reduction):
    given, rows, batches = DATA[spelled]
    model = MODELS["one"]
    loss = {
        "likelihood": tfpbnn.likelihoods.Normal(1.0, reduction=reduction),
        "mse": keras.losses.MeanSquaredError(reduction=reduction),
    }[kind]
    model.compile("sgd", loss)
    expected = batches if reduction == "sum" else rows
    assert divisor_of(model, given) == pytest.approx(expected)
    # One that was given a number of examples keeps to that number.
    callback = tfpbnn.callbacks.KLWeight(10 * rows)
    assert divisor_of(model, given, callback) == pytest.approx(10 * expected)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    "spelled", ["arrays", "class_weight", "dataset", "uneven", "split"]
)
def test_weights(spelled, reduction):
    """Only what the loss is divided by counts, and rows that weigh more do so
    in the likelihood."""
    y = (Y > 0).astype("float32")
    classes = {0: 0.5, 1: 3.0}
    given, weights, batches = {
        "arrays": ({"x": X, "y": y, "sample_weight": W}, W, 1),
        "class_weight": (
            {"x": X, "y": y, "class_weight": classes},
            np.where(y > 0, 3.0, 0.5),
            1,
        ),
        "dataset": ({"x": dataset(X, y, W).batch(16)}, W, 2),
        "uneven": ({"x": Uneven(X, y, W)}, W, 4),
        "split": (
            {"x": X, "y": y, "sample_weight": W, "validation_split": 0.25},
            W[:15],
            1,
        ),
    }[spelled]
    expected = {"sum": batches, "mean_with_sample_weight": weights.sum()}
    for loss in (
        tfpbnn.likelihoods.Bernoulli(reduction=reduction),
        keras.losses.BinaryCrossentropy(True, reduction=reduction),
    ):
        MODELS["one"].compile("sgd", loss)
        found = divisor_of(MODELS["one"], given)
        assert found == pytest.approx(expected.get(reduction, len(weights)))


LIKELIHOODS = tfpbnn.likelihoods


def scalar(y, y_pred):
    """A loss of a user's own that is a mean over all."""
    return keras.ops.mean(keras.ops.square(y - y_pred))


def per_row(y, y_pred):
    """A loss of a user's own that adds up over places."""
    return keras.ops.sum(keras.ops.square(y - y_pred), axis=(1, 2))


@pytest.mark.parametrize(
    ("loss", "y", "per_row"),
    [
        (LIKELIHOODS.Categorical(), LABELS, 1),
        (LIKELIHOODS.Bernoulli(), ONE_HOT, 1),
        (LIKELIHOODS.Normal(1.0), ONE_HOT, 1),
        (keras.losses.SparseCategoricalCrossentropy(True), LABELS, STEPS),
        ("sparse_categorical_crossentropy", LABELS, STEPS),
        (keras.losses.sparse_categorical_crossentropy, LABELS, STEPS),
        (keras.losses.CategoricalCrossentropy(True), ONE_HOT, STEPS),
        # `predict` takes it for a Normal of variance CLASSES / 2.
        ("mse", ONE_HOT, STEPS),
        (keras.losses.MeanAbsoluteError(), ONE_HOT, STEPS),
        (keras.losses.BinaryCrossentropy(True), ONE_HOT, STEPS * CLASSES),
        ("poisson", ONE_HOT, STEPS * CLASSES),
        (scalar, ONE_HOT, 1),
        (per_row, ONE_HOT, 1),
    ],
    ids=str,
)
def test_places(loss, y, per_row):
    """Means over places are of as many targets, whatever gives the data."""
    model = MODELS["steps"]
    model.compile("sgd", loss)
    for given in ({"x": X, "y": y}, {"x": dataset(X, y).batch(16)}):
        assert divisor_of(model, given) == pytest.approx(ROWS * per_row)
    stock = keras.Model(model.input, model.output)
    stock.compile("sgd", loss)
    callback = tfpbnn.callbacks.KLWeight(ROWS)
    callback.set_model(stock)
    callback.on_train_begin()
    callback.on_epoch_begin(0)
    weight = float(model.layers[1].kl_weight.numpy())
    assert 1 / weight == pytest.approx(ROWS * per_row)


def test_outputs_without_places():
    model = MODELS["dense"]
    y = np.zeros((ROWS, STEPS * CLASSES), "float32")
    for loss, expected in (("mse", 1), ("binary_crossentropy", 12)):
        model.compile("sgd", loss)
        found = divisor_of(model, {"x": X, "y": y})
        assert found == pytest.approx(ROWS * expected)


@pytest.mark.parametrize("spelled", ["given", "callback", "stock"])
def test_no_reduction_is_an_error(spelled):
    model = MODELS["one"]
    model.compile("sgd", keras.losses.MeanSquaredError(reduction=None))
    callback = None if spelled == "given" else tfpbnn.callbacks.KLWeight(ROWS)
    if spelled == "stock":
        model = keras.Model(model.input, model.output)
        model.compile("sgd", keras.losses.MeanSquaredError(reduction=None))
    with pytest.raises(ValueError, match=r"`reduction`.*reduction=None"):
        model.fit(X, Y, verbose=0, callbacks=callback)


@pytest.mark.parametrize(
    "given",
    [
        {"x": dataset(X, Y).batch(5).repeat(), "steps_per_epoch": 4},
        {"x": dataset(X, Y).batch(5).repeat()},
        {"x": generated(X, Y).repeat(), "steps_per_epoch": 3},
        {"x": ((X, Y) for _ in range(2))},
        {"x": ((X, Y) for _ in range(2)), "steps_per_epoch": 1},
    ],
    ids=["repeated", "endless", "unknown", "generator", "generator_steps"],
)
def test_a_number_that_cannot_be_known(given):
    """An epoch of data without an end need not be one pass over the rows."""
    model = MODELS["one"]
    model.compile("sgd", tfpbnn.likelihoods.Normal(1.0))
    with pytest.raises(ValueError, match=r"KLWeight\(num_examples=\.\.\.\)"):
        divisor_of(model, given)
    callback = tfpbnn.callbacks.KLWeight(20)
    assert divisor_of(model, given, callback) == pytest.approx(20)


def test_sums_of_endless_data():
    """Batches of 5 of 20 rows: 4 are a pass, however many an epoch has."""
    model = MODELS["one"]
    model.compile("sgd", tfpbnn.likelihoods.Normal(1.0, reduction="sum"))
    given = {"x": dataset(X, Y).batch(5).repeat(), "steps_per_epoch": 10}
    callback = tfpbnn.callbacks.KLWeight(20)
    assert divisor_of(model, given, callback) == pytest.approx(4)


def test_a_divisor_that_is_given():
    model = MODELS["one"]
    model.compile("sgd", keras.losses.MeanSquaredError(reduction="sum"))
    callback = tfpbnn.callbacks.KLWeight(20, divisor=7.5)
    assert divisor_of(model, {"x": X, "y": Y}, callback) == pytest.approx(7.5)
    with pytest.raises(ValueError, match=r"`divisor` must be .*divisor=0"):
        tfpbnn.callbacks.KLWeight(20, divisor=0)
