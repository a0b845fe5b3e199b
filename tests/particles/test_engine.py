"""Draws are those of the model with the drawn kernels put in by hand."""

import functools

import keras
import numpy as np
import pytest

from tests.particles import table
from tests.statistics import assert_correlation
from tfpbnn import layers, random
from tfpbnn.particles import engine, layer_draws
from tfpbnn.particles.ways import LOOPED, MARGINAL, STACKED, Draws, Way

KEY = random.as_key(3)


class Recording(random.DrawScope):
    """Notes the key of each layer."""

    def __init__(self, key):
        super().__init__(key)
        self.keys = {}

    def key_for(self, layer):
        key = super().key_for(layer)
        self.keys[id(layer)] = (layer, key)
        return key


def by_hand(model, x, key):
    """What a plain call gives with the kernels of a draw as the weights."""
    with random.entered(Recording(key)) as scope:
        model(x, training=False)
    before = model.get_weights()
    for layer, own in scope.keys.values():
        for number, name in enumerate(layer._weight_names):
            posterior = layer._posterior(name)
            if posterior is not None and posterior.is_random:
                keys = random.fold(own, number)[None]
                posterior.loc.assign(posterior.draws(keys)[0])
    with random.draw_scope(None):
        outputs = model(x, training=False)
    model.set_weights(before)
    return keras.tree.map_structure(np.array, outputs)


def assert_same(found, expected, **tolerances):
    keras.tree.assert_same_structure(found, expected)
    for a, b in zip(
        keras.tree.flatten(found), keras.tree.flatten(expected), strict=True
    ):
        np.testing.assert_allclose(a, b, **tolerances)


def of_draw(outputs, number):
    return keras.tree.map_structure(lambda y: y[number], outputs)


@pytest.mark.parametrize("make", table.MODELS, ids=lambda f: f.__name__)
def test_draws_are_the_model_with_the_drawn_kernels(make):
    model, x = table.settled(make)
    function = layer_draws.LayerDraws(model, x, antithetic=False)
    assert function.costs(x).can_stack == table.MODELS[make]
    half = make is table.half_precision
    tolerances = {
        "rtol": 1e-2 if half else 1e-4,
        "atol": 1e-2 if half else 1e-5,
    }
    loop = function.compiled(LOOPED)(x, KEY, 1, 4)
    for number in range(3):
        key = random.fold(KEY, number + 1)
        expected = by_hand(model, x, key)
        assert_same(of_draw(loop, number), expected, **tolerances)
    spread = [np.ptp(y, 0).max() for y in keras.tree.flatten(loop)]
    assert max(spread) > 0.05
    if table.MODELS[make]:
        stack = function.compiled(STACKED)(x, KEY, 1, 4)
        assert_same(stack, loop, **tolerances)


def test_a_draw_in_numpy():
    """The same for an MLP, from the words of the key on."""
    model, x = table.sequential()
    found = layer_draws.LayerDraws(model, x, False).draws(x, KEY, 5, 6)[0]
    h = x
    for i, layer in enumerate(model.layers):
        key = random.fold(random.fold(KEY, 5), i)
        drawn = []
        for j, posterior in enumerate(layer.posteriors):
            size = posterior.loc.shape.num_elements()
            words = random.grid_bits(random.fold(key, j)[None], [0], size)
            noise = random.normal_from_bits(words).numpy()
            noise = noise.reshape(posterior.loc.shape)
            drawn.append(posterior.loc.numpy() + posterior.scale * noise)
        h = layer.activation(h @ drawn[0] + drawn[1]).numpy()
    np.testing.assert_allclose(found, h, rtol=1e-4, atol=1e-5)


def test_ways_have_the_same_signs():
    """Antithetic draws, in a loop and at once: pairs about the mean."""
    model = keras.Sequential([keras.Input((3,)), table.dense(2)])
    function = layer_draws.LayerDraws(model, table.X, antithetic=True)
    stack, loop = (
        function.compiled(way)(table.X, KEY, 0, 6).numpy()
        for way in (STACKED, LOOPED)
    )
    np.testing.assert_allclose(stack, loop, atol=1e-5)
    mean = function.mean(table.X)[0]
    for pair in (stack[0:2], stack[2:4]):
        np.testing.assert_allclose(pair.mean(0), mean, atol=1e-5)
    rows = np.arange(4)
    apart = function.compiled(MARGINAL)(table.X, KEY, 0, 6, rows).numpy()
    np.testing.assert_allclose(apart[2:4].mean(0), mean, atol=1e-5)
    # From pair to pair they are independent, and differ.
    assert np.abs(stack[0] - stack[2]).min() > 1e-4


def test_layers_that_run_kerass_code_have_the_signs_too():
    layer = layers.Variational(keras.layers.Dense(2))
    model = keras.Sequential([keras.Input((3,)), layer])
    function = layer_draws.LayerDraws(model, table.X, antithetic=True)
    draws = function.draws(table.X, KEY, 0, 2)
    mean = function.mean(table.X)[0]
    np.testing.assert_allclose(draws.mean(0), mean, atol=1e-5)
    assert np.abs(draws[0] - draws[1]).max() > 0.05


@pytest.mark.parametrize("way", [LOOPED, STACKED, MARGINAL])
@pytest.mark.parametrize("rate", [0.3, 0.5])
def test_antithetic_masks(rate, way):
    """What one draw of a pair drops the other keeps; at 1/2 nothing else."""
    inputs, ones = keras.Input((50,)), np.ones((2, 50), "float32")
    model = keras.Model(inputs, layers.MCDropout(rate)(inputs))
    function = layer_draws.LayerDraws(model, ones, antithetic=True)
    rows = [np.arange(2)] if way is MARGINAL else []
    kept = function.compiled(way)(ones, KEY, 0, 5, *rows).numpy() > 0
    for one, other in (kept[0:2], kept[2:4]):
        assert np.any(one != other)
        assert np.all(one | other)
        assert np.all(one ^ other) == (rate == 0.5)
    assert np.any(kept[0] != kept[2])
    assert np.any(kept[0] == kept[2])
    assert np.any(~kept[4])  # the last of an odd number has no mirror image


def test_draws_and_layers_are_independent():
    x, ones = keras.Input((1,)), np.ones((1, 1), "float32")
    both = [layers.DenseFlipout(1, **table.NOISY)(x) for _ in range(2)]
    model = keras.Model(x, keras.layers.Concatenate()(both))
    function = layer_draws.LayerDraws(model, ones, antithetic=False)
    for y in (
        function.draws(ones, KEY, 0, 20_000),
        function.draws(ones, KEY, 0, 20_000, Draws.MARGINAL),
        function.compiled(Way(Draws.MIXED))(ones, KEY, 0, 20_000, [0]).numpy(),
        function.compiled(Way(Draws.MIXED, is_stacked=True))(
            ones, KEY, 0, 20_000, [0]
        ).numpy(),
    ):
        a, b = y[:, 0, 0], y[:, 0, 1]
        assert_correlation(a, b, 0.0)
        assert_correlation(a[1:], a[:-1], 0.0)
        assert_correlation(a[1:], b[:-1], 0.0)


@pytest.mark.parametrize("draws", [Draws.MARGINAL, Draws.MIXED])
def test_rows_have_indices(draws):
    """A row's draws are its own, whatever rows come with it."""
    model, x = table.sequential()
    function = layer_draws.LayerDraws(model, x, antithetic=False)
    draw = functools.partial(function.draws, draws=draws)
    whole = draw(x, KEY, 0, 3, first_row=10)
    part = draw(x[2:], KEY, 1, 3, first_row=12)
    np.testing.assert_allclose(part, whole[1:, 2:], atol=1e-6)
    moved = draw(x, KEY, 0, 3, first_row=11)
    assert np.abs(moved - whole).min() > 1e-6


def test_one_trace_for_all_lengths():
    model, x = table.any_length()
    first = engine.draw_function(model, x)
    expected = first.draws(x, KEY, 0, 2)
    padded = np.concatenate([x, x[:, :2]], axis=1)
    assert engine.draw_function(model, padded) is first
    np.testing.assert_allclose(
        first.draws(padded, KEY, 0, 2), expected, atol=1e-5
    )
    assert first.compiled(STACKED).experimental_get_tracing_count() == 1
    long, short = first.costs(padded), first.costs(x)
    many, few = (c.works[Draws.COHERENT] for c in (long, short))
    assert many.normals == few.normals
    assert many.flops_per_row > few.flops_per_row
    assert long.bytes_per_row > short.bytes_per_row


def test_layers_added_to_a_model_are_seen():
    model = keras.Sequential([keras.Input((3,)), table.dense(2)])
    before = engine.draw_function(model, table.X).draws(table.X, KEY, 0, 3)
    model.add(keras.layers.ReLU())  # it has no variables
    after = engine.draw_function(model, table.X).draws(table.X, KEY, 0, 3)
    np.testing.assert_allclose(after, np.maximum(before, 0), atol=1e-6)
    assert before.min() < -0.01
