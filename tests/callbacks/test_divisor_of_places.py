"""What the KL is divided by where places are masked, and of several outputs."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.callbacks.fits import (
    CLASSES,
    ONE_HOT,
    REDUCTIONS,
    RNG,
    ROWS,
    STEPS,
    Uneven,
    W,
    X,
    Y,
    dataset,
    divisor_of,
)

LIKELIHOODS = tfpbnn.likelihoods

# Sequences of different lengths, padded with 0.
LENGTHS = RNG.integers(1, 6, ROWS)
TOKENS = np.where(np.arange(5) < LENGTHS[:, None], 2, 0).astype("int32")
TAGS = np.where(TOKENS > 0, RNG.integers(0, CLASSES, TOKENS.shape), -1)


def tagger(mask_zero=True, steps=5):
    model = tfpbnn.Sequential(
        [
            keras.Input((steps,), dtype="int32"),
            keras.layers.Embedding(3, 4, mask_zero=mask_zero),
            keras.layers.LSTM(3, return_sequences=True),
            tfpbnn.layers.DenseFlipout(CLASSES),
        ]
    )
    return model


MASKED = tagger()
TEXTS = {
    "arrays": {"x": TOKENS, "y": TAGS},
    "split": {"x": TOKENS, "y": TAGS, "validation_split": 0.25},
    "dataset": {"x": dataset(TOKENS, TAGS).batch(8)},
    "uneven": {"x": Uneven(TOKENS, TAGS)},
}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("spelled", sorted(TEXTS))
def test_masked_places(spelled, reduction):
    """Keras divides by the places without a mask."""
    loss = keras.losses.SparseCategoricalCrossentropy(True, reduction=reduction)
    MASKED.compile("sgd", loss)
    count = LENGTHS[:15].sum() if spelled == "split" else LENGTHS.sum()
    batches = {"dataset": 3, "uneven": 4}.get(spelled, 1)
    expected = batches if reduction == "sum" else count
    given = TEXTS[spelled]
    assert divisor_of(MASKED, given) == pytest.approx(expected)


def test_masked_places_are_none_of_a_likelihoods_business():
    MASKED.compile("sgd", tfpbnn.likelihoods.Categorical())
    given = {"x": TOKENS, "y": TAGS}
    assert divisor_of(MASKED, given) == pytest.approx(ROWS)


def test_ignored_classes():
    model = tagger(mask_zero=False)
    loss = keras.losses.SparseCategoricalCrossentropy(True, ignore_class=-1)
    model.compile("sgd", loss)
    for given in TEXTS["arrays"], TEXTS["dataset"], TEXTS["uneven"]:
        assert divisor_of(model, given) == pytest.approx(LENGTHS.sum())


def test_masked_places_with_weights():
    """Weights of steps, under both ways to divide."""
    weights = RNG.uniform(0.5, 2.0, TAGS.shape)
    given = {"x": TOKENS, "y": TAGS, "sample_weight": weights}
    for reduction, expected in [
        ("sum_over_batch_size", LENGTHS.sum()),
        ("mean_with_sample_weight", weights[TOKENS > 0].sum()),
    ]:
        loss = keras.losses.SparseCategoricalCrossentropy(
            True, reduction=reduction
        )
        MASKED.compile("sgd", loss)
        assert divisor_of(MASKED, given) == pytest.approx(expected)


def test_lengths_that_differ_between_batches():
    model = tagger(mask_zero=False, steps=None)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(True))
    parts = [(TOKENS[:8, :2], TAGS[:8, :2]), (TOKENS[8:], TAGS[8:])]
    data = tf.data.Dataset.from_generator(
        lambda: iter(parts),
        output_signature=(tf.TensorSpec([None, None], "int32"),) * 2,
    )
    expected = pytest.approx(8 * 2 + 12 * 5)
    assert divisor_of(model, {"x": data}) == expected
    # A callback that is not told the data can't know.
    stock = keras.Model(model.inputs, model.outputs)
    stock.compile("sgd", model.loss)
    with pytest.raises(
        ValueError, match=r"number of places differs.*`divisor`"
    ):
        stock.fit(
            TOKENS,
            TAGS,
            verbose=0,
            callbacks=[tfpbnn.callbacks.KLWeight(ROWS)],
        )


def test_masks_that_a_callback_is_not_told():
    stock = keras.Model(MASKED.inputs, MASKED.outputs)
    stock.compile("sgd", keras.losses.SparseCategoricalCrossentropy(True))
    callback = tfpbnn.callbacks.KLWeight(ROWS)
    with pytest.raises(ValueError, match=r"without a mask.*`divisor`"):
        stock.fit(TOKENS, TAGS, verbose=0, callbacks=[callback])
    callback = tfpbnn.callbacks.KLWeight(ROWS, divisor=LENGTHS.sum())
    stock.fit(TOKENS, np.abs(TAGS), verbose=0, callbacks=[callback])
    weight = float(MASKED.layers[-1].kl_weight.numpy())
    assert 1 / weight == pytest.approx(LENGTHS.sum())


def two_outputs():
    x = keras.Input((2,))
    h = tfpbnn.layers.DenseFlipout(STEPS * CLASSES)(x)
    steps = keras.layers.Reshape((STEPS, CLASSES), name="steps")(h)
    return tfpbnn.Model(x, [keras.layers.Dense(1, name="one")(h), steps])


SEVERAL = two_outputs()


@pytest.mark.parametrize(
    ("losses", "loss_weights", "expected", "warns"),
    [
        (["mse", LIKELIHOODS.Bernoulli()], None, 1, False),
        (["mse", LIKELIHOODS.Bernoulli()], [1.0, 0.1], 1, False),
        (["mse", "mse"], None, 1, True),
        (["mse", "mse"], [1.0, 3.0], 1, False),
        ("mse", None, 1, True),
        ([None, "mse"], None, STEPS, False),
        ({"one": None, "steps": "mse"}, None, STEPS, False),
        ({"steps": LIKELIHOODS.Bernoulli(), "one": "mse"}, None, 1, False),
    ],
)
def test_several_outputs(losses, loss_weights, expected, warns, recwarn):
    """The output with the fewest targets counts whole, others as means."""
    SEVERAL.compile("sgd", losses, loss_weights=loss_weights)
    given = {"x": X, "y": [Y, ONE_HOT]}
    assert divisor_of(SEVERAL, given) == pytest.approx(ROWS * expected)
    words = [
        str(w.message) for w in recwarn if "`loss_weights`" in w.message.args[0]
    ]
    assert len(words) == warns
    if warns:
        assert "'one': 1.0, 'steps': 3.0" in words[0]


def test_weights_of_several_outputs():
    losses = [
        keras.losses.MeanSquaredError(reduction="mean_with_sample_weight"),
        None,
    ]
    SEVERAL.compile("sgd", losses)
    weights = [W, np.ones(ROWS)]
    for given in (
        {"x": X, "y": [Y, ONE_HOT], "sample_weight": weights},
        {
            "x": tf.data.Dataset.from_tensor_slices(
                (X, (Y, ONE_HOT), tuple(weights))
            ).batch(8)
        },
    ):
        assert divisor_of(SEVERAL, given) == pytest.approx(W.sum())
