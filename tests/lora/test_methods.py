"""Proofs of each method of adapters, on whole models."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests import fresh
from tests.statistics import assert_covariance
from tfpbnn import lora, random
from tfpbnn.layers.kl import managed_weights

METHODS = ["blob", "deterministic", "mc_dropout", "mean_field", "tfb"]
RNG = np.random.default_rng(1)
X = RNG.normal(size=(40, 5)).astype("float32")
Y = (X[:, 0] > 0).astype(int)
LOSS = "sparse_categorical_crossentropy"


def plain():
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(8, activation="tanh", name="prefix"),
            keras.layers.Dense(6, activation="relu", name="hidden"),
            keras.layers.Dense(2, activation="softmax", name="head"),
        ]
    )


@functools.cache
def made(method):
    """A method, the plain model, and one with trained adapters."""
    model = plain()
    adapted = lora.add_lora(
        model,
        2,
        targets="hidden",
        method="deterministic" if method == "tfb" else method,
        rate=0.4,
        seed=1,
        in_place=True,
    )
    adapted.compile(keras.optimizers.Adam(0.05), LOSS)
    before = [np.array(v) for v in model.weights]
    adapted.fit(X, Y, epochs=10, verbose=0)
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, new)
    if method == "tfb":
        adapted = lora.tfb(adapted, X, Y, tolerance=0.05, steps=2)
    return method, model, adapted


@pytest.fixture(params=METHODS)
def trained(request):
    return made(request.param)


def test_no_gradient_reaches_the_backbone(trained):
    method, _, adapted = trained
    own = {id(v) for v in adapted.trainable_variables}
    (adapter,) = adapted.get_layer("hidden").adapters
    assert own == {id(v) for v in adapter.trainable_variables}
    with tf.GradientTape() as tape:
        tape.watch([v.value for v in adapted.weights if "float" in v.dtype])
        loss = tf.reduce_sum(adapted(X, training=True)[:, 0])
    values = [v.value for v in adapted.trainable_variables]
    found = tape.gradient(loss, values)
    assert all(g is not None and np.any(g) for g in found), method
    assert len(own) == {"blob": 3, "mean_field": 4}.get(method, 2)


def test_a_merged_model_is_the_model_at_its_means(trained):
    adapted = trained[2]
    with random.draw_scope(None):
        expected = adapted(X)
    found = lora.merge(adapted)(X)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_an_export_predicts_as_predict_does(trained, tmp_path):
    method, _, adapted = trained
    asked = ["deterministic", "serving_default"]
    asked = asked[:1] if method == "deterministic" else asked
    tfpbnn.export(adapted, tmp_path / "served", signatures=asked)
    served = tf.saved_model.load(str(tmp_path / "served")).signatures
    for name, kwargs in (
        ("deterministic", {"draws": "mean"}),
        ("serving_default", {}),
    ):
        if name not in served:
            continue
        (argument,) = served[name].structured_input_signature[1]
        found = served[name](**{argument: tf.constant(X)})["probabilities"]
        count = 1 if kwargs else 400
        p = tfpbnn.predict(adapted, X, count, seed=0, verbose=0, **kwargs)
        # Of draws, two means of 64 and of 400 ones differ.
        spread = 0 if kwargs else np.std(p.outputs, axis=0) * 6 / np.sqrt(55)
        assert np.all(np.abs(found - p.mean) <= spread + 1e-5), name


PROGRAM = """
import sys
import keras, numpy, tfpbnn
folder, *methods = sys.argv[1:]
x = numpy.load(folder + "/x.npy")
for method in methods:
    plain = keras.models.load_model(f"{folder}/{method}.keras")
    model = tfpbnn.lora.load_adapters(plain, f"{folder}/{method}.npz")
    with tfpbnn.random.draw_scope(tfpbnn.random.as_key(3)):
        numpy.save(f"{folder}/{method}.npy", model(x))
"""


def test_adapters_load_in_a_fresh_process(tmp_path):
    """Draws are the same; "tfb" is that of its own file's backbone."""
    methods = [method for method in METHODS if method != "tfb"]
    np.save(tmp_path / "x.npy", X)
    for method in methods:
        _, model, adapted = made(method)
        model.save(tmp_path / f"{method}.keras")
        lora.save_adapters(adapted, tmp_path / f"{method}.npz")
    fresh.run(PROGRAM, str(tmp_path), *methods)
    for method in methods:
        with random.draw_scope(random.as_key(3)):
            expected = made(method)[2](X)
        found = np.load(tmp_path / f"{method}.npy")
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def linear(method, rank=2, **kwargs):
    """From five inputs to three outputs, with known factors."""
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    adapted = lora.add_lora(model, rank, alpha=3, method=method, **kwargs)
    adapted.compile(loss="mse")
    (adapter,) = adapted.layers[0].adapters
    a, b = (
        RNG.normal(size=tuple(factor.loc.shape))
        for factor in (adapter.a_posterior, adapter.b_posterior)
    )
    adapter.a_posterior.loc.assign(a)
    adapter.b_posterior.loc.assign(b)
    mean = X @ np.array(model.layers[0].kernel) + 1.5 * X @ a @ b
    return adapted, mean, 1.5 * a @ b


def test_dropped_inputs_have_the_covariance_in_closed_form():
    """Each has variance `x^2 p / (1 - p)`, and goes through A @ B."""
    rate, row = 0.3, X[:1]
    model, mean, product = linear("mc_dropout", rate=rate)
    p = tfpbnn.predict(model, row, 20_000, seed=5, verbose=0)
    variance = row[0] ** 2 * rate / (1 - rate)
    covariance = product.T @ np.diag(variance) @ product
    assert_covariance(p.outputs[:, 0], mean[0], covariance)


# Orthogonal inputs, and known noise: the posterior is independent Normals.
SCALE, PRIOR = 0.5, 0.7
DESIGN = np.linalg.qr(RNG.normal(size=(60, 3)))[0] * [2.0, 5.0, 9.0]
TARGETS = DESIGN @ [0.8, -0.5, 0.3] + SCALE * RNG.normal(size=60)


@pytest.mark.parametrize("method", ["blob", "mean_field"])
def test_linear_regression_has_the_known_posterior(method):
    """With B at one, A is the weights of a regression: within 5 percent."""
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    model = lora.add_lora(
        keras.Sequential([keras.Input((3,)), layer]),
        1,
        method=method,
        prior=tfpbnn.priors.Normal(scale=PRIOR),
        seed=2,
    )
    (adapter,) = model.layers[0].adapters
    adapter.b_posterior.loc.assign([[1.0]])
    if method == "mean_field":
        adapter.b_posterior.untransformed_scale.assign([[-50.0]])
    adapter.b_posterior.trainable = False

    def loss(y, f):
        return keras.ops.sum(keras.ops.square(y - f), -1) / (2 * SCALE**2)

    rates = keras.optimizers.schedules.CosineDecay(0.03, 3000)
    model.compile(keras.optimizers.Adam(rates), loss)
    batch = (DESIGN.astype("float32"), TARGETS[:, np.newaxis])
    steps = tf.data.Dataset.from_tensors(batch).repeat(3000)
    weight = tfpbnn.callbacks.KLWeight(60, divisor=60)
    model.fit(steps, verbose=0, callbacks=[weight])
    precision = np.sum(DESIGN**2, axis=0) / SCALE**2 + PRIOR**-2
    expected = DESIGN.T @ TARGETS / SCALE**2 / precision
    found = adapter.a_posterior
    scale = precision**-0.5
    np.testing.assert_allclose(found.scale[:, 0], scale, rtol=0.05)
    error = np.abs(np.array(found.loc)[:, 0] - expected) / scale
    assert error.max() < 0.1


def test_keras_fit_trains_them_with_a_kl_weight():
    adapted = lora.add_lora(plain(), 2, targets="hidden", seed=1)
    model = keras.Model(adapted.inputs, adapted.outputs)
    assert not isinstance(model, tfpbnn.Model)
    model.compile("adam", LOSS)
    before = [np.array(v) for v in model.trainable_variables]
    callback = tfpbnn.callbacks.KLWeight(len(X), temperature=0.5)
    history = model.fit(X, Y, epochs=2, verbose=0, callbacks=[callback])
    assert "kl" in history.history
    weights = [float(w) for w in managed_weights(model)]
    assert weights == pytest.approx([0.5 / len(X)])
    for old, new in zip(before, model.trainable_variables, strict=True):
        assert not np.array_equal(old, new)


def test_a_backbone_in_bfloat16_has_adapters_in_float32():
    methods = ["blob", "mc_dropout", "mean_field"]
    low = [
        tfpbnn.layers.LoRA(
            keras.layers.Dense(6, "relu", dtype="mixed_bfloat16", name=method),
            2,
            method=method,
        )
        for method in methods
    ]
    head = keras.layers.Dense(2, "softmax", dtype="float32")
    model = tfpbnn.Sequential([keras.Input((5,)), *low, head])
    model.compile("adam", LOSS)
    model.fit(X, Y, epochs=1, verbose=0)
    assert {layer.compute_dtype for layer in low} == {"bfloat16"}
    assert {v.dtype for v in model.trainable_variables} == {"float32"}
    for layer in low:
        for adapter in layer.adapters:
            assert np.any(adapter.b_posterior.loc), layer.name
    p = tfpbnn.predict(model, X, 3, seed=0, verbose=0)
    assert np.isfinite(p.mean).all()


class Counted(keras.layers.Layer):
    """Counts the rows that go through it, in each run of the graph."""

    rows = 0

    def call(self, x):
        def seen(value):
            Counted.rows += len(value)
            return value

        y = tf.numpy_function(seen, [x], tf.float32, stateful=False)
        return tf.ensure_shape(y, x.shape)


def test_draws_share_what_comes_before_the_first_adapter():
    inputs = keras.Input((5,))
    frozen = keras.layers.Dense(8, name="prefix")(Counted()(inputs))
    outputs = keras.layers.Dense(2, "softmax", name="last")(frozen)
    model = lora.add_lora(
        keras.Model(inputs, outputs), 2, targets="last", in_place=True
    )
    model.get_layer("last").adapters[0].b_posterior.loc.assign(
        tf.ones((2, 2)) * [1.0, -1.0]
    )
    model.compile(loss=LOSS)
    Counted.rows = 0
    p = tfpbnn.predict(model, X, 10, seed=0, verbose=0)
    assert p.num_samples == 10
    assert np.std(p.outputs, axis=0).min() > 0
    assert Counted.rows == len(X)
