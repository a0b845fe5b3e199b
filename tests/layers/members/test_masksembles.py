"""Masks with the statistics of the paper, and what they do to rows."""

import itertools

import keras
import numpy as np
import pytest

from tests.layers.table import normal
from tfpbnn import layers, random
from tfpbnn.particles import engine
from tfpbnn.particles.ways import LOOPED, STACKED


def masks_of(num_members, size, scale, seed=0):
    layer = layers.Masksembles(num_members, scale, seed)
    layer.build((None, size))
    return np.asarray(layer.masks)


@pytest.mark.parametrize(
    ("num_members", "size", "scale"),
    [(4, 64, 2.0), (3, 10, 1.5), (8, 300, 4.0), (4, 16, 1.0), (1, 5, 3.0)],
)
def test_masks(num_members, size, scale):
    found = masks_of(num_members, size, scale)
    assert found.shape == (num_members, size)
    assert set(np.unique(found)) <= {0, 1}
    (ones,) = set(found.sum(axis=1))
    assert found.any(axis=0).all(), "a feature that nobody sees"
    expected = size / (scale * (1 - (1 - 1 / scale) ** num_members))
    assert abs(ones - expected) <= 0.5
    if scale == 1 or num_members == 1:
        assert found.all()


def test_overlap_is_that_of_the_paper():
    """The mean of 180 pairs: to 3 %, some 6 standard errors of it."""
    for scale in (1.5, 3.0):
        shares = []
        for seed in range(30):
            found = masks_of(4, 96, scale, 1000 * seed)
            for a, b in itertools.combinations(found, 2):
                shares.append((a * b).sum() / a.sum())
        assert abs(np.mean(shares) * scale - 1) < 0.03


def test_rows_in_groups_and_in_draws():
    x = normal(7, 2, 16)
    layer = layers.Masksembles(3, 2.0, seed=1)
    # Groups of equal size, up to one row.
    members = [0, 0, 0, 1, 1, 2, 2]
    y = layer(x)
    masks = np.asarray(layer.masks)
    np.testing.assert_array_equal(y, x * masks[members][:, None])
    np.testing.assert_array_equal(masks, masks_of(3, 16, 2.0, 1))
    assert len(layer(x[:1])) == 1
    inputs = keras.Input((2, 16))
    noisy = layers.MCDropout(0.5, seed=2)(layer(inputs))
    # A second mask, of inputs that differ between draws.
    for model, again in (
        (keras.Model(inputs, layer(inputs)), False),
        (keras.Model(inputs, layer(noisy)), True),
    ):
        function = engine.draw_function(model, x)
        assert function.num_draws == (None if again else 3)
        draws = [
            function.compiled(way)(x, random.as_key(0), 0, 6).numpy()
            for way in (LOOPED, STACKED)
        ]
        np.testing.assert_allclose(*draws, rtol=1e-6)
        kept = draws[0] / np.where(x, x, 1)
        assert not np.any(kept[:3] * (1 - masks)[:, None, None])
        assert np.any(kept[:3] * masks[:, None, None])
        assert np.array_equal(draws[0][0], draws[0][3]) != again


def test_config_and_bad_input():
    layer = layers.Masksembles(3, 2, seed=4, name="m")
    again = layers.Masksembles.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    with pytest.raises(ValueError, match="`num_members` must be a positive"):
        layers.Masksembles(0)
    with pytest.raises(ValueError, match="`scale` must be a finite number of"):
        layers.Masksembles(2, 0.5)
    with pytest.raises(ValueError, match=r"need more features.*9 features"):
        layers.Masksembles(8, 50.0)(normal(4, 9))
