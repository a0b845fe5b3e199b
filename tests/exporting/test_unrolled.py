"""Recurrent layers without loops, in whatever draws them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tfpbnn import random
from tfpbnn.exporting.formats.unrolled import unrolled
from tfpbnn.particles.layer_draws import LayerDraws
from tfpbnn.particles.posterior_draws import PosteriorDraws

X = np.random.default_rng(0).normal(size=(4, 3, 2)).astype("float32")
X[0, 2:] = 0


def recurrent():
    both = keras.layers.LSTM(3, recurrent_dropout=0.3, return_sequences=True)
    return keras.Sequential(
        [
            keras.Input((3, 2)),
            keras.layers.Masking(),
            keras.layers.Bidirectional(both),
            keras.layers.GRU(2, return_sequences=True),
        ]
    )


class Subclassed(tfpbnn.Model):
    def __init__(self):
        super().__init__()
        self.body = recurrent()
        self.head = tfpbnn.layers.DenseFlipout(2)

    def call(self, x):
        return self.head(self.body(x))


def functional():
    x = keras.Input((3, 2))
    return keras.Model(x, tfpbnn.layers.DenseFlipout(2)(recurrent()(x)))


def ensemble():
    return tfpbnn.ensembles.DeepEnsemble(recurrent(), 2)


MODELS = {
    "subclassed": (Subclassed, LayerDraws),
    "functional": (functional, LayerDraws),
    "mc_dropout": (lambda: tfpbnn.mc_dropout(recurrent()), LayerDraws),
    "ensemble": (ensemble, PosteriorDraws),
}


@pytest.mark.parametrize("kind", MODELS)
def test_the_same_numbers_without_loops(kind):
    make, function = MODELS[kind]
    model = make()
    model.compile("adam", tfpbnn.likelihoods.Normal())
    model(X)
    draws = function(model, tf.constant(X), False)

    def run():
        traced = tf.function(draws.trace_one, autograph=False)
        key, number = random.as_key(0), tf.constant(1, tf.int64)
        graph = traced.get_concrete_function(X, key, number).graph
        definition = graph.as_graph_def()
        bodies = [f.node_def for f in definition.library.function]
        kinds = {n.op for nodes in [definition.node, *bodies] for n in nodes}
        return "While" in " ".join(kinds), traced(X, key, number)

    was_loop, expected = run()
    with unrolled(model) as is_unrolled:
        has_loop, found = run()
    assert was_loop
    assert is_unrolled
    assert not has_loop
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert run()[0], "the model is not what it was"
