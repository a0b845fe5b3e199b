"""Dropout and other noise that is there in prediction too."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import optimize, stats

import tfpbnn
from tests.checks import check_save
from tests.statistics import FALSE_FAIL, assert_mean
from tfpbnn import layers, random

RATE = 0.3
SELU = -1.0507009873554805 * 1.6732632423543772
SLOPE = ((1 - RATE) * (1 + RATE * SELU**2)) ** -0.5
RNG = np.random.default_rng(0)


def same_moments(x):
    return x, x**2 * RATE / (1 - RATE)


def alpha_moments(x):
    mean = (1 - RATE) * x + RATE * SELU
    variance = RATE * (1 - RATE) * (x - SELU) ** 2
    return SLOPE * mean - SLOPE * SELU * RATE, SLOPE**2 * variance


# A layer, and the mean and variance of its outputs.
CASES = [
    (layers.MCDropout(RATE), 2, same_moments),
    (layers.MCDropout(RATE, noise_shape=(None, 1, None)), 3, same_moments),
    (layers.MCSpatialDropout1D(RATE), 3, same_moments),
    (layers.MCSpatialDropout2D(RATE), 4, same_moments),
    (layers.MCSpatialDropout3D(RATE, "channels_first"), 5, same_moments),
    (layers.MCAlphaDropout(RATE), 2, alpha_moments),
    (layers.MCGaussianDropout(RATE), 2, same_moments),
    (layers.MCGaussianNoise(0.2), 2, lambda x: (x, 0.04 + 0 * x)),
    (layers.VariationalDropout(RATE), 2, same_moments),
]
IDS = [f"{i}-{type(case[0]).__name__}" for i, case in enumerate(CASES)]


def inputs(rank):
    return RNG.uniform(1, 2, (2, 3, 2, 2, 2)[:rank]).astype("float32")


def in_scope(layer, x, count, rows=None, seed=0, start=0, signs=None):
    """`count` draws at once, as `predict` asks for them."""
    numbers = tf.range(start, start + count)
    scope = random.DrawScope(
        random.fold(random.as_key(seed), numbers), rows, signs
    )
    scope.is_shared = True
    with random.entered(scope):
        y = layer(x)
    return np.reshape(y, [count, *x.shape])


def each_call(layer, x, training):
    """Rows of one call: independent draws."""
    y = layer(np.tile(x[:1], [20_000] + [1] * (x.ndim - 1)), training=training)
    return np.asarray(y)[:, np.newaxis]


@pytest.mark.parametrize(("layer", "rank", "moments"), CASES, ids=IDS)
@pytest.mark.parametrize(
    "how", ["training", "inference", "coherent", "marginal", "antithetic"]
)
def test_moments(layer, rank, moments, how):
    x = inputs(rank)
    if how in ("training", "inference"):
        x = x[:1]
        found = each_call(layer, x, how == "training")
    else:
        rows = tf.constant([4, 9], tf.int64) if how == "marginal" else None
        signs = -tf.ones([20_000], tf.int32) if how == "antithetic" else None
        found = in_scope(layer, x, 20_000, rows, signs=signs)
    mean, variance = (np.broadcast_to(m, x.shape) for m in moments(x))
    each = FALSE_FAIL / (2 * x.size * len(CASES))
    for index in np.ndindex(x.shape):
        draws = found[(slice(None), *index)].astype("float64")
        assert_mean(draws, mean[index], each)
        assert_mean((draws - mean[index]) ** 2, variance[index], each)


@pytest.mark.parametrize(("layer", "rank", "moments"), CASES, ids=IDS)
def test_a_draw_is_one_function_unless_rows_are_drawn_apart(
    layer, rank, moments
):
    del moments
    x = np.repeat(inputs(rank)[:1], 3, axis=0)
    together = in_scope(layer, x, 8)
    np.testing.assert_array_equal(together[:, 0], together[:, 1])
    assert np.any(together[0] != together[1])
    rows = tf.range(3, dtype=tf.int64)
    apart = in_scope(layer, x, 8, rows)
    assert np.any(apart[:, 0] != apart[:, 1])
    # Numbers depend on the draw and the row, not on what else is asked for.
    some = in_scope(layer, x[:2], 3, rows[1:], start=5)
    np.testing.assert_allclose(some, apart[5:, 1:], rtol=1e-6)
    with random.draw_scope(random.fold(random.as_key(0), 6)):
        one = layer(x)
    np.testing.assert_allclose(one, together[6], rtol=1e-6)
    with random.draw_scope(None):
        np.testing.assert_array_equal(layer(x), x)


@pytest.mark.parametrize(
    ("shape", "equal_axes"),
    [((None, 1, None), [1]), ((1, None, None), [0]), ((1, 1, 4), [0, 1])],
)
@pytest.mark.parametrize("how", ["plain", "coherent", "marginal"])
def test_noise_shape(shape, equal_axes, how):
    layer, x = layers.MCDropout(0.5, shape), np.ones((8, 9, 4), "float32")
    if how == "plain":
        y = np.asarray(layer(x))[np.newaxis]
    else:
        rows = tf.range(8, dtype=tf.int64) if how == "marginal" else None
        y = in_scope(layer, x, 3, rows)
    for axis in range(3):
        is_equal = np.all(y == np.take(y, [0], axis + 1))
        expected = axis in equal_axes or (axis == 0 and how == "coherent")
        assert is_equal == expected


def test_sequences_of_unknown_length():
    layer = layers.MCDropout(0.5)
    model = keras.Sequential([keras.Input((None, 4)), layer])
    with random.draw_scope(random.as_key(0)):
        y = model(np.ones((2, 7, 4), "float32"))
    assert y.shape == (2, 7, 4)
    np.testing.assert_array_equal(y[0], y[1])
    run = tf.function(
        lambda x: in_scope_graph(layer, x),
        input_signature=[tf.TensorSpec([None, None, 4])],
    )
    assert run(np.ones((2, 5, 4), "float32")).shape == (6, 5, 4)


def in_scope_graph(layer, x):
    keys = random.fold(random.as_key(0), tf.range(3))
    scope = random.DrawScope(keys)
    scope.is_shared = True
    with random.entered(scope):
        return layer(x)


def test_training_drops_as_keras_does():
    """The same share, the same values of what is kept, in float16 too."""
    x = np.full((2000, 50), 2.0, "float32")
    for dtype in ("float32", "float16"):
        ours = np.asarray(layers.MCDropout(0.4, dtype=dtype)(x, training=True))
        theirs = keras.layers.Dropout(0.4, dtype=dtype)(x, training=True)
        np.testing.assert_allclose(
            np.unique(ours), np.unique(theirs), rtol=1e-3
        )
        low, high = stats.binom.ppf([5e-7, 1 - 5e-7], x.size, 0.4)
        assert low <= np.sum(ours == 0) <= high


def all_layers(policy):
    """One model of all the layers, to compile once."""
    parts = [
        layers.MCSpatialDropout3D(0.1),
        keras.layers.Reshape((4, 4, 4)),
        layers.MCSpatialDropout2D(0.1),
        layers.Conv2DDropConnect(4, 3, padding="same", rate=0.2),
        keras.layers.Reshape((16, 4)),
        layers.MCSpatialDropout1D(0.1),
        layers.Conv1DDropConnect(4, 3, rate=0.1),
        layers.ConcreteDropout(keras.layers.Conv1D(3, 3)),
        layers.MCWrapper(keras.layers.GRU(5, recurrent_dropout=0.2)),
        layers.MCDropout(0.1, noise_shape=(None, 5)),
        layers.MCAlphaDropout(0.1),
        layers.DenseDropConnect(6, rate=0.1, kernel_prior="normal"),
        layers.MCGaussianDropout(0.1),
        layers.MCGaussianNoise(0.1),
        layers.VariationalDropout(),
        layers.ConcreteDropout(keras.layers.Dense(2)),
    ]
    keras.config.set_dtype_policy(policy)
    again = [type(part).from_config(part.get_config()) for part in parts]
    for one, other in zip(parts, again, strict=True):
        assert one.get_config() == other.get_config()
    if policy != "float32":
        again = [
            type(part).from_config(part.get_config() | {"dtype": policy})
            for part in parts
        ]
    return tfpbnn.Sequential([keras.Input((4, 4, 2, 2)), *again])


def dense_layers():
    """A model that XLA compiles in little time."""
    parts = [
        layers.MCDropout(0.1),
        layers.ConcreteDropout(keras.layers.Dense(6)),
        layers.DenseDropConnect(6, rate=0.1, kernel_prior="normal"),
        layers.MCGaussianDropout(0.1),
        layers.VariationalDropout(),
        keras.layers.Dense(2),
    ]
    flat = [keras.Input((4, 4, 2, 2)), keras.layers.Flatten()]
    return tfpbnn.Sequential([*flat, *parts])


X = RNG.normal(size=(12, 4, 4, 2, 2)).astype("float32")
Y = RNG.normal(size=(12, 2)).astype("float32")


def check_training(model, jit_compile):
    model.compile("adam", "mse", jit_compile=jit_compile)
    before = [np.array(v.numpy()) for v in model.trainable_variables]
    history = model.fit(X, Y, epochs=2, verbose=0, batch_size=6)
    assert np.all(np.isfinite(history.history["loss"]))
    for a, b in zip(before, model.trainable_variables, strict=True):
        assert np.any(a != b.numpy()), f"{b.path} was not trained"
    assert {loss.dtype for loss in model.losses} == {tf.float32}


def test_all_layers_train_in_mixed_precision():
    check_training(all_layers("mixed_float16"), jit_compile=False)


def test_layers_train_under_xla_and_predict():
    model = dense_layers()
    check_training(model, jit_compile=True)
    whole = tfpbnn.predict(model, X, 4, seed=0, verbose=0).outputs
    parts = tfpbnn.predict(model, X, 4, 5, seed=0, verbose=0).outputs
    np.testing.assert_allclose(whole, parts, atol=1e-5)
    assert np.all(whole.std(0) > 0)


def test_all_layers_load_in_a_fresh_process(tmp_path):
    converted = tfpbnn.mc_dropout(
        keras.Sequential(
            [
                keras.Input((5, 4)),
                keras.layers.Dropout(0.2),
                keras.layers.Bidirectional(keras.layers.GRU(3, dropout=0.3)),
                keras.layers.Dense(2),
            ]
        )
    )
    cases = [
        (all_layers("float32"), X),
        (converted, RNG.normal(size=(8, 5, 4))),
    ]
    check_save(cases, tmp_path)


def test_kl_of_concrete_dropout():
    layer = layers.ConcreteDropout(
        keras.layers.Conv2D(3, 2),
        initial_rate=0.2,
        length_scale=0.5,
        kl_weight=0.1,
    )
    layer(np.ones((1, 4, 4, 5), "float32"))
    kernel = layer.layer.kernel.numpy()
    entropy = -(0.2 * np.log(0.2) + 0.8 * np.log(0.8))
    expected = 0.25 * np.sum(kernel**2) / (2 * 0.8) - 5 * entropy
    np.testing.assert_allclose(layer.losses[0], 0.1 * expected, rtol=1e-5)
    layer.trainable = False
    assert layer.losses == []


W = np.full((4, 1), 0.3, "float32")
FEATURES = np.random.default_rng(1).normal(size=(200, 4)).astype("float32")
FEW, MANY = 20, 60


def train(layer, steps):
    """As `fit` does, but all steps in one call."""
    x, y = np.tile(FEATURES, (5, 1)), np.tile(FEATURES @ W, (5, 1))
    likelihood = tfpbnn.likelihoods.Normal(scale=1.0)
    optimizer = keras.optimizers.Adam(0.01)
    optimizer.build(layer.trainable_variables)

    def step(number):
        with tf.GradientTape() as tape:
            loss = likelihood(y, layer(x)) + tf.add_n(layer.losses)
        gradients = tape.gradient(loss, layer.trainable_variables)
        optimizer.apply(gradients)
        return number + 1

    @tf.function(autograph=False)
    def run():
        return tf.while_loop(lambda n: n < steps, step, [0])

    run()


@pytest.fixture(scope="module")
def learned():
    """Of a linear model, from few data and from more: {N: (rate, variance)}."""
    found = {}
    for count in (FEW, MANY):
        keras.utils.set_random_seed(0)
        dense = keras.layers.Dense(1, use_bias=False)
        layer = layers.ConcreteDropout(
            dense, initial_rate=0.15, kl_weight=1 / count
        )
        model = keras.Sequential([keras.Input((4,)), layer])
        train(layer, 1500)
        likelihood = tfpbnn.likelihoods.Normal(scale=1.0)
        p = tfpbnn.predict(model, FEATURES, 200, seed=0, likelihood=likelihood)
        found[count] = (float(layer.rate), float(p.epistemic_variance.mean()))
    return found


def best_rate(count):
    """Of the bound, in closed form, for targets without noise.

    Per example: ((k - w)' C (k - w) + r / (1 - r) k' diag(C) k) / 2, and the KL
    over N.
    """
    covariance = FEATURES.T.astype("float64") @ FEATURES / len(FEATURES)

    def bound(r):
        noise = np.diag(np.diag(covariance)) * r / (1 - r)
        noise += np.eye(4) / (count * (1 - r))
        k = np.linalg.solve(covariance + noise, covariance @ W)
        fit = (k - W).T @ covariance @ (k - W) + k.T @ noise @ k
        return fit.item() / 2 - 4 * stats.bernoulli(r).entropy() / count

    return optimize.minimize_scalar(bound, bounds=(1e-4, 0.6)).x


def test_concrete_dropout_finds_the_best_rate(learned):
    for count, (rate, _) in learned.items():
        # Masks are not quite 0 or 1 in training.
        np.testing.assert_allclose(rate, best_rate(count), rtol=0.2)


def test_epistemic_falls_as_data_grow(learned):
    assert learned[MANY][0] < 0.5 * learned[FEW][0]
    assert learned[MANY][1] < 0.6 * learned[FEW][1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.MCDropout(1.0), "`rate` must be a number from 0 to"),
        (lambda: layers.MCGaussianDropout(-0.1), "Received: rate=-0.1"),
        (lambda: layers.DenseDropConnect(2, rate=2), "Received: rate=2"),
        (lambda: layers.MCGaussianNoise(-1), "`stddev` must be .* stddev=-1"),
        (lambda: layers.MCDropout(0.1, "ab"), "noise_shape='ab'"),
        (lambda: layers.MCDropout(0.1, (0, 1)), "`noise_shape` must be None"),
        (
            lambda: layers.MCDropout(0.1, (1, 1))(np.ones((2, 3, 4))),
            r"`noise_shape` must have .* noise_shape=\(1, 1\)",
        ),
        (
            lambda: layers.ConcreteDropout(keras.layers.ReLU()),
            "`layer` must be a Dense",
        ),
        (
            lambda: layers.ConcreteDropout(
                keras.layers.Dense(1), initial_rate=0
            ),
            "between 0 and 1, exclusive. Received: initial_rate=0",
        ),
        (
            lambda: layers.ConcreteDropout(
                keras.layers.Dense(1), length_scale=0
            ),
            "Received: length_scale=0",
        ),
        (
            lambda: layers.VariationalDropout(kl_weight=-1.0),
            "`kl_weight` must be",
        ),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
