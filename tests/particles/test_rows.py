"""What is known of rows: operations keep them apart, or count as unknown."""

import keras
import numpy as np
import pytest
from keras import ops

import tfpbnn
from tests.particles import table
from tests.statistics import assert_moments
from tfpbnn import layers, random
from tfpbnn.particles import costs, engine, rows
from tfpbnn.particles.split import DrawGraph
from tfpbnn.particles.ways import LOOPED, STACKED

KEY = random.as_key(0)


def thirds(h):
    return ops.reshape(h, (-1, 2, 3))


KEPT = {
    "index": lambda h: h[:, 0],
    "slice": lambda h: h[:, 1:4],
    "new axis": lambda h: h[:, None],
    "last": lambda h: h[..., 0],
    "reshape": thirds,
    "transpose": lambda h: ops.transpose(thirds(h), (0, 2, 1)),
    "swapaxes": lambda h: ops.swapaxes(thirds(h), 1, -1),
    "matmul": lambda h: ops.matmul(thirds(h), ops.reshape(h, (-1, 3, 2))),
    "stack": lambda h: ops.stack([h, 2 * h], axis=1),
    "flip": lambda h: ops.flip(h, axis=1),
    "cumsum": lambda h: ops.cumsum(h, axis=-1),
    "logsumexp": lambda h: ops.logsumexp(h, axis=-1),
    "variance": lambda h: ops.var(h, axis=1),
    "split": lambda h: ops.split(h, 2, axis=1)[1],
    "where": lambda h: ops.where(h > 0, h, 0.1 * h),
    "repeat": lambda h: ops.repeat(h, 2, axis=1),
}
NOT_KEPT = {
    "folded": lambda h: ops.reshape(h, (-1, 3)),
    "transpose": lambda h: ops.transpose(thirds(h), (1, 0, 2)),
    "swapaxes": lambda h: ops.swapaxes(thirds(h), -3, 1),
    "flip": lambda h: ops.flip(h, axis=0),
    "flip all": lambda h: ops.flip(h),
    "cumsum": lambda h: ops.cumsum(h, axis=0),
    "first row": lambda h: h[0],
    "products of rows": lambda h: ops.matmul(h, ops.transpose(h)),
}


def calls_of(function):
    x = keras.Input((6,))
    model = keras.Model(x, function(layers.DenseFlipout(6)(x)))
    return model, DrawGraph(model).calls[1:]


@pytest.mark.parametrize("name", KEPT)
def test_rows_said_to_be_kept_are(name):
    _, calls = calls_of(KEPT[name])
    assert all(map(rows.are_kept, calls))
    h = np.random.default_rng(0).normal(size=(5, 6)).astype("float32")
    alone = [
        np.array(KEPT[name](ops.convert_to_tensor(h[i : i + 1])))
        for i in range(5)
    ]
    together = np.array(KEPT[name](ops.convert_to_tensor(h)))
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-5)


@pytest.mark.parametrize("name", NOT_KEPT)
def test_rows_that_meet_or_move_are_not_said_to_be_kept(name):
    _, calls = calls_of(NOT_KEPT[name])
    assert not all(map(rows.are_kept, calls))


class OwnCell(keras.layers.SimpleRNNCell):
    """A user's, that draws nothing."""


class NoisyCell(keras.layers.SimpleRNNCell):
    def call(self, x, states, training=False):
        x = x + keras.random.normal(keras.ops.shape(x))
        return super().call(x, states, training=training)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda L: L.LSTM(3, dropout=0.5), False),
        (lambda L: L.RNN([L.LSTMCell(2), L.GRUCell(2)]), False),
        (lambda L: L.Bidirectional(L.GRU(3)), False),
        (lambda L: L.TimeDistributed(L.Dropout(0.5)), False),
        (lambda L: L.RNN(OwnCell(3)), False),
        (lambda L: L.RNN(NoisyCell(3)), True),
        (lambda L: L.Bidirectional(layers.LSTMReparameterization(3)), True),
        (lambda L: L.TimeDistributed(layers.DenseFlipout(2)), True),
        (lambda _: layers.DenseFlipout(2, kernel_posterior=None), False),
        (lambda _: layers.DenseBatchEnsemble(2, num_members=2), True),
    ],
)
def test_layers_in_layers_tell_whether_draws_differ(make, expected):
    """Keras's recurrent cells have seeds, for dropout, which is off.

    Members of an ensemble are draws, though each weight is a point.
    """
    layer = make(keras.layers)
    model = keras.Sequential([keras.Input((3, 4)), layer])
    assert DrawGraph(model).effects.is_random == expected


def test_a_recurrent_layer_takes_all_draws_at_once():
    """Draws of the layer before it are more rows to it."""
    x = keras.Input((3, 4))
    h = layers.DenseFlipout(2)(x)
    h = keras.layers.Bidirectional(keras.layers.LSTM(3))(h)
    model = keras.Model(x, layers.DenseFlipout(2)(h))
    inputs = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    assert costs.count(DrawGraph(model), inputs).can_stack
    function = engine.draw_function(model, inputs)
    at_once, one_by_one = (
        function.compiled(way)(inputs, KEY, 0, 5) for way in (STACKED, LOOPED)
    )
    np.testing.assert_allclose(at_once, one_by_one, atol=1e-6)


@pytest.mark.parametrize("draws", ["marginal", "mixed"])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda h: layers.DenseFlipout(2, name="along")(h), "along"),
        (lambda h: ops.flip(h, axis=0), "flip"),
        (lambda h: keras.layers.Lambda(abs, name="mine")(h), "mine"),
    ],
)
def test_what_is_in_the_way_is_named(draws, make, name):
    x = keras.Input((3, 4))
    h = keras.layers.Dense(4)(x)
    h = keras.layers.Dense(2)(make(h))
    h = keras.layers.Flatten()(h)
    outputs = layers.DenseFlipout(2)(h)
    with pytest.raises(ValueError, match=f"Received: model .* with `{name}"):
        tfpbnn.predict(
            keras.Model(x, outputs),
            np.ones((2, 3, 4)),
            2,
            draws=draws,
            likelihood=tfpbnn.likelihoods.Normal(),
        )


def test_rows_may_hide_behind_axes_of_unknown_size():
    """Where shapes don't tell that rows went elsewhere."""
    x, other = keras.Input((None, 6)), keras.Input((5,))
    steps = ops.transpose(layers.DenseFlipout(6)(x), (1, 0, 2))
    row = layers.DenseFlipout(6)(keras.Input((6,)))
    products = ops.matmul(row, other)
    for outputs in (steps, products):
        model = keras.Model(keras.utils.get_source_inputs(outputs), outputs)
        last = DrawGraph(model).calls[-1]
        assert last.outputs[0].shape[0] is None
        assert not rows.are_kept(last)


@pytest.mark.parametrize("draws", ["marginal", "mixed"])
def test_rows_drawn_apart_have_their_moments(draws):
    """Of a kernel of points, after a layer whose outputs are drawn."""
    last = table.dense(2, kernel_posterior="delta")
    model = keras.Sequential([keras.Input((3,)), table.dense(4), last])
    first, x = model.layers[0], table.X
    raw = last.bias_posterior.untransformed_scale
    raw.assign(np.full(raw.shape, -6.0))  # so that it hides nothing
    weights = np.array(last.kernel_posterior.loc)
    mean = x @ first.kernel_posterior.loc + first.bias_posterior.loc
    variance = (
        x**2 @ first.kernel_posterior.variance()
        + first.bias_posterior.variance()
    )
    mean = mean @ weights + last.bias_posterior.loc
    variance = variance @ weights**2 + last.bias_posterior.variance()
    p = tfpbnn.predict(
        model, x, 20_000, seed=1, draws=draws, likelihood="mse", verbose=0
    )
    assert_moments(p.outputs, np.array(mean), np.sqrt(variance))
