"""Recurrent layers: one draw of the weights for all steps of a call."""

import contextlib
import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit

from tests.checks import (
    check_config,
    check_frozen,
    check_kl_once,
    check_layer,
    check_shapes,
    draws,
)
from tests.statistics import assert_correlation, assert_moments
from tfpbnn import families, layers, random

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 6, 3)).astype("float32")
MASK = np.array(
    [[1, 1, 1, 1, 1, 1], [0, 1, 0, 1, 1, 0], [0] * 6, [1] + 5 * [0]]
)
WIDE = families.MeanFieldNormal(  # scales of 0.69: the draw decides
    untransformed_scale_initializer="zeros"
)
ALL_WIDE = {
    "kernel_posterior": WIDE,
    "recurrent_posterior": WIDE,
    "bias_posterior": WIDE,
    "bias_prior": "normal",
}
LSTM, GRU, SimpleRNN = CLASSES = [
    layers.LSTMReparameterization,
    layers.GRUReparameterization,
    layers.SimpleRNNReparameterization,
]


def test_lstm():
    kwargs = {"units": 2, "dropout": 0.2, "recurrent_dropout": 0.2, "seed": 3}
    check_layer(LSTM, kwargs, X)


@pytest.mark.parametrize(
    ("cls", "kwargs"),
    [
        (SimpleRNN, {"activity_regularizer": "l2", "use_bias": False}),
        (GRU, {"go_backwards": True, "return_sequences": True, **ALL_WIDE}),
    ],
)
def test_other_cells(cls, kwargs):
    """All that may differ; how training goes is the LSTM's."""
    for check in (check_config, check_shapes, check_kl_once, check_frozen):
        check(cls, {"units": 2, **kwargs}, X)


@pytest.mark.parametrize("cls", CLASSES)
def test_arguments_are_those_of_keras_and_ours(cls):
    ours = inspect.signature(cls).parameters
    theirs = inspect.signature(cls.__bases__[1]).parameters
    positional = [n for n, p in ours.items() if p.kind is not p.KEYWORD_ONLY]
    assert positional == list(theirs)
    assert ours["recurrent_prior"].default == "normal"


def lstm_cell(x, states, kernel, recurrent, bias):
    h, c = states
    i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4, -1)
    c = expit(f) * c + expit(i) * np.tanh(g)
    h = expit(o) * np.tanh(c)
    return h, (h, c)


def gru_cell(x, states, kernel, recurrent, bias):
    (h,) = states
    xz, xr, xg = np.split(x @ kernel + bias[0], 3, -1)
    hz, hr, hg = np.split(h @ recurrent + bias[1], 3, -1)
    z = expit(xz + hz)
    h = z * h + (1 - z) * np.tanh(xg + expit(xr + hr) * hg)
    return h, (h,)


def simple_cell(x, states, kernel, recurrent, bias):
    h = np.tanh(x @ kernel + states[0] @ recurrent + bias)
    return h, (h,)


CELLS = [lstm_cell, gru_cell, simple_cell]


def unrolled(cell, weights, units, mask):
    """Outputs of all steps and the last states; masked steps change nothing."""
    y = np.zeros((len(X), units))
    states = (y,) * (2 if cell is lstm_cell else 1)
    outputs = []
    for t in range(X.shape[1]):
        new_y, new_states = cell(X[:, t], states, *weights)
        keep = mask[:, t, None] != 0
        y = np.where(keep, new_y, y)
        states = [
            np.where(keep, new, old)
            for new, old in zip(new_states, states, strict=True)
        ]
        outputs.append(y)
    return np.stack(outputs, 1), states


def record_draws(layer):
    """Keeps what the layer draws: lists of arrays, by the weight's name."""
    drawn = {}
    for name in layer._weight_names:
        posterior = getattr(layer, f"{name}_posterior")
        kept = drawn[name] = []

        def sample(key, *, original=posterior.sample, kept=kept):
            kept.append(original(key))
            return kept[-1]

        def draws(keys, *, original=posterior.draws, kept=kept):
            kept.append(original(keys)[0])
            return kept[-1][None]

        posterior.sample, posterior.draws = sample, draws
    return drawn


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("cls", "cell"), zip(CLASSES, CELLS, strict=True))
def test_the_draw_is_the_same_at_all_steps(cls, cell, masked):
    layer = cls(5, return_sequences=True, return_state=True, **ALL_WIDE)
    layer.build(X.shape)
    drawn = record_draws(layer)
    outputs = layer(X, mask=MASK.astype(bool) if masked else None)
    assert [len(kept) for kept in drawn.values()] == [1, 1, 1]
    weights = [kept[0].numpy() for kept in drawn.values()]
    mask = MASK if masked else np.ones_like(MASK)
    y, states = unrolled(cell, weights, 5, mask)
    for found, expected in zip(outputs, (y, *states), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.any(layer(X)[0] != outputs[0]), "two calls drew the same"


def test_moments_and_correlation():
    """One linear step is `x @ kernel + h @ recurrent`: a Normal."""
    layer = SimpleRNN(2, None, kernel_posterior=WIDE, unroll=True)
    x, h = X[:, :1], RNG.normal(size=(4, 2)).astype("float32")
    layer(x)

    def step(x, training):
        return layer(x, initial_state=[h], training=training)

    found = draws(step, x, 20_000)
    xh = np.concatenate([x[:, 0], h], 1)
    posteriors = layer.kernel_posterior, layer.recurrent_posterior
    loc = np.concatenate([p.loc.numpy() for p in posteriors])
    scale = np.concatenate([p.scale.numpy() for p in posteriors])
    covariance = np.einsum("ai,ij,bi->jab", xh, scale**2, xh)
    sd = np.sqrt(np.einsum("jaa->aj", covariance))
    assert_moments(found, xh @ loc, sd)
    correlation = covariance[0, 0, 1] / (sd[0, 0] * sd[1, 0])
    assert_correlation(found[:, 0, 0], found[:, 1, 0], correlation)


def test_kl_is_the_sum_of_both_kernels():
    layer = LSTM(4, kl_weight=0.5)
    layer(X)
    kl = 0.0
    for posterior in (layer.kernel_posterior, layer.recurrent_posterior):
        loc, scale = posterior.loc.numpy(), posterior.scale.numpy()
        kl += np.sum((scale**2 + loc**2 - 1) / 2 - np.log(scale))
    np.testing.assert_allclose(sum(layer.losses), 0.5 * kl, rtol=1e-5)


def test_eager_graph_and_xla_agree():
    layer = LSTM(4, **ALL_WIDE)
    layer.build(X.shape)

    def run():
        with random.draw_scope(random.as_key(3)):
            return layer(X)

    expected = run()
    for jit_compile in (False, True):
        compiled = tf.function(run, jit_compile=jit_compile, autograph=False)
        np.testing.assert_allclose(compiled(), expected, atol=1e-5)


@pytest.mark.parametrize("cls", CLASSES)
def test_mean_is_the_keras_layer(cls):
    layer, plain = cls(4), cls.__bases__[1](4)
    for each in (layer, plain):
        each.build(X.shape)
    plain.set_weights(layer.cell.get_weights())
    with random.draw_scope(None):
        np.testing.assert_allclose(layer(X), plain(X), atol=1e-6)


@pytest.mark.parametrize("compiled", [False, True])
def test_stateful_goes_on_from_call_to_call(compiled):
    kwargs = {"units": 3, "return_sequences": True, **ALL_WIDE}
    whole, parts = LSTM(**kwargs), LSTM(**kwargs, stateful=True)
    whole.build(X.shape)
    parts.build((4, 3, 3))
    parts.cell.set_weights(whole.cell.get_weights())

    def call(x):
        return parts(x)

    if compiled:
        call = tf.function(call, autograph=False)
    outputs = []
    with random.draw_scope(random.as_key(1)):
        expected = whole(X)
    for x in (X[:, :3], X[:, 3:]):
        with random.draw_scope(random.as_key(1)):
            outputs.append(call(tf.constant(x)))
    found = np.concatenate(outputs, axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    parts.reset_state()
    with random.draw_scope(random.as_key(1)):
        np.testing.assert_allclose(parts(X[:, :3]), outputs[0], atol=1e-5)


@pytest.mark.parametrize("in_scope", [False, True])
def test_directions_draw_independently(in_scope):
    layer = keras.layers.Bidirectional(SimpleRNN(60, seed=3))
    layer.build((None, 6, 60))
    noise = []
    for direction in (layer.forward_layer, layer.backward_layer):
        drawn = record_draws(direction)
        posterior = direction.kernel_posterior
        noise.append((drawn["kernel"], posterior.loc, posterior.scale))
    x = np.ones((1, 6, 60), "float32")
    scope = random.draw_scope(random.as_key(0))
    with scope if in_scope else contextlib.nullcontext():
        layer(x)
    forward, backward = ((k[0] - loc) / scale for k, loc, scale in noise)
    assert_correlation(forward, backward, 0.0)


def test_mixed_precision():
    """Compute in float16, from draws and KL of the float32 variables."""
    layer = LSTM(4, dtype="mixed_float16", kl_weight=0.01)
    model = keras.Sequential([keras.Input(X.shape[1:]), layer])
    drawn = record_draws(layer)
    y = model(X)
    assert y.dtype == "float16"
    assert {kept[0].dtype for kept in drawn.values() if kept} == {tf.float32}
    assert {loss.dtype for loss in model.losses} == {tf.float32}
    assert {v.dtype for v in model.trainable_variables} == {"float32"}
    model.compile("adam", "mse")
    history = model.fit(X, np.zeros(y.shape), epochs=2, verbose=0)
    assert np.all(np.isfinite(history.history["loss"]))


def test_dropout_goes_on_within_a_draw():
    layer = GRU(4, dropout=0.5)

    def call(training):
        with random.draw_scope(random.as_key(0)):
            return np.asarray(layer(X, training=training))

    np.testing.assert_array_equal(call(False), call(False))
    assert np.any(call(True) != call(True))


def test_errors():
    with pytest.raises(ValueError, match="must be float32 or float64"):
        LSTM(2, dtype="float16")(X)
    with pytest.raises(ValueError, match="`recurrent_posterior` must be a"):
        GRU(2, recurrent_posterior="normal")
    with pytest.raises(ValueError, match="`kl_weight` must be None or"):
        SimpleRNN(2, kl_weight=-1.0)
    steps = X.shape[1]
    for length in (steps - 1, steps + 1):
        with pytest.raises(
            ValueError, match=rf"`mask` must have .*{steps}\).*{length}\)"
        ):
            GRU(2, unroll=True)(X, mask=np.ones((len(X), length), bool))
