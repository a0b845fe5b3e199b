"""Masks, weights and ignored labels, from the model to its scores.

Of a network without randomness scores are what Keras's `evaluate` says.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tfpbnn import layers, likelihoods

# Keras warns of a model in the model, whose layers hand the mask on.
pytestmark = pytest.mark.filterwarnings("ignore:Layer '.*' .of type (Func|Seq)")
RNG = np.random.default_rng(0)
X = RNG.integers(1, 9, (8, 5))
PADDED = np.arange(5) >= RNG.integers(1, 6, (8, 1))
X[PADDED] = 0
WEIGHTS = RNG.uniform(0.5, 2, X.shape).astype("float32")


def embedding():
    return keras.layers.Embedding(9, 4, mask_zero=True)


def sequential(*parts):
    return tfpbnn.Sequential([keras.Input((5,), dtype="int32"), *parts])


def of_masked_steps(names=None):
    """Outputs whose mask goes through layers and wrappers, and ones without."""
    x = keras.Input((5,), dtype="int32")
    h, apart = embedding()(x), embedding()(x)  # Keras's attention drops masks
    step = keras.Sequential([keras.Input((4,)), layers.DenseFlipout(2)])
    inner = keras.Input((5, 4))
    nested = keras.Model(inner, layers.DenseFlipout(2)(inner))
    lstm = layers.LSTMReparameterization(2, return_sequences=True)
    outputs = {
        "dense": layers.DenseFlipout(2)(h),
        "gru": layers.DenseFlipout(2)(
            keras.layers.GRU(4, return_sequences=True)(h)
        ),
        "bidirectional": keras.layers.Bidirectional(lstm, merge_mode="ave")(h),
        "distributed": keras.layers.TimeDistributed(step)(h),
        "nested": nested(h),
        "attention": layers.DenseFlipout(2)(
            keras.layers.MultiHeadAttention(2, 3)(
                layers.DenseFlipout(4)(apart), apart
            )
        ),
        "added": layers.DenseFlipout(2)(keras.layers.Add()([h, h])),
        "variational": layers.Variational(keras.layers.Dense(2))(h),
        "noise": layers.HomoscedasticScale()(layers.DenseFlipout(1)(h)),
        "dropout": keras.layers.Dense(2)(layers.MCDropout(0.5)(h)),
        "pooled": layers.DenseFlipout(2)(
            keras.layers.GlobalAveragePooling1D()(h)
        ),
    }
    return tfpbnn.Model(x, {name: outputs[name] for name in names or outputs})


@pytest.fixture(scope="module")
def masked():
    return of_masked_steps()


@pytest.fixture(scope="module")
def gru():
    return of_masked_steps(["gru"])


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_masks_reach_the_prediction(policy, masked):
    keras.config.set_dtype_policy(policy)
    cast = ["dense", "nested", "distributed", "noise"]
    model = masked if policy == "float32" else of_masked_steps(cast)
    found = tfpbnn.predict(
        model, X, 3, batch_size=3, likelihood=likelihoods.Normal()
    )
    for name, p in found.items():
        if name == "pooled":
            assert p.mask is None
            continue
        np.testing.assert_array_equal(p.mask, ~PADDED, err_msg=name)
        np.testing.assert_array_equal(p[2:5].mask, ~PADDED[2:5])


@pytest.mark.parametrize("options", [{}, {"keep_draws": False}])
def test_padded_targets_and_boundaries_change_no_score(options, gru):
    y = RNG.normal(size=X.shape)
    padded = np.where(PADDED, np.nan, y)
    found = []
    for targets, size in ((y, None), (padded, 3)):
        p = tfpbnn.predict(
            gru,
            X,
            3,
            size,
            seed=0,
            draws="coherent",
            likelihood=likelihoods.Normal(),
            **options,
        )
        found.append(p["gru"].evaluate(targets))
    for name, score in found[0].items():
        assert found[1][name] == pytest.approx(score, rel=1e-4), name


def test_a_subclassed_model_and_masking():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.masking = keras.layers.Masking(-9.0)
            self.last = layers.DenseFlipout(2)

        def call(self, x):
            return self.last(self.masking(x))

    model = Own()
    x = RNG.normal(size=(8, 5, 2)).astype("float32")
    x[PADDED] = -9.0
    model(x)
    noise = [np.array(v) for v in model.variables]
    p = tfpbnn.predict(model, x, 3, likelihood=likelihoods.Normal())
    np.testing.assert_array_equal(p.mask, ~PADDED)
    for before, after in zip(noise, model.variables, strict=True):
        np.testing.assert_array_equal(before, after)


# The loss, the number of outputs, their activation, and Keras's metrics for
# scores of ours.
SAME = {
    "categorical": (
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        3,
        None,
        [
            (
                "nll",
                lambda: keras.metrics.SparseCategoricalCrossentropy(
                    from_logits=True
                ),
            ),
            ("accuracy", keras.metrics.SparseCategoricalAccuracy),
        ],
    ),
    "bernoulli": (
        "binary_crossentropy",
        1,
        "sigmoid",
        [
            ("nll", keras.metrics.BinaryCrossentropy),
            ("accuracy", keras.metrics.BinaryAccuracy),
        ],
    ),
    "normal": (
        "mse",
        1,
        None,
        [("mse", keras.metrics.MeanSquaredError)],
    ),
}


@pytest.mark.parametrize("weights", [None, "rows", "steps"])
@pytest.mark.parametrize("kind", SAME)
def test_scores_are_those_of_keras(kind, weights):
    """By Keras's weighted metrics, of padded sequences."""
    loss, units, activation, metrics = SAME[kind]
    metrics = [(score, make()) for score, make in metrics]
    model = sequential(
        embedding(),
        keras.layers.SimpleRNN(4, return_sequences=True),
        keras.layers.Dense(units, activation),
    )
    model.compile("sgd", loss, weighted_metrics=[m for _, m in metrics])
    y = RNG.integers(0, 2, X.shape)
    given = {
        None: None,
        "rows": np.broadcast_to(WEIGHTS[:, :1], X.shape),
        "steps": WEIGHTS,
    }[weights]
    theirs = model.evaluate(
        X, y[..., None], sample_weight=given, verbose=0, return_dict=True
    )
    given = WEIGHTS[:, 0] if weights == "rows" else given
    ours = tfpbnn.evaluate(
        model, X, y, sample_weight=given, draws="mean", verbose=0
    )
    ours["mse"] = ours.get("rmse", 0.0) ** 2
    for score, metric in metrics:
        expected = theirs[metric.name]
        assert ours[score] == pytest.approx(expected, rel=1e-4), score


def test_nll_is_keras_s_loss_per_step():
    """Of a masked loss with ignored labels: the mean over what is left."""
    loss = keras.losses.SparseCategoricalCrossentropy(True, ignore_class=255)
    model = sequential(embedding(), keras.layers.Dense(3))
    model.compile("sgd", loss)
    y = RNG.integers(0, 3, X.shape)
    y[:, 0] = np.where(np.arange(8) < 4, 255, y[:, 0])
    expected = model.evaluate(X, y, verbose=0)
    y[PADDED] = -1
    scores = tfpbnn.evaluate(model, X, y, draws="mean")
    assert scores["nll"] == pytest.approx(expected, rel=1e-5)
    assert scores.per["nll"] == "step"


def classifier():
    model = tfpbnn.Sequential([keras.Input((4,)), layers.DenseFlipout(2)])
    model.compile("adam", likelihoods.Categorical())
    return model


def test_weights_of_datasets():
    """Rows of weight 0 that fill a batch change nothing."""
    x = RNG.normal(size=(20, 4)).astype("float32")
    y = (x[:, 0] > 0).astype(int)
    model = classifier()
    rows = np.r_[x, 9 + x], np.r_[y, y - 7], np.repeat([1.0, 0.0], 20)
    filled = tf.data.Dataset.from_tensor_slices(rows).batch(16)
    options = {"num_samples": 5, "seed": 0, "draws": "coherent"}
    expected = tfpbnn.evaluate(model, x, y, **options)
    for found in (
        tfpbnn.evaluate(model, filled, **options),
        tfpbnn.evaluate(
            model, rows[0], rows[1], sample_weight=rows[2], **options
        ),
    ):
        for name, score in expected.items():
            assert found[name] == pytest.approx(score, rel=1e-4), name


class SomeWeights(keras.utils.PyDataset):
    @property
    def num_batches(self):
        return 2

    def __getitem__(self, index):
        batch = np.ones((3, 4), "float32"), np.ones(3, int)
        return (*batch, np.ones(3)) if index else batch


def test_weights_with_some_batches_raise():
    with pytest.raises(ValueError, match="1 of 2 batches without"):
        tfpbnn.evaluate(classifier(), SomeWeights(), num_samples=2)


def test_pixels_of_an_ignored_class():
    x = RNG.normal(size=(4, 3, 3, 1)).astype("float32")
    y = (x[..., 0] > 0).astype(int)
    model = tfpbnn.Sequential(
        [keras.Input((3, 3, 1)), layers.Conv2DFlipout(2, 1)]
    )
    model.compile(
        "adam",
        keras.losses.SparseCategoricalCrossentropy(True, ignore_class=255),
    )
    p = tfpbnn.predict(model, x, 4, seed=0)
    kept = np.ones(y.shape, bool)
    kept[:, 0] = False
    scores = tfpbnn.evaluate(model, x, np.where(kept, y, 255), 4, seed=0)
    assert scores == p.evaluate(y, kept.astype(float))
    assert scores.per["nll"] == "position"


@pytest.mark.parametrize("bad", [np.nan, -1.0])
def test_fit_takes_what_no_likelihood_looks_at(bad):
    model = sequential(embedding(), layers.DenseFlipout(1))
    model.compile("adam", likelihoods.Poisson())
    y = np.where(PADDED, bad, 1.0)
    history = model.fit(X, y, verbose=0)
    assert np.all(np.isfinite(history.history["loss"]))
    plain = tfpbnn.Sequential([keras.Input((5,)), layers.DenseFlipout(1)])
    plain.compile("adam", likelihoods.Poisson())
    rows = np.where(np.arange(8) < 2, bad, 1.0)
    weights = (np.arange(8) >= 2).astype(float)
    history = plain.fit(X, rows, sample_weight=weights, verbose=0)
    assert np.all(np.isfinite(history.history["loss"]))
    with pytest.raises(ValueError, match="`y` must"):
        plain.fit(X, rows, verbose=0)


class Holds(keras.layers.Layer):
    """A user's layer that hands on the mask of the layer in it."""

    def __init__(self):
        super().__init__()
        self.held = embedding()

    def build(self, shape):
        self.held.build(shape)

    def call(self, x):
        return self.held(x)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.held = embedding()

    def call(self, x):
        return self.held(x)


class Through(keras.layers.Layer):
    """A user's layer around one that hands masks on, as Keras's models do."""

    def __init__(self):
        super().__init__()
        self.held = keras.layers.Dense(4)

    def build(self, shape):
        self.held.build(shape)

    def call(self, x):
        return self.held(x)


class Same(keras.layers.Layer):
    def call(self, x):
        return x


def of_models():
    x, h = keras.Input((5, 4)), keras.Input((5, 4))
    step = keras.Model(h, keras.layers.Dense(4)(h))
    return keras.Model(x, step(x))


@pytest.mark.filterwarnings("ignore:Layer '.*' .of type")
@pytest.mark.parametrize("inner", [of_models, Through, Same])
def test_masks_go_into_models_in_the_model(inner):
    """And out of them; the only output that has a mask, unlike above."""
    x = keras.Input((5,), dtype="int32")
    last = layers.DenseFlipout(1)
    model = tfpbnn.Model(x, last(inner()(embedding()(x))))
    p = tfpbnn.predict(model, X, 2, likelihood=likelihoods.Normal(1.0))
    np.testing.assert_array_equal(p.mask, ~PADDED)
    model.compile("sgd", likelihoods.Poisson())
    y = np.where(PADDED, np.nan, 1.0)
    loss = model.fit(X, y, verbose=0).history["loss"]
    assert np.all(np.isfinite(loss))
    model.compile("sgd", "mse")
    model.fit(X, np.ones((*X.shape, 1)), verbose=0)
    found = 1 / float(last.kl_weight)
    assert found == pytest.approx(np.sum(~PADDED))


def twice():
    x = keras.Input((5,), dtype="int32")
    return keras.Model(x, keras.layers.LayerNormalization()(functional()(x)))


def functional():
    x = keras.Input((5,), dtype="int32")
    return keras.Model(x, embedding()(x))


@pytest.mark.parametrize(
    "inner",
    [lambda: sequential(embedding()), functional, twice, Subclassed, Holds],
)
def test_masks_come_out_of_models_in_the_model(inner):
    """Keras knows these masks when it runs, and not from symbols."""
    exact = tfpbnn.families.MeanFieldNormal(
        untransformed_scale_initializer=keras.initializers.Constant(-16.0)
    )
    x = keras.Input((5,), dtype="int32")
    h = layers.DenseReparameterization(4, kernel_posterior=exact)(inner()(x))
    end = keras.layers.LSTM(3)(h)
    model = keras.Model(x, {"steps": keras.layers.Dense(2)(h), "end": end})
    found = tfpbnn.predict(model, X, 3, likelihood=likelihoods.Normal(1.0))
    np.testing.assert_array_equal(found["steps"].mask, ~PADDED)
    plain = model.predict(X, verbose=0)
    for name, expected in plain.items():
        for draw in found[name].outputs:
            np.testing.assert_allclose(draw, expected, atol=1e-4)
