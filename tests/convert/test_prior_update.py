"""Today's posterior as the prior of tomorrow's data."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tfpbnn import layers, likelihoods, priors
from tfpbnn.convert.counterparts import set_scale
from tfpbnn.layers.kl import kl_terms, total_kl
from tfpbnn.layers.kl_parts import parts_of

NOISE, WIDTH, SIZE = 0.5, 2.0, 3


def days(count):
    """Linear data of several days; columns are orthogonal on each."""
    rng = np.random.default_rng(0)
    w = rng.normal(size=(SIZE, 1))
    for _ in range(count):
        x, _ = np.linalg.qr(rng.normal(size=(20, SIZE)))
        x = 3 * x * rng.uniform(0.5, 1.5, SIZE)
        yield x, x @ w + NOISE * rng.normal(size=(20, 1))


def linear(family, **kwargs):
    model = tfpbnn.Sequential(
        [
            keras.Input((SIZE,), dtype="float64"),
            layers.DenseReparameterization(
                1,
                use_bias=False,
                kernel_posterior=family,
                kernel_prior=priors.Normal(scale=WIDTH),
                dtype="float64",
                **kwargs,
            ),
        ]
    )
    model.compile(keras.optimizers.Adam(0.05), likelihoods.Normal(scale=NOISE))
    return model


def assign(posterior, mean, covariance):
    posterior.loc.assign(mean)
    if posterior.independent_normal:
        set_scale(posterior, np.sqrt(np.diag(covariance))[:, np.newaxis])
    else:
        posterior.factor.assign(np.linalg.cholesky(covariance))


def gradients(model, x, y):
    """Of the KL, and of the expected negative log-likelihood."""
    (term,) = kl_terms(model)
    q = term.posterior
    with tf.GradientTape(persistent=True) as tape:
        kl = total_kl([term])
        error = y - x @ tf.convert_to_tensor(q.loc)
        if q.independent_normal:
            spread = tf.reduce_sum(x**2 @ q.variance())
        else:
            spread = tf.reduce_sum(tf.square(x @ q.factor.matrix()))
        nll = (tf.reduce_sum(error**2) + spread) / (2 * NOISE**2)
    variables = [v.value for v in model.trainable_variables]
    return tape.gradient(kl, variables), tape.gradient(nll, variables)


@pytest.mark.parametrize("forgetting", [1.0, 0.7])
@pytest.mark.parametrize(
    "family", ["mean_field_normal", "full_covariance_normal"]
)
def test_updates_are_sequential_bayes(family, forgetting):
    """At the exact posterior of all days the bound has no slope."""
    model = linear(family)
    first = np.eye(SIZE) / WIDTH**2
    precision, shift = first, np.zeros((SIZE, 1))
    for day, (x, y) in enumerate(days(3)):
        if family == "full_covariance_normal":
            mix = np.linalg.qr(np.random.default_rng(day).normal(size=(3, 3)))
            x = x @ mix[0]
        if day:
            model = tfpbnn.update_prior(model, forgetting)
            precision = forgetting * precision + (1 - forgetting) * first
            shift = forgetting * shift
        precision = precision + x.T @ x / NOISE**2
        shift = shift + x.T @ y / NOISE**2
        covariance = np.linalg.inv(precision)
        posterior = parts_of(model)[0].term.posterior
        assign(posterior, covariance @ shift, covariance)
        for kl, nll in zip(*gradients(model, x, y), strict=True):
            size = 1e-3 + np.abs(kl).max()
            np.testing.assert_allclose(kl, -nll, atol=2e-4 * size)


def test_fit_on_the_next_day_finds_the_posterior_of_both():
    (x, y), (x2, y2) = days(2)
    both = np.concatenate([x, x2]), np.concatenate([y, y2])
    model = linear("mean_field_normal")
    precision = x.T @ x / NOISE**2 + np.eye(SIZE) / WIDTH**2
    mean = np.linalg.solve(precision, x.T @ y) / NOISE**2
    assign(parts_of(model)[0].term.posterior, mean, np.linalg.inv(precision))
    model = tfpbnn.update_prior(model)
    steps = tf.data.Dataset.from_tensors((x2, y2)).repeat(400)
    weight = tfpbnn.callbacks.KLWeight(num_examples=20)
    model.fit(steps, callbacks=[weight], verbose=0)
    x, y = both
    precision = x.T @ x / NOISE**2 + np.eye(SIZE) / WIDTH**2
    exact = np.linalg.solve(precision, x.T @ y) / NOISE**2
    sd = 1 / np.sqrt(np.diag(precision))[:, np.newaxis]
    posterior = parts_of(model)[0].term.posterior
    # Steps of Adam are not averaged: half a standard deviation is noise. The
    # mean of one day alone is further off.
    assert np.abs((posterior.loc - exact) / sd).max() < 0.5
    assert np.abs((mean - exact) / sd).max() > 1
    np.testing.assert_allclose(posterior.scale, sd, rtol=0.25)


def many_layers():
    """A model with weights of every kind that has a memory."""
    x = keras.Input((3, 4), name="x")
    rnn = layers.SimpleRNNReparameterization(2, kernel_prior="laplace")
    h = keras.layers.Bidirectional(rnn)(x)
    h = keras.layers.BatchNormalization()(h)
    h = layers.DenseFlipout(4, name="shared", kernel_prior="horseshoe")(h)
    h = layers.Variational(keras.layers.Dense(5), prior="moped")(h)
    inner = [
        keras.Input((5,)),
        layers.DenseFlipout(3, kernel_posterior="ktied_normal"),
        layers.DenseReparameterization(
            3,
            kernel_posterior="matrix_normal",
            bias_posterior="mean_field_normal",
            bias_prior=priors.Normal(learnable_scale=True),
        ),
    ]
    outputs = {
        "a": keras.Sequential(inner, name="inner")(h),
        "b": layers.DenseReparameterization(
            2, kernel_posterior="full_covariance_normal"
        )(h),
    }
    model = tfpbnn.Model(x, outputs)
    losses = {"a": likelihoods.Categorical(), "b": likelihoods.Normal()}
    model.compile("adam", loss=losses)
    rng = np.random.default_rng(0)
    for part in parts_of(model):
        part.variable.assign(0.3 * rng.normal(size=part.variable.shape))
    return model


@pytest.fixture(scope="module")
def updated():
    model = many_layers()
    return model, tfpbnn.update_prior(model)


def test_the_posterior_stays_and_the_prior_is_equal_to_it(updated):
    model, new = updated
    assert total_kl(kl_terms(model)) > 10
    # Matrix normals have no closed form: their KL is of one draw.
    assert abs(total_kl(kl_terms(new))) < 1e-3
    for old, copied in zip(parts_of(model), parts_of(new), strict=True):
        pair = old.term.posterior.variables, copied.term.posterior.variables
        for ours, theirs in zip(*pair, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_priors_are_never_trained(updated):
    _, new = updated
    before = len(new.trainable_variables)
    new.trainable = False
    new.trainable = True
    assert len(new.trainable_variables) == before
    assert not any("previous" in v.path for v in new.trainable_variables)
    names = tfpbnn.signal_to_noise(new)
    assert not any("previous" in name for name in names)


def test_updates_survive_files(updated, tmp_path):
    _, new = updated
    path = tmp_path / "model.keras"
    new.save(path)
    loaded = keras.saving.load_model(path)
    for ours, theirs in zip(new.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for part in parts_of(loaded):
        part.variable.assign_add(tf.ones(part.variable.shape))
    again = tfpbnn.update_prior(loaded)
    assert total_kl(kl_terms(loaded)) > 100
    assert abs(total_kl(kl_terms(again))) < 1e-3


def test_fit_weighs_the_kl_by_the_new_rows():
    x, y = next(days(1))
    new = tfpbnn.update_prior(linear("mean_field_normal"))
    new.fit(x[:5], y[:5], verbose=0)
    np.testing.assert_allclose(new.layers[0].kl_weight, 1 / 5, rtol=1e-6)


def dense(**kwargs):
    model = tfpbnn.Sequential(
        [keras.Input((4,)), layers.DenseReparameterization(2, **kwargs)]
    )
    model.compile("adam", likelihoods.Normal())
    return model


class Own(tfpbnn.Model):
    """A model that makes its layers itself."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.DenseFlipout(2)

    def call(self, x):
        return self.dense(x)


def own():
    model = Own()
    model(np.zeros((1, 4)))
    return model


POINT = {"kernel_posterior": "delta"}
BAD = {
    "range": (dense, {}, 0.0, "above 0 and up to 1. Received: forgetting=0"),
    "more": (dense, {}, 1.5, "above 0 and up to 1"),
    "words": (dense, {}, "half", "above 0 and up to 1"),
    "no kl": (dense, {"kernel_prior": None}, 1.0, "with no KL"),
    "point": (dense, POINT, 1.0, "kernel': .* a density .* PointEstimate"),
    "points": (
        dense,
        {"kernel_posterior": "drop_connect"},
        1.0,
        "a density .* DropConnect",
    ),
    "family": (
        dense,
        {"kernel_posterior": "low_rank_normal"},
        0.9,
        "`forgetting` must be 1 .* LowRankNormal",
    ),
    "prior": (
        dense,
        {"kernel_prior": "laplace"},
        0.9,
        "`forgetting` must be 1 .* no Normal",
    ),
    "learned": (
        dense,
        {"kernel_prior": priors.Normal(learnable_scale=True)},
        0.9,
        "`forgetting` must be 1 .* no Normal",
    ),
    "own": (own, {}, 1.0, "makes those of 'dense_flipout.*' itself"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    make, kwargs, forgetting, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        tfpbnn.update_prior(make(**kwargs), forgetting)


def test_other_objects_are_refused():
    with pytest.raises(TypeError, match=r"must be a Keras model.*list"):
        tfpbnn.update_prior([dense()])
