"""Layers whose channels are members: packed ones, and to and from rows."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tests.layers.table import normal
from tfpbnn import layers


def test_packed_dense_is_block_diagonal():
    """gamma=2 and 2 members: four groups, each of its own inputs."""
    layer = layers.PackedDense(6, "tanh", num_members=2, gamma=2, alpha=2.5)
    assert layer.width == 16  # 2.5 * 6, in four groups
    x = normal(3, 2, 8)
    y = layer(x)
    kernel = np.asarray(layer.kernel)
    assert kernel.shape == (2, 16)
    layer.bias.assign(normal(16))
    full = np.zeros((8, 16))
    for g in range(4):
        block = slice(4 * g, 4 * g + 4)
        full[2 * g : 2 * g + 2, block] = kernel[:, block]
    y = layer(x)
    np.testing.assert_allclose(
        y, np.tanh(x @ full + np.asarray(layer.bias)), atol=1e-6
    )
    again = layers.PackedDense.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


def test_a_packed_convolution_of_one_position_is_dense():
    kwargs = {"num_members": 2, "gamma": 2, "activation": "relu"}
    x = normal(3, 5, 8)
    dense = layers.PackedDense(8, **kwargs)
    conv = layers.PackedConv1D(8, 1, **kwargs)
    expected, _ = dense(x), conv(x)
    conv.set_weights([dense.get_weights()[0][None], dense.get_weights()[1]])
    np.testing.assert_allclose(conv(x), expected, atol=1e-6)
    again = layers.PackedConv1D.from_config(conv.get_config())
    assert again.get_config() == conv.get_config()


@pytest.mark.parametrize("seed", [None, 3])
def test_members_start_as_small_networks_do(seed):
    """Within Glorot's limits of their own sizes, up to them, and differ."""
    start = keras.initializers.GlorotUniform(seed=seed)
    layer = layers.PackedDense(
        64, num_members=4, alpha=4, kernel_initializer=start
    )
    layer.build((None, 128))
    parts = np.split(np.asarray(layer.kernel), 4, axis=1)
    limit = np.sqrt(6 / (32 + 64))
    for part in parts:
        assert 0.99 * limit < np.abs(part).max() <= limit
    assert np.abs(parts[0] - parts[1]).max() > 0.1


def test_packed_flatten_keeps_members_together():
    x = normal(2, 3, 3, 8)
    found = layers.PackedFlatten(2)(x)
    expected = [x[..., :4].reshape(2, -1), x[..., 4:].reshape(2, -1)]
    np.testing.assert_array_equal(found, np.concatenate(expected, axis=1))


def test_join_in_inference_gives_all_members_the_same():
    x = normal(4, 3, 2)
    features, order = layers.JoinMembers(3)(x)
    np.testing.assert_array_equal(features, np.concatenate([x] * 3, -1))
    np.testing.assert_array_equal(order, np.tile(np.arange(4)[:, None], 3))
    y = layers.SplitMembers(3)(features, order)
    np.testing.assert_array_equal(y, np.concatenate([x] * 3))


@pytest.mark.parametrize("repetition", [1, 2])
def test_split_undoes_the_orders_of_join(repetition):
    x = normal(10, 3)
    join = layers.JoinMembers(2, 0.3, repetition, seed=1)
    features, order = join(x, training=True)
    a, b = np.split(np.asarray(features), 2, axis=1)
    for part, places in ((a, order[:, 0]), (b, order[:, 1])):
        np.testing.assert_array_equal(part, x[np.asarray(places) % 10])
        assert sorted(np.asarray(places)) == list(range(10 * repetition))
    assert np.sum(np.all(a == b, axis=1)) >= 3 * repetition
    y = layers.SplitMembers(2)(features, order, training=True)
    np.testing.assert_array_equal(y, np.concatenate([x] * 2 * repetition))
    later, _ = join(x, training=True)
    assert np.any(np.asarray(later) != np.asarray(features))


def test_members_inputs_are_independent():
    """Pairs of rows meet as often as by chance: an alarm in a million."""
    join, count, rows = layers.JoinMembers(2, seed=0), 4000, 6
    join.build((None, 1))

    @tf.function(autograph=False)
    def run():
        return tf.map_fn(
            lambda _: join(tf.zeros([rows, 1]), training=True)[1],
            tf.range(count),
            fn_output_signature=tf.int32,
        )

    order = run().numpy()
    pairs = np.zeros((rows, rows))
    np.add.at(pairs, (order[..., 0].ravel(), order[..., 1].ravel()), 1)
    # Row 0 of the first member meets each row with probability 1 / 6.
    assert stats.chisquare(pairs[0]).pvalue > 1e-6
    places = np.argmax(order[..., 0] == 0, axis=1)
    assert stats.chisquare(np.bincount(places)).pvalue > 1e-6


def test_configs_and_bad_input():
    for layer in (
        layers.SplitMembers(3),
        layers.JoinMembers(3, 0.5, 2, seed=4),
        layers.PackedFlatten(2),
    ):
        again = type(layer).from_config(layer.get_config())
        assert again.get_config() == layer.get_config()
    with pytest.raises(ValueError, match="`units` must be a positive integer"):
        layers.PackedDense(0, num_members=2)
    with pytest.raises(ValueError, match="`alpha` must be a positive"):
        layers.PackedConv2D(3, 3, num_members=2, alpha=0)
    with pytest.raises(ValueError, match="multiple of 4 features"):
        layers.PackedDense(4, num_members=4)(normal(2, 3))
    with pytest.raises(ValueError, match="`num_members` must divide"):
        layers.SplitMembers(4)(normal(2, 3))
    with pytest.raises(ValueError, match="`groups` must divide"):
        layers.PackedFlatten(4)(normal(2, 3, 3))
    with pytest.raises(ValueError, match="`input_repetition_probability` mu"):
        layers.JoinMembers(2, 1.5)
    with pytest.raises(ValueError, match="`batch_repetition` must be a posi"):
        layers.JoinMembers(2, batch_repetition=0)
