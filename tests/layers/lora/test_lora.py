"""Adapters around single layers of Keras's."""

from contextlib import nullcontext

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.statistics import assert_moments
from tfpbnn import priors, random
from tfpbnn.layers import LoRA
from tfpbnn.layers.kl import kl_terms
from tfpbnn.layers.lora.methods import METHODS

K = keras.layers
RNG = np.random.default_rng(0)
LETTERS = RNG.normal(size=(6, 5, 4)).astype("float32")
IMAGES = RNG.normal(size=(2, 6, 6, 4)).astype("float32")
WORDS = np.array([[1, 2, 0], [4, 5, 6]])
LAYERS = {
    "dense": (lambda: K.Dense(3, activation="tanh"), LETTERS, (0,)),
    "einsum": (
        lambda: K.EinsumDense(
            "abc,cde->abde", (None, 2, 3), bias_axes="de", activation="relu"
        ),
        LETTERS,
        (0,),
    ),
    "einsum_of_two_axes": (
        lambda: K.EinsumDense("abc,bcd->ad", (3,)),
        LETTERS,
        (0,),
    ),
    "ellipsis": (lambda: K.EinsumDense("...x,xy->...y", 3), LETTERS, (0,)),
    "kernel_first": (
        lambda: K.EinsumDense("abc,dc->abd", (None, 3)),
        LETTERS,
        (0,),
    ),
    "conv1d": (lambda: K.Conv1D(3, 2, padding="causal"), LETTERS, (0,)),
    "conv2d": (
        lambda: K.Conv2D(3, 2, strides=2, padding="same", activation="relu"),
        IMAGES,
        (0,),
    ),
    "dilated": (lambda: K.Conv2D(3, 2, dilation_rate=(2, 1)), IMAGES, (0,)),
    "grouped": (
        lambda: K.Conv2D(6, 2, strides=2, groups=2, activation="relu"),
        IMAGES,
        (0,),
    ),
    "embedding": (lambda: K.Embedding(7, 5, mask_zero=True), WORDS, (0,)),
    "attention": (lambda: K.MultiHeadAttention(2, 3), LETTERS, (1, 2, 3)),
}


def call(layer, x):
    return layer(x, x) if isinstance(layer, K.MultiHeadAttention) else layer(x)


def call_adapted(layer, x):
    inner = layer.layer
    return layer(x, x) if isinstance(inner, K.MultiHeadAttention) else layer(x)


def moved(layer, x):
    """The layer with adapters that are not at their start."""
    call_adapted(layer, x)
    for posterior in posteriors(layer):
        value = RNG.normal(0, 0.3, posterior.loc.shape)
        posterior.loc.assign(value)
        if posterior.is_random:
            root = getattr(posterior, "root_scale", None)
            variable = posterior.untransformed_scale if root is None else root
            variable.assign(RNG.uniform(0.3, 0.7, variable.shape))
    return layer


def posteriors(layer):
    return [q for a in layer.adapters for q, _ in a.distributions()]


@pytest.mark.parametrize("name", LAYERS)
def test_starts_as_the_layer_and_merges_at_the_means(name):
    make, x, targets = LAYERS[name]
    plain = make()
    expected = call(plain, x)
    layer = LoRA(plain, rank=2, alpha=3.0, targets=targets)
    np.testing.assert_array_equal(call_adapted(layer, x), expected)
    moved(layer, x)
    with random.draw_scope(None):
        found = call_adapted(layer, x)
    assert np.abs(found - expected).max() > 0.05
    for part, adapter in layer.adapted():
        a, b = (q.loc.numpy() for q, _ in adapter.distributions())
        kernel = part.embeddings if name == "embedding" else part.kernel
        added = adapter.kernel()
        assert added.shape == kernel.shape
        assert np.linalg.matrix_rank(a.reshape(-1, 2) @ b.reshape(2, -1)) == 2
        kernel.assign(kernel + added)
    np.testing.assert_allclose(found, call(plain, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_only_adapters_have_gradients_and_draws_are_those_of_a_method(method):
    layer = moved(LoRA(K.Dense(3), 2, method=method, kl_weight=1), LETTERS)
    with tf.GradientTape() as tape:
        first = layer(LETTERS, training=True)
        loss = tf.reduce_sum(tf.square(first)) + sum(layer.losses)
    expected = {"a_posterior/loc", "b_posterior/loc"}
    if METHODS[method].a == "squared":
        expected |= {"a_posterior/root_scale"}
    if METHODS[method].a == "mean_field":
        expected |= {
            "a_posterior/untransformed_scale",
            "b_posterior/untransformed_scale",
        }
    variables = layer.trainable_variables
    assert {"/".join(v.path.split("/")[1:]) for v in variables} == expected
    assert None not in tape.gradient(loss, [v.value for v in variables])
    is_random = METHODS[method].is_random
    assert bool(np.any(first != layer(LETTERS))) == is_random
    assert layer.drawing().is_random == is_random
    assert len(kl_terms(layer)) == {"blob": 1, "mean_field": 2}.get(method, 0)


def noise_variance(layer, x):
    """Of `x @ A @ B`, of independent A with B a point, in closed form."""
    (adapter,) = layer.adapters
    scale = adapter.a_posterior.scale.numpy()
    b = adapter.b_posterior.loc.numpy()
    return adapter.scaling**2 * (x**2 @ scale**2) @ b**2


@pytest.mark.parametrize("in_scope", [False, True])
def test_moments_of_blob_are_those_in_closed_form(in_scope):
    """Flipout in training, one A for all rows in prediction."""
    x = RNG.uniform(0.5, 1.5, size=(4, 5)).astype("float32")
    layer = moved(LoRA(K.Dense(3), 2, 3.0, seed=1), x)

    @tf.function
    def draws(keys):
        def one(key):
            if not in_scope:
                return layer(x)
            with random.draw_scope(key):
                return layer(x)

        return tf.map_fn(one, keys, fn_output_signature=tf.float32)

    keys = tf.stack([random.as_key(i) for i in range(12000)])
    found = draws(keys).numpy()
    with random.draw_scope(None):
        mean = layer(x).numpy()
    sd = np.sqrt(noise_variance(layer, x))
    assert_moments(found, mean, sd, detects=0.15)
    rows = (found - mean)[:, :, 0] / sd[:, 0]
    correlation = np.mean(rows[:, 0] * rows[:, 1])
    x_0, x_1 = x[0], x[1]
    (adapter,) = layer.adapters
    weights = (
        adapter.a_posterior.scale.numpy() ** 2
        @ adapter.b_posterior.loc.numpy()[:, 0] ** 2
    )
    shared = adapter.scaling**2 * (x_0 * x_1) @ weights / sd[0, 0] / sd[1, 0]
    expected = shared if in_scope else 0.0
    assert abs(correlation - expected) < 0.1 < abs(shared)


@pytest.mark.parametrize("in_scope", [False, True])
def test_draws_of_grouped_kernels_share_one_factor(in_scope):
    """What a draw adds to the outputs tells what it adds to the kernel."""
    layer = moved(LoRA(K.Conv1D(6, 2, groups=2), 2, 3.0), LETTERS)
    with random.draw_scope(None):
        mean = layer(LETTERS)
    with random.draw_scope(random.as_key(4)) if in_scope else nullcontext():
        noise = (layer(LETTERS) - mean).numpy()
    windows = np.stack([LETTERS[:, :-1], LETTERS[:, 1:]], 2)  # [N, T, 2, 4]
    kernels = []
    for group in (0, 1):
        x = windows[..., 2 * group : 2 * group + 2].reshape(24, 4)
        y = noise[..., 3 * group : 3 * group + 3].reshape(24, 3)
        kernel, rest, *_ = np.linalg.lstsq(x, y, rcond=None)
        assert rest.shape == (3,)
        assert np.all(rest < 1e-8), rest
        kernels.append(kernel)
    sizes = np.linalg.svd(np.concatenate(kernels, -1), compute_uv=False)
    assert sizes[1] > 1e-2
    assert np.all(sizes[2:] < 1e-5), sizes


def test_positions_of_an_example_share_their_signs():
    x = np.tile(RNG.normal(size=(3, 1, 4)), (1, 5, 1)).astype("float32")
    layer = moved(LoRA(K.Dense(3), 2), x)
    y = layer(x).numpy()
    np.testing.assert_allclose(y, np.tile(y[:, :1], (1, 5, 1)), rtol=1e-5)
    assert np.std(y[:, 0] - np.mean(y[:, 0], 0)) > 0


@pytest.mark.parametrize("method", ["blob", "mean_field"])
def test_kl_is_that_of_monte_carlo(method):
    prior = priors.Normal(scale=0.7)
    layer = moved(LoRA(K.Dense(3), 2, method=method, prior=prior), LETTERS)
    expected = 0.0
    for q in posteriors(layer):
        if q.is_random:
            loc, scale = q.loc.numpy(), np.asarray(q.scale)
            z = loc + scale * RNG.normal(size=(20000, *loc.shape))
            log_q = -0.5 * ((z - loc) / scale) ** 2 - np.log(scale)
            log_p = -0.5 * (z / 0.7) ** 2 - np.log(0.7)
            expected += np.mean(np.sum(log_q - log_p, axis=(1, 2)))
    found = sum(float(term.divergence()) for term in kl_terms(layer))
    np.testing.assert_allclose(found, expected, rtol=0.02)


def test_a_tied_embedding_stays_tied():
    plain = K.ReversibleEmbedding(7, 5, logit_soft_cap=2.0)
    layer = moved(LoRA(plain, 2), WORDS)
    with random.draw_scope(None):
        h = layer(WORDS)
        logits = layer(h, reverse=True)
    plain.embeddings.assign(plain.embeddings + layer.adapters[0].kernel())
    np.testing.assert_allclose(h, plain(WORDS), rtol=1e-5, atol=1e-6)
    expected = plain(h, reverse=True)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    with random.draw_scope(random.as_key(3)):  # one draw both ways
        h = layer(WORDS)
        logits = layer(h, reverse=True)
        table = layer(np.arange(7)[None])[0]
    expected = 2 * np.tanh(h @ tf.transpose(table) / 2)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_the_layer_stays_frozen_and_is_not_replaced():
    plain = K.MultiHeadAttention(2, 3)
    layer = LoRA(plain, 2, targets=(1,))
    inputs = keras.Input((5, 4))
    h = K.Dense(4)(inputs)
    model = keras.Model(inputs, layer(h, h))
    for value in (True, False, True):
        model.trainable = value
        paths = [v.path for v in model.trainable_variables]
        assert len(paths) == (3 + 2 if value else 0), paths
    assert not {"call", "quantized_call"} & set(vars(plain.query_dense))


def test_mixed_precision_keeps_adapters_in_float32():
    layer = LoRA(K.Dense(3, dtype="mixed_bfloat16"), 2)
    y = layer(LETTERS)
    assert y.dtype == "bfloat16"
    assert {v.dtype for v in layer.trainable_variables} == {"float32"}


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: LoRA(3), TypeError, "`layer` must be a Keras layer"),
        (lambda: LoRA(K.Dense(2), 0), ValueError, "`rank` must be"),
        (lambda: LoRA(K.Dense(2), 3)(LETTERS), ValueError, "rank=3, for a"),
        (lambda: LoRA(K.Dense(2), method="x"), ValueError, "`method` must be"),
        (lambda: LoRA(K.Dense(2), alpha=-1), ValueError, "`alpha` must be"),
        (lambda: LoRA(LoRA(K.Dense(2))), ValueError, "plain Keras layer"),
        (lambda: LoRA(K.ReLU(), 1)(LETTERS), ValueError, "no one kernel"),
        (lambda: LoRA(K.Dense(2), 1, targets=()), ValueError, "`targets`"),
        (
            lambda: LoRA(K.Dense(2), 1, targets=(0, 3))(LETTERS),
            ValueError,
            "targets=",
        ),
        (
            lambda: LoRA(tfpbnn.layers.DenseFlipout(2)),
            ValueError,
            "plain Keras layer",
        ),
        (
            lambda: LoRA(K.DepthwiseConv1D(2), 1)(LETTERS),
            ValueError,
            "no one kernel",
        ),
        (
            lambda: LoRA(K.EinsumDense("abc,bcd->abd", (5, 3)), 1)(LETTERS),
            ValueError,
            "no one matrix",
        ),
    ],
)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()


class Reads(keras.layers.Layer):
    """Takes the weights of a layer that it holds, in place of calling it."""

    def __init__(self):
        super().__init__()
        self.dense = K.Dense(4, name="inner")

    def build(self, input_shape):
        self.dense.build(input_shape)

    def call(self, x):
        return x @ self.dense.kernel


def test_adapters_that_nothing_would_call_are_refused():
    with pytest.raises(ValueError, match=r"layers that are called.*'inner'"):
        LoRA(Reads(), 2, targets=(1,))(LETTERS)
