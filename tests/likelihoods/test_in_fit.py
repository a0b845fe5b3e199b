"""Likelihoods as Keras losses: weights, masks, `fit`, and Keras's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

from tests.likelihoods.test_likelihoods import CASES, make_case, scale_of
from tfpbnn import likelihoods


def linear(units, loss, **kwargs):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(units)])
    model.compile(keras.optimizers.Adam(0.05), loss=loss, **kwargs)
    return model


@pytest.mark.parametrize("weight_shape", [(6,), (6, 1)])
@pytest.mark.parametrize("reduction", ["sum", "sum_over_batch_size", "none"])
def test_sample_weight_and_reduction(reduction, weight_shape):
    loss, y, outputs, nll = make_case("laplace", (6,), reduction=reduction)
    weights = np.arange(6.0)
    weighted = weights * nll.sum(axis=1)
    expected = {
        "sum": weighted.sum(),
        "sum_over_batch_size": weighted.sum() / 6,
        "none": weighted,
    }[reduction]
    found = loss(y, outputs, np.reshape(weights, weight_shape))
    np.testing.assert_allclose(np.squeeze(found), expected, rtol=1e-5)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_keras_masks_drop_positions(policy):
    """Half precision rounds what the model passes on, to about 1e-3."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5, 4, 2)).astype(np.float32)
    kept = rng.random((5, 4)) < 0.6
    x[~kept] = -9.0
    y = rng.standard_normal((5, 4, 1))
    keras.config.set_dtype_policy(policy)
    model = keras.Sequential(
        [
            keras.Input((4, 2)),
            keras.layers.Masking(-9.0),
            keras.layers.Dense(2, kernel_initializer="identity"),
        ]
    )
    model.compile(loss=likelihoods.Normal())
    nll = -stats.norm.logpdf(y[..., 0], x[..., 0], scale_of(x[..., 1]))
    expected = np.sum(nll * kept, axis=1)
    rtol = 1e-5 if policy == "float32" else 5e-3
    found = model.evaluate(x, y, verbose=0)
    np.testing.assert_allclose(found, expected.mean(), rtol=rtol)
    weights = np.arange(5.0)
    found = model.evaluate(x, y, sample_weight=weights, verbose=0)
    np.testing.assert_allclose(found, np.mean(weights * expected), rtol=rtol)


ACTIVATIONS = {
    "poisson_of_rate": "softplus",
    "bernoulli_of_probability": "sigmoid",
}


def test_fit_compiled_and_not():
    """The same training, which learns; XLA only rounds differently.

    Of an output for each likelihood, that shares nothing with the others: one
    compilation for all.
    """
    rng = np.random.default_rng(0)
    x = rng.standard_normal((32, 3)).astype(np.float32)
    losses, y, units = {}, {}, {}
    for name in CASES:
        losses[name], y[name], outputs, _ = make_case(name, (32,))
        units[name] = outputs.shape[-1]
    losses["categorical"] = likelihoods.Categorical()
    y["categorical"], units["categorical"] = rng.integers(0, 4, 32), 4
    histories = []
    for jit_compile in (False, True):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((3,))
        outputs = {
            name: keras.layers.Dense(count, ACTIVATIONS.get(name))(inputs)
            for name, count in units.items()
        }
        model = keras.Model(inputs, outputs)
        model.compile(
            keras.optimizers.Adam(0.02), losses, jit_compile=jit_compile
        )
        history = model.fit(x, y, epochs=5, batch_size=32, verbose=0)
        histories.append(history.history)
    for name in losses:
        plain, compiled = (history[f"{name}_loss"] for history in histories)
        assert np.all(np.diff(plain) < 0), name
        np.testing.assert_allclose(plain, compiled, rtol=1e-3, err_msg=name)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_fit_in_half_precision_takes_the_loss_in_float32(jit_compile):
    """An NLL of 1e8 is no float16."""
    keras.config.set_dtype_policy("mixed_float16")
    model = linear(1, likelihoods.Normal(scale=1.0), jit_compile=jit_compile)
    x, y = np.ones((8, 3)), np.full(8, 2e4)
    history = model.fit(x, y, verbose=0)
    np.testing.assert_allclose(history.history["loss"], [2e8], rtol=1e-3)


@pytest.mark.parametrize(
    ("likelihood", "units", "bad", "message"),
    [
        (likelihoods.Normal(), 2, np.nan, "finite numbers, not NaN"),
        (likelihoods.StudentT(), 2, np.inf, "finite numbers, not NaN"),
        (likelihoods.Poisson(), 1, -1, "counts, 0 or more"),
        (likelihoods.NegativeBinomial(), 2, np.nan, "counts, 0 or more"),
        (likelihoods.Categorical(), 4, 4, "labels from 0 to 3"),
        (likelihoods.Categorical(), 4, -1, "labels from 0 to 3"),
        (likelihoods.Bernoulli(), 1, 2, "labels 0 or 1"),
    ],
)
def test_impossible_targets_in_fit(likelihood, units, bad, message):
    """XLA has no assertions: the loss is NaN there."""
    y = np.array([0, 1, bad, 1])
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        linear(units, likelihood).fit(np.ones((4, 3)), y, verbose=0)
    compiled = linear(units, likelihood, jit_compile=True)
    history = compiled.fit(np.ones((4, 3)), y, verbose=0)
    assert np.isnan(history.history["loss"][0])


def test_outputs_that_do_not_fit_in_fit():
    model = linear(3, likelihoods.Normal())
    with pytest.raises(ValueError, match="not a multiple of 2"):
        model.fit(np.ones((4, 3)), np.ones(4), verbose=0)


def plain(y):
    return y


# The loss as a string or function, its class, the outputs and targets. Keras
# averages these over outputs, which only squares and absolute errors allow for.
KERAS_LOSSES = [
    ("mean_squared_error", "MeanSquaredError", {}, 1, plain),
    ("mean_squared_error", "MeanSquaredError", {}, 3, plain),
    ("mean_absolute_error", "MeanAbsoluteError", {}, 1, plain),
    ("mean_absolute_error", "MeanAbsoluteError", {}, 3, plain),
    ("poisson", "Poisson", {}, 1, np.exp),
    ("binary_crossentropy", "BinaryCrossentropy", {}, 1, special.expit),
    (
        "binary_crossentropy",
        "BinaryCrossentropy",
        {"from_logits": True},
        1,
        plain,
    ),
    *(
        (name, cls, kwargs, 4, function)
        for name, cls in (
            ("categorical_crossentropy", "CategoricalCrossentropy"),
            (
                "sparse_categorical_crossentropy",
                "SparseCategoricalCrossentropy",
            ),
        )
        for kwargs, function in (
            ({}, lambda y: special.softmax(y, -1)),
            ({"from_logits": True}, plain),
        )
    ),
]


@pytest.mark.parametrize(
    ("name", "cls", "kwargs", "num_outputs", "link"), KERAS_LOSSES
)
def test_from_loss_is_the_loss_up_to_a_constant(
    name, cls, kwargs, num_outputs, link
):
    rng = np.random.default_rng(0)
    outputs, others = link(rng.standard_normal((2, 5, num_outputs)))
    if "sparse" in name:
        y = rng.integers(0, 4, 5)
    elif "categorical" in name:
        y = np.eye(4)[rng.integers(0, 4, 5)]
    else:
        y = rng.integers(0, 2, (5, num_outputs)).astype(float)
    loss = getattr(keras.losses, cls)(**kwargs)
    forms = [loss]
    if not kwargs:
        forms += [name, getattr(keras.losses, name)]
    expected = loss(y, outputs) - loss(y, others)
    for form in forms:
        likelihood = likelihoods.from_loss(form, num_outputs)
        found = likelihood(y, outputs) - likelihood(y, others)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("alias", "expected"),
    [("mse", likelihoods.Normal), ("mae", likelihoods.Laplace)],
)
def test_from_loss_takes_aliases(alias, expected):
    assert type(likelihoods.from_loss(alias)) is expected


def test_from_loss_leaves_likelihoods_alone():
    likelihood = likelihoods.StudentT()
    assert likelihoods.from_loss(likelihood, 2) is likelihood


@pytest.mark.parametrize("loss", [None, "hinge", keras.losses.Huber(), plain])
def test_losses_that_are_no_likelihood_raise(loss):
    with pytest.raises(ValueError, match="`loss` must be a likelihood"):
        likelihoods.from_loss(loss)
