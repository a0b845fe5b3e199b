import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.statistics import assert_correlation, assert_moments
from tfpbnn import layers, likelihoods, particles
from tfpbnn.particles import costs
from tfpbnn.particles.ways import MARGINAL, STACKED

X = np.random.default_rng(0).normal(size=(50, 3)).astype("float32")
Y = X[:, 0]


def make_model(cls=layers.DenseFlipout, wrapper=keras.Sequential):
    model = wrapper(
        [
            keras.Input((3,)),
            cls(8, "relu", kl_weight=0.02),
            cls(2, kl_weight=0.02),
        ]
    )
    model.compile("adam", likelihoods.Normal())
    return model


@pytest.fixture(scope="module")
def model():
    return make_model()


ALL = [
    layers.DenseFlipout,
    layers.DenseLocalReparameterization,
    layers.DenseReparameterization,
]


@pytest.mark.parametrize("cls", ALL)
def test_same_seed_same_numbers_whatever_the_batches(cls):
    model = make_model(cls)
    whole = tfpbnn.predict(model, X, 30, seed=3)
    for batch_size in (1, 7, 50):
        p = tfpbnn.predict(model, X, 30, batch_size, seed=3)
        np.testing.assert_allclose(p.outputs, whole.outputs, atol=1e-5)
    other = tfpbnn.predict(model, X, 30, seed=4)
    assert np.abs(other.outputs - whole.outputs).max() > 0.01
    # The first draws of more are the same draws.
    more = tfpbnn.predict(model, X, 60, seed=3)
    np.testing.assert_allclose(more.outputs[:30], whole.outputs, atol=1e-5)


def test_seed_none_follows_kerass_seed(model):
    keras.utils.set_random_seed(1)
    a, b = (tfpbnn.predict(model, X, 3).outputs for _ in range(2))
    keras.utils.set_random_seed(1)
    c = tfpbnn.predict(model, X, 3).outputs
    np.testing.assert_array_equal(a, c)
    assert np.any(a != b)


def test_predicting_leaves_no_trace_in_training_noise(model):
    before = [np.array(v.numpy()) for v in model.weights]
    tfpbnn.predict(model, X, 3)
    for a, b in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(a, b.numpy())


@pytest.mark.parametrize("cls", ALL)
def test_draws_have_the_posterior_moments(cls):
    """A linear model: outputs are Normal with known moments."""
    model = keras.Sequential([keras.Input((3,)), cls(2)])
    p = tfpbnn.predict(model, X[:5], 20_000, likelihood=likelihoods.Normal())
    layer = model.layers[0]
    loc, scale = (
        layer.kernel_posterior.loc.numpy(),
        layer.kernel_posterior.scale.numpy(),
    )
    sd = np.sqrt(X[:5] ** 2 @ scale**2)
    assert_moments(p.outputs, X[:5] @ loc, sd)
    covariance = (X[0] * X[1]) @ scale[:, 0] ** 2
    assert_correlation(
        p.outputs[:, 0, 0],
        p.outputs[:, 1, 0],
        covariance / (sd[0, 0] * sd[1, 0]),
    )


def test_layers_draw_independently():
    model = keras.Sequential([keras.Input((1,))])
    inputs = keras.Input((1,))
    both = [layers.DenseFlipout(1)(inputs) for _ in range(2)]
    model = keras.Model(inputs, keras.layers.Concatenate()(both))
    p = tfpbnn.predict(
        model, np.ones((1, 1)), 5000, likelihood=likelihoods.Normal()
    )
    assert_correlation(p.outputs[:, 0, 0], p.outputs[:, 0, 1], 0.0)


def test_a_shared_layer_has_one_draw():
    layer, inputs = layers.DenseFlipout(1), keras.Input((1,))
    outputs = keras.layers.Concatenate()([layer(inputs), layer(inputs)])
    model = keras.Model(inputs, outputs)
    p = tfpbnn.predict(
        model, np.ones((1, 1)), 10, likelihood=likelihoods.Normal()
    )
    np.testing.assert_array_equal(p.outputs[..., 0], p.outputs[..., 1])


def test_mean_is_one_pass_at_the_posterior_means(model):
    p = tfpbnn.predict(model, X, draws="mean")
    hidden, last = model.layers
    h = np.maximum(X @ hidden.kernel_posterior.loc.numpy(), 0)
    expected = h @ last.kernel_posterior.loc.numpy()
    assert p.num_samples == 1
    np.testing.assert_allclose(p.outputs[0], expected, atol=1e-5)
    np.testing.assert_array_equal(p.epistemic_variance, 0)


def test_a_plain_call_is_one_random_draw(model):
    assert np.any(np.asarray(model(X)) != np.asarray(model(X)))
    a, b = (model.predict(X, verbose=0) for _ in range(2))
    assert np.any(a != b)


def test_data_forms(model):
    expected = tfpbnn.predict(model, X, 5, seed=1).mean
    dataset = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)
    for form in (tf.constant(X), dataset, dataset.map(lambda x, _: x)):
        p = tfpbnn.predict(model, form, 5, seed=1)
        np.testing.assert_allclose(p.mean, expected, atol=1e-5)


def test_several_inputs():
    a, b = keras.Input((2,), name="a"), keras.Input((1,), name="b")
    joined = keras.layers.Concatenate()([a, b])
    model = keras.Model({"a": a, "b": b}, layers.DenseFlipout(2)(joined))
    model.compile("adam", likelihoods.Normal())
    x = {"a": X[:, :2], "b": X[:, 2:]}
    assert tfpbnn.predict(model, x, 5, batch_size=8).mean.shape == (50, 1)


@pytest.mark.parametrize("form", [list, dict])
def test_several_outputs(form):
    inputs = keras.Input((3,))
    outputs = [
        layers.DenseFlipout(2, name="number")(inputs),
        layers.DenseFlipout(4, name="label")(inputs),
    ]
    losses = [likelihoods.Normal(), likelihoods.Categorical()]
    y = [Y, (Y > 0).astype("int32")]
    if form is dict:
        names = ("number", "label")
        outputs, losses, y = (
            dict(zip(names, v, strict=True)) for v in (outputs, losses, y)
        )
    model = keras.Model(inputs, outputs)
    model.compile("adam", losses)
    p = tfpbnn.predict(model, X, 5, seed=0)
    number, label = (p["number"], p["label"]) if form is dict else p
    assert number.mean.shape == (50, 1)
    assert label.probabilities.shape == (50, 4)
    scores = tfpbnn.evaluate(model, X, y, 5, seed=0)
    truth = y["number"] if form is dict else y[0]
    assert scores["number_rmse"] == number.rmse(truth)
    assert "label_ece" in scores
    with pytest.raises(ValueError, match=r"an entry for each of.* 2 outputs"):
        tfpbnn.predict(model, X, 5, likelihood=[likelihoods.Normal()])


def test_subclassed_and_nested_models():
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = keras.Sequential([layers.DenseFlipout(4, "relu")])
            self.last = layers.DenseReparameterization(2)

        def call(self, x):
            return self.last(self.inner(x))

    model = Subclassed()
    with pytest.raises(ValueError, match="never built"):
        tfpbnn.predict(model, X)
    model(X)
    p = tfpbnn.predict(model, X, 10, seed=0, likelihood=likelihoods.Normal())
    assert np.all(p.epistemic_variance > 0)


@pytest.mark.parametrize(
    "policy", ["mixed_float16", "mixed_bfloat16", "float64"]
)
def test_precision(policy):
    keras.config.set_dtype_policy(policy)
    model = make_model()
    model.fit(X, Y, verbose=0)
    p = tfpbnn.predict(model, X, 10)
    wide = "float64" if policy == "float64" else "float32"
    assert p.outputs.dtype == wide
    assert np.all(np.isfinite(p.stddev))


def test_training_is_seen_by_the_next_call():
    model = make_model()
    before = tfpbnn.predict(model, X, 5, seed=0).mean
    model.fit(X, Y, verbose=0)
    after = tfpbnn.predict(model, X, 5, seed=0).mean
    assert np.abs(before - after).max() > 1e-4


@pytest.mark.parametrize(
    ("draws", "way"), [("coherent", STACKED), ("marginal", MARGINAL)]
)
def test_a_second_call_traces_nothing(model, draws, way):
    tfpbnn.predict(model, X, 5, draws=draws)
    first = particles.draw_function(model, X)
    tfpbnn.predict(model, X[:13], 7, draws=draws)
    assert particles.draw_function(model, X) is first
    assert first.compiled(way).experimental_get_tracing_count() == 1


def test_a_changed_model_is_traced_anew():
    model = keras.Sequential([keras.Input((3,)), layers.DenseFlipout(2)])
    model.compile("adam", likelihoods.Normal())
    assert tfpbnn.predict(model, X, 3).mean.shape == (50, 1)
    model.add(layers.DenseFlipout(4))
    assert tfpbnn.predict(
        model, X, 3, likelihood=likelihoods.Normal()
    ).mean.shape == (50, 2)


def test_models_are_not_kept_alive(quick_gc):
    model = make_model()
    tfpbnn.predict(model, X, 2)
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None


def test_nothing_random():
    plain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    plain.compile("adam", likelihoods.Normal())
    with pytest.raises(ValueError, match=r'nothing random.*dropout.*="mean"'):
        tfpbnn.predict(plain, X)
    assert tfpbnn.predict(plain, X, draws="mean").mean.shape == (50, 1)


def test_a_users_own_noise_counts_as_random():
    class Noise(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.seed_generator = keras.random.SeedGenerator(1)

        def call(self, x):
            noise = keras.random.normal(
                keras.ops.shape(x), seed=self.seed_generator
            )
            return x + noise

    model = keras.Sequential(
        [keras.Input((3,)), Noise(), keras.layers.Dense(2)]
    )
    p = tfpbnn.predict(model, X, 20, likelihood=likelihoods.Normal())
    assert np.all(p.epistemic_variance > 0)


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"num_samples": 0}, "num_samples=0"),
        ({"num_samples": 2.5}, "num_samples=2.5"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"draws": "some"}, "draws='some'"),
        ({"memory_budget": 0}, "memory_budget=0"),
        ({"verbose": "loud"}, "'loud'"),
    ],
)
def test_bad_arguments(model, kwargs, match):
    with pytest.raises(ValueError, match=match):
        tfpbnn.predict(model, X, **kwargs)


def test_bad_models_and_data(model):
    with pytest.raises(TypeError, match=r"must be a keras\.Model"):
        tfpbnn.predict(lambda x: x, X)
    bare = keras.Sequential([keras.Input((3,)), layers.DenseFlipout(2)])
    with pytest.raises(ValueError, match=r"never compiled.*`likelihood=`"):
        tfpbnn.predict(bare, X)
    with pytest.raises(ValueError, match="never built"):
        tfpbnn.predict(keras.Sequential([layers.DenseFlipout(2)]), X)
    three = keras.Sequential([keras.Input((3,)), layers.DenseFlipout(3)])
    with pytest.raises(
        ValueError, match=r"`Normal` needs 2 outputs.*3 outputs"
    ):
        tfpbnn.predict(three, X, likelihood=likelihoods.Normal())
    with pytest.raises(ValueError, match=r"are probabilities.*from_logits=T"):
        # Keras takes logits for probabilities unless it is told.
        tfpbnn.predict(three, X, likelihood="sparse_categorical_crossentropy")
    bad = X.copy()
    bad[0] = np.nan
    with pytest.raises(ValueError, match="`x` must be finite"):
        tfpbnn.predict(model, bad)
    hinge = keras.Sequential([keras.Input((3,)), layers.DenseFlipout(1)])
    hinge.compile("adam", "hinge")
    with pytest.raises(ValueError, match="must be a likelihood"):
        tfpbnn.predict(hinge, X)


def test_evaluate(model):
    scores = tfpbnn.evaluate(model, X, Y, 20, seed=1)
    assert scores == tfpbnn.predict(model, X, 20, seed=1).evaluate(Y)
    dataset = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)
    again = tfpbnn.evaluate(model, dataset, num_samples=20, seed=1)
    for name, score in scores.items():
        np.testing.assert_allclose(again[name], score, rtol=1e-4)


def test_evaluate_draws_as_predict_does(model):
    for kwargs in (
        {"draws": "marginal"},
        {"draws": "coherent", "antithetic": True},
        {"draws": "mean"},
    ):
        scores = tfpbnn.evaluate(model, X, Y, 10, seed=1, **kwargs)
        p = tfpbnn.predict(model, X, 10, seed=1, **kwargs)
        assert p.draws == kwargs["draws"]
        assert scores["nll"] == p.nll(Y)


def test_evaluate_without_targets(model):
    with pytest.raises(ValueError, match="`y` must be given"):
        tfpbnn.evaluate(model, X)


def test_plain_keras_losses():
    for loss, units in [
        ("mse", 1),
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True), 3),
        ("binary_crossentropy", 1),
    ]:
        model = keras.Sequential(
            [keras.Input((3,)), layers.DenseFlipout(units, "sigmoid")]
        )
        model.compile("adam", loss)
        scores = tfpbnn.evaluate(model, X, (Y > 0).astype("int32"), 5)
        assert all(np.isfinite(v) for v in scores.values())


def test_progress_bar(model, capsys, monkeypatch):
    tfpbnn.predict(model, X, 60, batch_size=10, verbose=1)
    assert "5/5" in capsys.readouterr().out
    with monkeypatch.context() as patch:
        for name in ("_SMALL", "_FLOPS_PER_STEP"):  # as of a large model
            patch.setattr(costs, name, 0)
        tfpbnn.predict(model, X[:9], 60, 3, draws="coherent", verbose=1)
    assert "9/9" in capsys.readouterr().out  # 3 batches x 3 steps of draws
    tfpbnn.predict(model, X, 60, batch_size=10)
    assert capsys.readouterr().out == ""
    odd = tf.data.Dataset.from_tensor_slices(X).batch(10)
    odd = odd.filter(lambda _: True)
    tfpbnn.predict(model, odd, 5, verbose=1)
    assert "5/" in capsys.readouterr().out


def test_a_row_has_its_numbers_whatever_rows_come_along():
    """Unless there are so many that "auto" draws in another way."""
    wide = keras.Sequential(
        [keras.Input((3,)), layers.DenseFlipout(64), layers.DenseFlipout(2)]
    )
    wide.compile("adam", likelihoods.Normal())
    x = np.tile(X, (40, 1))

    def outputs(rows, draws):
        return tfpbnn.predict(wide, x[:rows], 5, seed=0, draws=draws)

    for draws in ("coherent", "marginal", "mixed"):
        few, many = (outputs(rows, draws).outputs for rows in (2, 2000))
        np.testing.assert_allclose(few, many[:, :2], atol=1e-5)
    by_kind = {}
    for rows in (1, 20, 200, 2000):
        p = outputs(rows, "auto")
        first = by_kind.setdefault(p.draws, p.outputs[:, :1])
        np.testing.assert_allclose(p.outputs[:, :1], first, atol=1e-5)
    assert len(by_kind) > 1
