"""What draws differs from draw to draw, and what keeps state leaves it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfpbnn
from tests.statistics import assert_moments
from tfpbnn import layers, particles
from tfpbnn.base.keras_private import held_layers
from tfpbnn.particles.split import DrawGraph

L = keras.layers
LIKELIHOOD = tfpbnn.likelihoods.Normal(scale=1.0)
X = np.zeros((3, 4), "float32")
TINY = tfpbnn.families.MeanFieldNormal(
    untransformed_scale_initializer=keras.initializers.Constant(-12.0)
)


def predict(model, x=X, num_samples=5, **kwargs):
    kwargs = {"seed": 0, "likelihood": LIKELIHOOD} | kwargs
    return tfpbnn.predict(model, x, num_samples, **kwargs)


@keras.saving.register_keras_serializable()
class Noisy(L.Layer):
    """A user's layer, with what users have to draw with."""

    def __init__(self, kind, **kwargs):
        super().__init__(**kwargs)
        self.kind = kind
        self.seeds = keras.random.SeedGenerator(3)
        self.generator = tf.random.Generator.from_seed(1)
        self.inner = L.GaussianNoise(1.0)

    def build(self, shape):
        self.count = self.add_weight(
            shape=(), dtype="int32", initializer="zeros", trainable=False
        )

    def call(self, x):
        return NOISE[self.kind][0](self, x)

    def get_config(self):
        return super().get_config() | {"kind": self.kind}

    def compute_output_shape(self, shape):
        return shape


def stateless(layer, x):
    seed = tf.stack([1, tf.convert_to_tensor(layer.count)])
    layer.count.assign_add(1)
    return x + tf.random.stateless_normal(tf.shape(x), seed)


def in_a_loop(layer, x):
    """Two steps, each with half of the variance."""
    return tf.while_loop(
        lambda i, _: i < 2,
        lambda i, y: (i + 1, y + unseeded(layer, 0 * y) / 2**0.5),
        (0, x),
    )[1]


def unseeded(_, x):
    return x + keras.random.normal(keras.ops.shape(x))


def in_python(_, x):
    rng = np.random.default_rng(0)

    def draw(x):
        return x + rng.normal(size=x.shape).astype("float32")

    y = tf.numpy_function(draw, [x], tf.float32)
    return tf.ensure_shape(y, x.shape)


def pure(_, x):
    """What is stateful only for TensorFlow: checks, prints, lookups, reads."""
    tf.debugging.assert_less(x, 1e9)
    return tf.while_loop(lambda i, _: i < 2, lambda i, y: (i + 1, y), (0, x))[1]


# By name: standard normal noise, and whether it follows the seed of `predict`.
NOISE = {
    "unseeded": (unseeded, True),
    "own seeds": (
        lambda layer, x: (
            x + keras.random.normal(keras.ops.shape(x), seed=layer.seeds)
        ),
        True,
    ),
    "inner layer": (lambda layer, x: layer.inner(x, training=True), True),
    "tf": (lambda _, x: x + tf.random.normal(tf.shape(x)), False),
    "tf generator": (
        lambda layer, x: x + layer.generator.normal(tf.shape(x)),
        False,
    ),
    "stateless": (stateless, False),
    "tfd": (lambda _, x: tfp.distributions.Normal(x, 1.0).sample(), False),
    "loop": (in_a_loop, False),
    "python": (in_python, False),
    "none": (pure, True),
}
NAMES = [name for name in NOISE if name != "none"]


def last():
    return L.Dense(1, kernel_initializer="ones")


def in_front(noise):
    bayes = layers.DenseFlipout(1, kernel_posterior=TINY)
    model = keras.Sequential([keras.Input((4,)), noise, bayes])
    bayes.kernel_posterior.loc.assign(np.ones((4, 1)))
    return model


def alone(noise):
    return keras.Sequential([keras.Input((4,)), noise, last()])


def in_a_model(noise):
    x = keras.Input((4,))
    return keras.Model(x, alone(noise)(x))


def in_a_wrapper(noise):
    x = keras.Input((4,))
    h = L.TimeDistributed(noise)(L.Reshape((1, 4))(x))
    return keras.Model(x, last()(L.Flatten()(h)))


def as_an_activation(noise):
    hidden = L.Dense(
        4, activation=lambda t: noise(t), kernel_initializer="zeros"
    )
    return keras.Sequential([keras.Input((4,)), hidden, last()])


class Block(keras.Model):
    def __init__(self, noise):
        super().__init__()
        self.noise, self.last = noise, last()

    def call(self, x):
        return self.last(self.noise(x))


def subclassed(noise):
    model = Block(noise)
    model(X)
    return model


PLACES = [in_front, alone, in_a_model, in_a_wrapper, as_an_activation]


def check_noise(name, place):
    _, follows_seed = NOISE[name]
    model = place(Noisy(name))
    draws = predict(model, num_samples=1000).outputs[..., 0]
    assert len(np.unique(draws)) == draws.size  # of draws and of rows
    assert_moments(draws.ravel(), 0.0, 2.0, detects=0.5)  # the sum of four
    again = predict(model, num_samples=1000).outputs[..., 0]
    assert np.array_equal(draws, again) == follows_seed


@pytest.mark.parametrize("name", NAMES)
def test_noise_of_ones_own_is_drawn(name):
    check_noise(name, in_front)


@pytest.mark.parametrize("place", [*PLACES[1:], subclassed])
@pytest.mark.parametrize("name", ["unseeded", "tf"])
def test_it_is_drawn_wherever_it_is(name, place):
    check_noise(name, place)


def test_a_lambda_draws():
    model = alone(L.Lambda(lambda t: t + keras.random.normal(tf.shape(t))))
    assert np.ptp(predict(model).outputs, axis=0).min() > 0.1


@pytest.mark.parametrize("place", [alone, in_a_model, subclassed])
def test_what_draws_nothing_is_done_once(place):
    model = place(Noisy("none"))
    function = particles.draw_function(model, X)
    assert function.effects == type(function.effects)()
    with pytest.raises(ValueError, match="nothing random"):
        predict(model)


def test_keras_layers_off_in_inference_draw_nothing():
    x = keras.Input((4, 4, 3))
    h = L.RandomFlip()(L.RandomRotation(0.2)(L.GaussianNoise(1.0)(x)))
    h = L.SpatialDropout2D(0.5)(h, training=True)  # as in Keras: off
    graph = DrawGraph(keras.Model(x, h))
    assert not graph.effects.is_random
    assert not graph.touched_calls


class Masked(L.Layer):
    """Takes a mask, and can't do without."""

    supports_masking = True

    def call(self, x, mask=None):
        return keras.ops.sum(x * keras.ops.cast(mask[..., None], "float32"), 1)


def test_layers_are_traced_with_the_masks_that_they_get():
    ids = keras.Input((4,), dtype="int32")
    h = Masked()(L.Embedding(5, 3, mask_zero=True)(ids))
    graph = DrawGraph(keras.Model(ids, layers.MCDropout(0.5)(h)))
    assert len(graph.touched_calls) == 1


def test_members_with_noise_of_their_own_have_no_end_of_draws():
    def build():
        return alone(Noisy("own seeds"))

    for alike in (True, False):
        networks = [build(), build()]
        ensemble = (
            tfpbnn.ensembles.DeepEnsemble(build, 2)
            if alike
            else tfpbnn.ensembles.DeepEnsemble.from_models(networks)
        )
        draws = predict(ensemble, num_samples=1000).outputs
        assert draws.shape[0] == 1000
        assert_moments(draws.ravel(), 0.0, 2.0, detects=0.5)


class Counter(L.Layer):
    """Adds the count of its calls."""

    def build(self, shape):
        self.count = self.add_weight(
            shape=(), initializer="zeros", trainable=False
        )

    def call(self, x):
        self.count.assign_add(1.0)
        return x + self.count


def counting():
    dropout = layers.MCDropout(0.5)
    return keras.Sequential([keras.Input((4,)), Counter(), dropout])


@pytest.mark.parametrize("draws", ["coherent", "mean"])
def test_state_is_written_as_by_one_call(draws):
    model = counting()
    counter = model.layers[0]
    for calls in (1, 2):
        outputs = predict(model, draws=draws, num_samples=30).outputs
        kept = {calls / (1 if draws == "mean" else 0.5)}
        assert set(np.unique(outputs)) - {0} == kept
        assert float(counter.count) == calls
    predict(model, draws=draws, batch_size=1)  # three batches, three calls
    assert float(counter.count) == 5
    small = predict(model, num_samples=9, memory_budget=1)
    assert len(np.unique(small.outputs[small.outputs > 0])) == 3  # by row


def stateful_lstm(rows, cls=layers.LSTMReparameterization, **kwargs):
    lstm = cls(
        1,
        kernel_initializer="ones",
        recurrent_initializer="ones",
        stateful=True,
        **kwargs,
    )
    x = keras.Input(batch_shape=(rows, 1, 1))
    return keras.Sequential([x, lstm, layers.MCDropout(0.0)])


@pytest.mark.parametrize("cls", [layers.LSTMReparameterization, L.LSTM])
@pytest.mark.parametrize("rows", [1, 2])
def test_each_draw_starts_from_the_state_that_was_there(rows, cls):
    ours = cls is not L.LSTM
    tiny = {"kernel_posterior": TINY, "recurrent_posterior": TINY}
    model = stateful_lstm(rows, cls, **(tiny if ours else {}))
    plain, x = stateful_lstm(rows, L.LSTM), np.ones((rows, 1, 1), "float32")
    for _ in range(2):
        outputs = predict(model, x).outputs
        right = np.broadcast_to(plain(x), outputs.shape)
        np.testing.assert_allclose(outputs, right, atol=1e-4)
    mean = predict(model, x, draws="mean").outputs[0]
    np.testing.assert_allclose(mean, plain(x), atol=1e-4)
    # A plain call goes on from there.
    np.testing.assert_allclose(model(x), plain(x), atol=1e-4)


def test_the_state_left_is_that_of_the_first_draw():
    wide = {"kernel_posterior": "mean_field_normal", "seed": 1}
    model = stateful_lstm(2, **wide)
    x, lstm = np.ones((2, 1, 1), "float32"), model.layers[0]
    first = predict(model, x).outputs
    np.testing.assert_allclose(lstm.states[0], first[0], atol=1e-6)
    lstm.reset_state()
    np.testing.assert_allclose(predict(model, x).outputs, first, atol=1e-6)


WRAPPED = {
    "Variational": lambda: layers.Variational(L.LSTM(2, stateful=True)),
    "Bidirectional": lambda: L.Bidirectional(
        layers.GRUReparameterization(2, stateful=True)
    ),
    "MCWrapper": lambda: layers.MCWrapper(
        L.LSTM(2, stateful=True, dropout=0.5)
    ),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_stateful_layers_in_others(name):
    """The same seed and state give the same numbers; the state goes on."""
    layer, x = WRAPPED[name](), np.ones((2, 1, 1), "float32")
    model = keras.Sequential([keras.Input(batch_shape=(2, 1, 1)), layer])
    first, second = (predict(model, x).outputs for _ in range(2))
    assert np.abs(first - second).max() > 1e-3
    for part in held_layers(layer):
        if isinstance(part, L.RNN):
            part.reset_state()
    np.testing.assert_allclose(predict(model, x).outputs, first, atol=1e-6)


@pytest.mark.parametrize("alike", [True, False])
def test_members_start_from_their_states(alike):
    def build(cls=L.LSTM):
        x = keras.Input(batch_shape=(2, 1, 1))
        return keras.Sequential([x, cls(2, stateful=True)])

    ensemble = (
        tfpbnn.ensembles.DeepEnsemble(build, 2)
        if alike
        else tfpbnn.ensembles.DeepEnsemble.from_models([build(), build(L.GRU)])
    )
    x = np.ones((2, 1, 1), "float32")
    first, second = (predict(ensemble, x).outputs for _ in range(2))
    np.testing.assert_allclose(first, second, atol=1e-6)
