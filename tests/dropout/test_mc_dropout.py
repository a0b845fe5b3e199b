"""mc_dropout, layers with dropout inside, DropConnect, and Gal's prior."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.checks import draws
from tests.statistics import FALSE_FAIL, assert_mean
from tfpbnn import families, layers, priors, random
from tfpbnn.dropout import implied_prior
from tfpbnn.priors.kl import kl_divergence

X = np.random.default_rng(0).normal(size=(8, 5, 4)).astype("float32")
Y = np.zeros((8, 2), "float32")
MSE = tfpbnn.likelihoods.Normal(scale=1.0)


def make_nested():
    """Nested, with several inputs, a dropout in two places and a BatchNorm."""
    a = keras.Input((5, 4))
    h = keras.layers.Dense(6, activation="relu")(a)
    h = keras.layers.SpatialDropout1D(0.2)(h)
    inner = keras.Model(a, keras.layers.BatchNormalization()(h), name="inner")
    head = keras.Sequential(
        [
            keras.Input((5, 6)),
            keras.layers.LSTM(3, dropout=0.2, recurrent_dropout=0.1, name="r"),
            keras.layers.Dropout(0.3),
        ],
        name="head",
    )
    first, second = keras.Input((5, 4)), keras.Input((5, 4))
    drop = keras.layers.Dropout(0.1, name="drop")
    one, two = drop(inner(first)), drop(inner(second))
    attention = keras.layers.MultiHeadAttention(2, 3, dropout=0.1, name="mha")
    outputs = keras.layers.Dense(2)(head(attention(one, two)))
    model = keras.Model([first, second], outputs)
    model.compile("adam", "mse", metrics=["mae"])
    model.fit([X, X], Y, verbose=0)
    return model


@pytest.fixture(scope="module")
def trained():
    return make_nested()


@pytest.fixture(scope="module")
def mc(trained):
    return tfpbnn.mc_dropout(trained)


def test_what_becomes_of_each_layer(trained, mc):
    assert {layer.name for layer in trained.layers} <= {
        layer.name for layer in mc.layers
    }
    kinds = [type(mc.get_layer(name)) for name in ("drop", "mha")]
    assert kinds == [layers.MCDropout, layers.MCWrapper]
    inner, head = mc.get_layer("inner"), mc.get_layer("head")
    assert type(inner.layers[2]) is layers.MCSpatialDropout1D
    kinds = [layers.MCWrapper, layers.MCDropout]
    assert [type(layer) for layer in head.layers] == kinds
    assert head.layers[1].rate == 0.3
    # A dropout of two places has masks of its own in each.
    places = [x for x in mc.layers if type(x) is layers.MCDropout]
    assert len(places) == 2


def test_without_draws_it_is_the_model(trained, mc):
    mean = tfpbnn.predict(mc, [X, X], draws="mean", likelihood=MSE)
    expected = trained.predict([X, X], verbose=0)
    np.testing.assert_allclose(mean.outputs[0], expected, atol=1e-5)


def test_predict_draws_functions_and_moves_nothing(mc):
    before = [np.array(v.numpy()) for v in mc.weights]
    twice = np.concatenate([X, X])
    p = tfpbnn.predict(mc, [twice, twice], 30, seed=0, likelihood=MSE)
    assert np.all(p.outputs.std(0) > 1e-4)
    np.testing.assert_allclose(p.outputs[:, :8], p.outputs[:, 8:], atol=1e-6)
    parts = tfpbnn.predict(mc, [X, X], 30, 3, seed=0, likelihood=MSE)
    np.testing.assert_allclose(parts.outputs, p.outputs[:, :8], atol=1e-5)
    for a, b in zip(before, mc.weights, strict=True):
        np.testing.assert_array_equal(a, b.numpy())
    rows = np.asarray(mc([twice[:2] * 0 + 1, twice[:2] * 0 + 1]))
    assert np.any(rows[0] != rows[1]), "a plain call's rows have one mask"


def test_weights_are_copied_and_fit_is_as_before(trained):
    """At a rate of 0 both train alike, BatchNorm and all."""
    plain = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(3),
            keras.layers.Dropout(0.0),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(2),
        ]
    )
    plain.compile("sgd", "mse")
    mc = tfpbnn.mc_dropout(plain, rate=0.0)
    before = plain.get_weights()
    losses = []
    for model in (mc, plain):
        keras.utils.set_random_seed(1)
        history = model.fit(X[:, 0], Y, 4, epochs=3, verbose=0)
        losses.append(history.history["loss"])
        if model is mc:
            for a, b in zip(before, plain.get_weights(), strict=True):
                np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_rate_is_for_all_dropout(mc, trained):
    for model in (mc, trained):
        set_to = tfpbnn.mc_dropout(model, rate=0.6)
        head = set_to.get_layer("head")
        rates = [layer.rate for layer in head.layers]
        rates += [set_to.get_layer(name).rate for name in ("drop", "mha")]
        assert rates == [0.6] * 4


def test_dropout_is_put_before_hidden_layers():
    inputs = keras.Input((4,))
    shared = keras.layers.Dense(3, name="shared")
    h = shared(keras.layers.Dense(4, name="first")(inputs))
    h = keras.layers.Dense(4, name="second")(keras.layers.ReLU()(h))
    nested = keras.Sequential([keras.layers.Dense(2, name="last")])
    skip = keras.layers.Dense(4, name="skip")(inputs)
    model = keras.Model(inputs, nested(shared(keras.layers.Add()([h, skip]))))
    mc = tfpbnn.mc_dropout(model, rate=0.5)
    parts = [*mc.layers, *mc.get_layer(nested.name).layers]
    found = {x.name for x in parts if type(x) is layers.MCDropout}
    assert found == {"shared_dropout", "second_dropout", "last_dropout"}
    mean = tfpbnn.predict(mc, X[:, 0], draws="mean", likelihood=MSE).outputs[0]
    np.testing.assert_allclose(mean, model(X[:, 0]), atol=1e-5)
    p = tfpbnn.predict(mc, X[:, 0], 20, likelihood=MSE)
    assert np.all(p.outputs.std(0) > 0)


def test_models_that_cannot_be():
    dense = [keras.Input((4,)), keras.layers.Dense(1)]
    with pytest.raises(ValueError, match="`rate` must be given"):
        tfpbnn.mc_dropout(keras.Sequential(dense))
    with pytest.raises(ValueError, match="no hidden layer with a kernel"):
        tfpbnn.mc_dropout(keras.Sequential(dense), rate=0.5)
    with pytest.raises(ValueError, match=r"`rate` must be .* rate=1.5"):
        tfpbnn.mc_dropout(keras.Sequential(dense), rate=1.5)
    with pytest.raises(ValueError, match="`model` must be built"):
        tfpbnn.mc_dropout(keras.Sequential([keras.layers.Dropout(0.1)]))
    with pytest.raises(TypeError, match=r"`model` must be a Functional"):
        tfpbnn.mc_dropout(keras.layers.Dropout(0.1))

    class Own(keras.Model):
        def call(self, x):
            return x

    own = Own()
    own(X)
    with pytest.raises(TypeError, match=r"Functional or Sequential.*layers"):
        tfpbnn.mc_dropout(own)


def test_a_sequence_has_one_mask():
    """A sum over time is all or nothing, of the units' mask."""
    cell = keras.layers.SimpleRNN(
        1,
        activation="linear",
        kernel_initializer="ones",
        recurrent_initializer="ones",
        dropout=0.25,
    )
    layer = layers.MCWrapper(cell)
    x = np.ones((20_000, 6, 1), "float32")
    for training in (True, False):
        y = np.ravel(layer(x, training=training))
        np.testing.assert_allclose(np.unique(y), [0, 6 / 0.75], rtol=1e-6)
        assert_mean(y, 6.0)
    model = keras.Sequential([keras.Input((6, 1)), layer])
    y = draws(model, x[:3], 4000)
    np.testing.assert_allclose(np.unique(y), [0, 6 / 0.75], rtol=1e-6)
    assert_mean(y[:, 0, 0], 6.0)
    np.testing.assert_array_equal(y[:, 0], y[:, 2])


INSIDE = [
    keras.layers.LSTM(3, recurrent_dropout=0.3),
    keras.layers.Bidirectional(keras.layers.GRU(3, dropout=0.3)),
    keras.layers.RNN(
        keras.layers.StackedRNNCells(
            [
                keras.layers.LSTMCell(3, dropout=0.3),
                keras.layers.GRUCell(2, recurrent_dropout=0.3),
            ]
        )
    ),
    keras.layers.TimeDistributed(keras.layers.Dropout(0.3)),
    keras.layers.ConvLSTM1D(2, 2, dropout=0.3),
]


@pytest.mark.parametrize("inner", INSIDE, ids=lambda x: type(x).__name__)
def test_dropout_inside_of_layers(inner):
    x = np.ones((3, 5, 4, 2)[: 4 if "Conv" in type(inner).__name__ else 3])
    layer = layers.MCWrapper(inner)
    outputs = []
    for number in (0, 0, 1):
        with random.draw_scope(random.as_key(number)):
            outputs.append(np.asarray(layer(x)))
    np.testing.assert_array_equal(outputs[0], outputs[1])
    np.testing.assert_allclose(outputs[0][0], outputs[0][2], atol=1e-6)
    assert np.any(outputs[0] != outputs[2])
    y = np.asarray(layer(x))
    assert np.any(y[0] != y[1])
    with random.draw_scope(None):
        np.testing.assert_allclose(layer(x), inner(x), atol=1e-6)
    assert "call" not in vars(inner), "the layer was not left as it was"


ATTENTION = [
    keras.layers.Attention(dropout=0.3),
    keras.layers.AdditiveAttention(dropout=0.3),
]


@pytest.mark.parametrize("inner", ATTENTION, ids=lambda x: type(x).__name__)
def test_dropped_scores_of_attention(inner):
    """Mean and variance of `sum_j w_j kept_j v_j / 0.7`, padding without."""
    query, value = keras.Input((2, 3)), keras.Input((4, 3))
    padding = keras.Input((4,), dtype="bool")
    mask = [keras.ops.ones_like(query[..., 0], "bool"), padding]
    trained = keras.Model(
        [query, value, padding], inner([query, value], mask=mask)
    )
    mc = tfpbnn.mc_dropout(trained)
    assert any(type(layer) is layers.MCWrapper for layer in mc.layers)
    inputs = [X[:2, :2, :3], X[:2, 1:, :3], np.ones((2, 4), bool)]
    inputs[2][:, 3] = False
    _, weights = inner(
        inputs[:2],
        mask=[np.ones((2, 2), bool), inputs[2]],
        return_attention_scores=True,
    )
    assert np.all(np.asarray(weights)[..., 3] == 0)
    mean = np.matmul(weights, inputs[1])
    variance = np.matmul(np.square(weights), inputs[1] ** 2) * 0.3 / 0.7
    p = tfpbnn.predict(mc, inputs, 4000, seed=0, likelihood=MSE)
    for i in np.ndindex(mean.shape):
        values = p.outputs[(slice(None), *i)].astype("float64")
        assert_mean(values, mean[i], FALSE_FAIL / 24)
        assert_mean((values - mean[i]) ** 2, variance[i], FALSE_FAIL / 24)
    same = tfpbnn.predict(mc, inputs, draws="mean", likelihood=MSE).outputs[0]
    np.testing.assert_allclose(same, trained(inputs), atol=1e-6)
    assert "_apply_scores" not in vars(inner)


def test_masks_of_padded_sequences_go_through():
    inner = keras.layers.LSTM(3, recurrent_dropout=0.2)
    model = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Embedding(4, 2, mask_zero=True),
            layers.MCWrapper(inner),
        ]
    )
    with random.draw_scope(None):
        long, short = (
            model(np.array([row])) for row in ([1, 2, 0, 0, 0], [1, 2, 0, 0, 0])
        )
    embedded = model.layers[0](np.array([[1, 2]]))
    np.testing.assert_allclose(long, inner(embedded), atol=1e-6)
    np.testing.assert_array_equal(long, short)


def repeated(function, count):
    """The results of many calls, one after another."""

    @tf.function(autograph=False)
    def run():
        return tf.map_fn(
            lambda _: function(),
            tf.range(count),
            parallel_iterations=1,
            fn_output_signature=tf.float32,
        )

    return run().numpy()


@pytest.mark.parametrize("how", ["plain", "coherent"])
def test_drop_connect(how):
    """Each weight is there or not: mean and variance of a linear layer."""
    layer = layers.DenseDropConnect(2, rate=0.3, use_bias=False)
    model = keras.Sequential([keras.Input((4,)), layer])
    x = X[:2, 0]
    if how == "coherent":
        found = draws(model, x, 20_000)
    else:
        found = repeated(lambda: layer(x), 4000)
    kernel = layer.kernel_posterior.loc.numpy()
    mean, variance = x @ kernel, x**2 @ kernel**2 * 0.3 / 0.7
    for i in np.ndindex(mean.shape):
        values = found[(slice(None), *i)].astype("float64")
        assert_mean(values, mean[i], FALSE_FAIL / 16)
        assert_mean((values - mean[i]) ** 2, variance[i], FALSE_FAIL / 16)
    weights = np.unique(np.abs(layer.kernel_posterior.sample(random.as_key(1))))
    assert 0 < np.sum(weights == 0) < 8


def test_kl_of_drop_connect_is_a_decay():
    family = families.DropConnect(0.25)
    family.build((3, 4))
    prior = priors.Normal(scale=2.0)
    prior.build((3, 4))
    key = random.as_key(0)
    found = kl_divergence(family, prior, key)
    draw = family.sample(key)
    loc = family.loc.numpy()
    squares = np.sum(loc**2) / 0.75
    constant = 12 * (np.log(2.0) + 0.5 * np.log(2 * np.pi))
    entropy = -12 * (0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    np.testing.assert_allclose(found, squares / 8 + constant - entropy, 1e-5)
    dropped = np.sum(np.asarray(draw) == 0)
    log_prob = dropped * np.log(0.25) + (12 - dropped) * np.log(0.75)
    np.testing.assert_allclose(
        family.distribution().log_prob(draw), log_prob, rtol=1e-5
    )
    np.testing.assert_allclose(family.variance(), loc**2 / 3, rtol=1e-6)
    np.testing.assert_allclose(
        family.distribution().mean(), family.loc, rtol=1e-5
    )


def test_any_layer_can_have_its_weights_dropped():
    layer = layers.EmbeddingReparameterization(
        5, 3, embeddings_posterior="drop_connect", embeddings_prior=None
    )
    y = np.asarray(layer(np.arange(5)))
    assert np.any(y == 0)
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


def test_decay_is_that_of_concrete_dropouts_kl():
    """The prior's part of the KL over N, as an L2 regularizer."""
    layer = layers.ConcreteDropout(
        keras.layers.Dense(3), initial_rate=0.2, length_scale=0.3
    )
    layer(X)
    kl = layer.losses[0]
    layer.layer.kernel.assign(2 * layer.layer.kernel)
    decay = implied_prior.weight_decay(100, 0.2, length_scale=0.3)
    squares = keras.regularizers.L2(decay)(layer.layer.kernel) * 3 / 4
    np.testing.assert_allclose((layer.losses[0] - kl) / 100, squares, rtol=1e-4)


def test_decay_and_precision_for_mse():
    """`mse` is 2 / (precision * outputs) times minus the log-likelihood."""
    nats = implied_prior.weight_decay(50, 0.5)
    assert nats == 0.02
    decay = implied_prior.weight_decay(50, 0.5, precision=4.0, num_outputs=3)
    np.testing.assert_allclose(decay, nats * 2 / 12)
    np.testing.assert_allclose(
        implied_prior.precision(50, 0.5, decay, num_outputs=3), 4.0
    )
    with pytest.raises(ValueError, match=r"`num_examples` must be .*=0"):
        implied_prior.weight_decay(0, 0.5)
    with pytest.raises(ValueError, match=r"`weight_decay` must be .*=-1"):
        implied_prior.precision(10, 0.5, -1)
    with pytest.raises(ValueError, match=r"`rate` must be .*=1"):
        implied_prior.precision(10, 1, 0.1)
