"""Noise that a user's own layers draw, in served models."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.exporting import table
from tfpbnn import layers


class Noisy(keras.layers.Layer):
    """A user's layer with random numbers of its own."""

    def __init__(self, draw):
        super().__init__()
        self.draw = draw
        self.seeds = keras.random.SeedGenerator(1)
        self.generator = tf.random.Generator.from_seed(1)

    def call(self, x):
        return x + self.draw(self, keras.ops.shape(x))


def with_noise(draw):
    x = keras.Input((2,), name="features")
    return table.compiled(keras.Model(x, layers.MCDropout(0.0)(Noisy(draw)(x))))


def export(model, path, num_samples, signature):
    kwargs = {"signatures": [signature], "quantiles": []}
    tfpbnn.export(model, path, num_samples, **kwargs)


@pytest.mark.parametrize(
    "draw",
    [
        lambda _, shape: keras.random.normal(shape),
        lambda layer, shape: keras.random.normal(shape, seed=layer.seeds),
    ],
)
def test_noise_of_a_users_own_is_drawn_in_each_request(draw, tmp_path):
    """Keras's generators have no state there, so nothing replays."""
    export(with_noise(draw), tmp_path / "1", 200, "serving_default")
    served = tf.saved_model.load(str(tmp_path / "1")).signatures
    x = tf.zeros((3, 2))
    a, b = (served["serving_default"](x)["epistemic_variance"] for _ in "ab")
    for found in (a, b):
        np.testing.assert_allclose(found, np.ones_like(found), rtol=0.7)
    assert np.abs(a - b).max() > 1e-4


@pytest.mark.parametrize(
    "draw",
    [
        lambda layer, shape: layer.generator.normal(shape),
        lambda _, shape: tf.random.normal(shape),
    ],
)
def test_noise_that_would_replay_is_refused(draw, tmp_path):
    """TensorFlow's has its state in a variable, or this process's seed."""
    model = with_noise(draw)
    with pytest.raises(ValueError, match=r"can't be served: .*replay"):
        export(model, tmp_path / "1", 5, "serving_default")
    assert not list(tmp_path.iterdir())


def test_a_seed_answers_alike_with_noise_of_a_users_own(tmp_path):
    model = with_noise(lambda _, shape: keras.random.normal(shape))
    export(model, tmp_path / "1", 5, "seeded")
    served = tf.saved_model.load(str(tmp_path / "1")).signatures["seeded"]

    def answer(*seeds):
        x = tf.zeros((len(seeds), 2))
        seeds = tf.constant(seeds, tf.int64)
        return np.asarray(served(features=x, seed=seeds)["mean"])

    together = answer(1, 2, 1)
    np.testing.assert_allclose(together[0], together[2], atol=1e-6)
    np.testing.assert_allclose(answer(2)[0], together[1], atol=1e-6)
