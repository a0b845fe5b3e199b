"""A training step of a large layer: the fused passes against the plain ones."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfpbnn import fused, layers, priors
from tfpbnn.fused import thresholds

X = np.random.default_rng(0).normal(size=(4, 160)).astype("float32")
LAYERS = [
    layers.DenseFlipout,
    layers.DenseLocalReparameterization,
    layers.DenseReparameterization,
]
PRIORS = {
    "normal": lambda: priors.Normal(scale=0.3),
    "off zero": lambda: priors.Normal(0.5, 0.3),
    "learned": lambda: priors.Normal(scale=0.3, learnable_scale=True),
    "none": lambda: None,
}


def make_layer(cls, prior):
    keras.utils.set_random_seed(1)
    layer = cls(120, seed=3, kernel_prior=PRIORS[prior](), kl_weight=0.01)
    layer.build((None, 160))
    return layer


def step(layer, mode):
    """The losses and all gradients of one step."""

    def run():
        with tf.GradientTape() as tape:
            y = layer(X, training=True)
            losses = [tf.reduce_sum(y**2), *layer.losses]
            loss = tf.add_n(losses)
        variables = [v.value for v in layer.trainable_variables]
        return [*losses, *tape.gradient(loss, variables)]

    if mode == "eager":
        return run()
    return tf.function(run, jit_compile=mode == "xla", autograph=False)()


@pytest.mark.parametrize(
    ("mode", "prior"),
    [("eager", "normal"), ("xla", "learned"), *(("graph", p) for p in PRIORS)],
)
@pytest.mark.parametrize("cls", LAYERS)
def test_step(cls, prior, mode, monkeypatch):
    fast = step(make_layer(cls, prior), mode)
    monkeypatch.setattr(thresholds, "MIN_SIZE", 10**9)
    plain = step(make_layer(cls, prior), mode)
    assert len(fast) == len(plain)
    for a, b in zip(fast, plain, strict=True):
        size = np.max(np.abs(b))
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5 * size)


def count_calls(monkeypatch):
    calls = []
    original = fused.normal_kl
    monkeypatch.setattr(
        fused,
        "normal_kl",
        lambda *a: calls.append(1) or original(*a),
    )
    return calls


@pytest.mark.parametrize("cls", LAYERS)
def test_the_kl_comes_from_the_estimators_pass(cls, monkeypatch):
    calls = count_calls(monkeypatch)
    step(make_layer(cls, "normal"), "graph")
    assert not calls
    step(make_layer(cls, "off zero"), "graph")
    assert calls


@pytest.mark.parametrize("cls", LAYERS)
def test_an_offered_kl_is_not_used_where_it_is_not_of_the_step(
    cls, monkeypatch
):
    """Losses read again, in another graph, or after the weights changed."""
    layer = make_layer(cls, "normal")

    @tf.function
    def forward():
        return layer(X, training=True)

    @tf.function
    def losses():
        return layer.losses[0]

    @tf.function
    def twice():
        layer(X, training=True)
        first = layer.losses[0]
        layer.kernel_posterior.loc.assign(layer.kernel_posterior.loc * 2)
        return first, layer.losses[0]

    forward()
    expected = float(layer.losses[0])
    np.testing.assert_allclose(losses(), expected, rtol=1e-5)
    first, second = twice()
    np.testing.assert_allclose(first, expected, rtol=1e-5)
    np.testing.assert_allclose(second, float(layer.losses[0]), rtol=1e-5)
    assert second > first


def test_a_frozen_layer_and_one_without_losses():
    layer = make_layer(layers.DenseFlipout, "normal")
    layer.trainable = False
    assert len(step(layer, "graph")) == 1
