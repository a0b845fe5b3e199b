"""Draws for prediction in one pass of XLA, against the same as operations."""

import numpy as np
import pytest
import tensorflow as tf

from tfpbnn import fused, random
from tfpbnn.fused import draws as fused_draws
from tfpbnn.fused import thresholds
from tfpbnn.fused.draws import _fused_perturbed

KEYS = tf.stack([random.as_key(seed) for seed in range(7)])


@pytest.mark.parametrize("size", [1, 5])
def test_short_rows_are_compiled_if_there_are_many(size, monkeypatch):
    """Of the same numbers, whichever it is."""
    rows = tf.range(3, 40, dtype=tf.int64)
    grid = tf.function(fused.normal_grid, autograph=False)
    plain = grid(KEYS, rows, size)
    with fused.enabled(draws=True):
        few = tf.function(fused.normal_grid, autograph=False)
        np.testing.assert_array_equal(few(KEYS, rows, size), plain)
        monkeypatch.setattr(thresholds, "MANY", 7 * 37 * size)
        many = tf.function(fused.normal_grid, autograph=False)
        found = many(KEYS, rows, size).numpy()
    np.testing.assert_allclose(found, plain, atol=1e-5)
    # By XLA's own polynomial: so it was another way.
    assert size == 1 or np.any(found != plain)


def grid_of(draws, rows, size):
    """Keys, numbers of rows, and normals of their addresses."""
    keys = tf.stack([random.as_key(seed) for seed in range(draws)])
    numbers = tf.range(3, 3 + rows, dtype=tf.int64)
    words = random.grid_bits(keys, numbers, size)
    return keys, numbers, random.normal_from_bits(words).numpy()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("is_stacked", [True, False])
@pytest.mark.parametrize("size", [10, 33])
def test_perturbed(size, is_stacked, dtype, monkeypatch):
    """For numbers of draws and rows that are padded, and others."""
    monkeypatch.setattr(thresholds, "MANY", 1)
    calls = []
    one_pass = _fused_perturbed
    monkeypatch.setattr(
        fused_draws,
        "_fused_perturbed",
        lambda *args: calls.append(1) or one_pass(*args),
    )

    def signed_draw(mean, scale, keys, rows, signs):
        with random.entered(random.DrawScope(keys, signs=signs)):
            return fused.add_draw_noise(mean, scale, keys, rows)

    draw = tf.function(
        signed_draw,
        input_signature=[
            tf.TensorSpec([None if is_stacked else 1, None, size], dtype),
            tf.TensorSpec([None if is_stacked else 1, None, size], "float32"),
            tf.TensorSpec([None, 2], tf.int64),
            tf.TensorSpec([None], tf.int64),
            tf.TensorSpec([None], "float32"),
        ],
        autograph=False,
    )
    rng = np.random.default_rng(0)
    for draws, rows in ((1, 1), (5, 37), (41, 32), (41, 100)):
        shape = (draws if is_stacked else 1, rows, size)
        mean = rng.normal(size=shape).astype(dtype)
        scale = rng.uniform(0.5, 2, shape).astype("float32")
        signs = rng.choice([-1.0, 1.0], draws).astype("float32")
        keys, numbers, noise = grid_of(draws, rows, size)
        with fused.enabled(draws=True):
            found = draw(mean, scale, keys, numbers, signs)
        assert found.dtype == dtype
        expected = mean + signs[:, None, None] * scale * noise
        tolerance = 1e-2 if dtype == "float16" else 1e-5
        np.testing.assert_allclose(found, expected, atol=tolerance)
    assert calls


@pytest.mark.parametrize("is_fused", [True, False])
def test_one_scale_for_all_and_no_signs(is_fused):
    keys, numbers, noise = grid_of(3, 37, 20)
    mean = tf.reshape(tf.range(37.0 * 20), [1, 37, 20]) / 100
    draw = tf.function(
        lambda scale: fused.add_draw_noise(mean, scale, keys, numbers),
        autograph=False,
    )
    with fused.enabled(draws=is_fused):
        found = draw(tf.fill([1, 1, 1], 2.0))
    np.testing.assert_allclose(found, mean + 2 * noise, atol=1e-5)


def test_noise_that_all_rows_share():
    keys, numbers, noise = grid_of(3, 1, 20)
    mean = tf.reshape(tf.range(37.0 * 20), [1, 37, 20]) / 100
    with fused.enabled(draws=True):
        found = fused.add_draw_noise(
            mean, tf.ones_like(mean), keys, tf.ensure_shape(numbers, [1])
        )
    np.testing.assert_allclose(found, mean + noise, atol=1e-5)
