"""A posterior within another model is drawn from as it is alone."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.layers.table import normal
from tests.mcmc.drawn import posterior_of
from tfpbnn import ensembles, layers, random
from tfpbnn.networks.copying import clone
from tfpbnn.particles import draw_function
from tfpbnn.posteriors.low_rank_normal import SWAGPosterior

L = keras.layers
LIKELIHOOD = tfpbnn.likelihoods.Normal(scale=1.0)
X = normal(5, 3)


def network():
    model = keras.Sequential(
        [keras.Input((3,)), L.Dense(4, "tanh"), L.Dense(2)]
    )
    model.compile("sgd", LIKELIHOOD)
    return model


def other_network():
    """Not traced with the same network."""
    model = keras.Sequential([keras.Input((3,)), L.Dense(2)])
    model.compile("sgd", LIKELIHOOD)
    return model


def swag():
    model = network()
    posterior = SWAGPosterior(clone(model), range(4), 2, 3)
    for variance in posterior.variances:
        variance.assign(tf.ones_like(variance) * 0.1)
    posterior.compile("sgd", LIKELIHOOD)
    return posterior


def weight_samples():
    sets = [network().get_weights() for _ in range(3)]
    return ensembles.WeightSamples.from_weights(network(), sets)


def multi_swag():
    return ensembles.MultiSWAG([swag(), swag()])


def deep_ensemble():
    return ensembles.DeepEnsemble(network, 3)


def mixed_ensemble():
    return ensembles.DeepEnsemble.from_models([network(), other_network()])


def of_bayesian_members():
    def build():
        bayes = layers.DenseFlipout(2, kernel_posterior="he_normal")
        model = keras.Sequential([keras.Input((3,)), L.Dense(4, "tanh"), bayes])
        model.compile("sgd", LIKELIHOOD)
        return model

    return ensembles.DeepEnsemble(build, 2)


def laplace():
    posterior = tfpbnn.laplace(network(), X, X[:, :2], "all", "diag")
    posterior.prior_precision = 10.0
    return posterior


def ivon():
    model = network()
    model.compile(tfpbnn.optimizers.IVON(0.1, ess=5.0), LIKELIHOOD)
    model.optimizer.build(model.trainable_variables)
    return model.optimizer.posterior(model)


def chains():
    return posterior_of(network(), X, X[:, :2], LIKELIHOOD)


POSTERIORS = [
    swag,
    laplace,
    weight_samples,
    multi_swag,
    deep_ensemble,
    mixed_ensemble,
    of_bayesian_members,
]


@pytest.fixture(scope="module")
def posteriors():
    keras.utils.set_random_seed(0)
    return {make.__name__: make() for make in (*POSTERIORS, ivon, chains)}


def behind(inner):
    x = keras.Input((3,), name="raw")
    return keras.Model(x, inner(L.Rescaling(0.5)(x))), lambda y: y


def before(inner):
    x = keras.Input((3,), name="raw")
    h = L.Rescaling(2.0)(inner(L.Rescaling(0.5)(x)))
    return keras.Model(x, h + 1), lambda y: 2 * y + 1


def in_a_model(inner):
    x = keras.Input((3,), name="raw")
    return keras.Model(x, behind(inner)[0](x)), lambda y: y


class Block(L.Layer):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, x):
        return self.inner(0.5 * x)


def in_a_block(inner):
    x = keras.Input((3,), name="raw")
    return keras.Model(x, Block(inner)(x)), lambda y: y


class Own(keras.Model):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, x):
        return self.inner(0.5 * x)


def subclassed(inner):
    model = Own(inner)
    model(X)
    return model, lambda y: y


def in_time(inner):
    x = keras.Input((3,), name="raw")
    h = L.TimeDistributed(inner)(L.Reshape((1, 3))(L.Rescaling(0.5)(x)))
    return keras.Model(x, L.Flatten()(h)), lambda y: y


PLACES = [behind, before, in_a_model, in_a_block, subclassed, in_time]
ROWS = list(itertools.product(POSTERIORS, PLACES))
# These draw as `swag` and `weight_samples` do.
ROWS += [(ivon, in_a_block), (chains, in_a_block)]


def outputs(model, x, **kwargs):
    kwargs = {"seed": 0, "likelihood": LIKELIHOOD} | kwargs
    return tfpbnn.predict(model, x, 12, **kwargs).outputs


@pytest.mark.parametrize(
    ("make", "place"), ROWS, ids=lambda function: function.__name__
)
def test_draws_are_those_of_the_posterior_alone(posteriors, make, place):
    inner = posteriors[make.__name__]
    model, after = place(inner)
    right = after(outputs(inner, 0.5 * X))
    found = outputs(model, X)
    assert np.ptp(right, axis=0).min() > 1e-3
    np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-5)
    plain = np.asarray(inner(0.5 * X))
    if make is not of_bayesian_members:  # elsewhere as in Keras
        np.testing.assert_allclose(model(X), after(plain), rtol=1e-4, atol=1e-5)
    ours, alone = draw_function(model, X), draw_function(inner, X)
    assert ours.num_draws == alone.num_draws
    assert ours.num_means == alone.num_means
    assert ours.has_mean == alone.has_mean
    np.testing.assert_allclose(
        ours.mean(X), after(alone.mean(0.5 * X)), rtol=1e-4, atol=1e-5
    )


def test_two_posteriors_in_one_model():
    """Members go along; what is drawn is drawn independently."""
    x, (a, b) = keras.Input((3,)), (deep_ensemble(), deep_ensemble())
    model = keras.Model(x, L.Concatenate()([a(x), b(x)]))
    right = np.concatenate([outputs(a, X), outputs(b, X)], axis=-1)
    np.testing.assert_allclose(outputs(model, X), right, atol=1e-5)
    one = swag()
    twice = keras.Model(x, one(x) - one(x))  # one draw of it
    np.testing.assert_allclose(outputs(twice, X), 0, atol=1e-6)
    pair = keras.Model(x, L.Concatenate()([swag()(x), swag()(x)]))
    draws = draw_function(pair, X).draws(X, random.as_key(0), 0, 2000)
    correlation = np.corrcoef(draws[:, 0].T)[:2, 2:]
    assert np.abs(correlation).max() < 0.15
    mixed = keras.Model(x, L.Concatenate()([deep_ensemble()(x), swag()(x)]))
    assert np.ptp(outputs(mixed, X), axis=0).min() > 1e-3
    assert draw_function(mixed, X).num_draws is None


def test_with_layers_that_draw_around_it():
    x, inner = keras.Input((3,)), deep_ensemble()
    h = layers.MCDropout(0.5)(inner(layers.DenseFlipout(3)(x)))
    model = keras.Model(x, h)
    assert np.ptp(outputs(model, X, draws="coherent"), axis=0).min() > 1e-3
    assert draw_function(model, X).num_draws is None


@pytest.mark.parametrize("make", [swag, deep_ensemble])
def test_exports_draw_from_it(make, tmp_path):
    model, _ = behind(make())
    path = tmp_path / "1"
    one = {"signatures": ["serving_default"], "quantiles": []}
    tfpbnn.export(model, path, 12, likelihood=LIKELIHOOD, **one)
    served = tf.saved_model.load(str(path)).signatures["serving_default"]
    found = served(tf.constant(X))
    variance = next(v for k, v in found.items() if "epistemic" in k)
    assert np.all(np.asarray(variance) > 1e-5)


class OldPosterior(SWAGPosterior):
    def call(self, inputs):
        return self.network(inputs)


def test_a_posterior_that_overrides_call_is_refused():
    inner = OldPosterior(network(), range(4), 2, 3)
    with pytest.raises(TypeError, match="must define `average`"):
        outputs(behind(inner)[0], X)


class Compiled(L.Dense):
    call = tf.function(L.Dense.call)


def test_functions_that_draws_would_not_reach():
    """They were traced with the network's own weights, which they keep."""
    with keras.saving.custom_object_scope({"Compiled": Compiled}):
        network = keras.Sequential([keras.Input((3,)), Compiled(2)])
        network.compile("sgd", LIKELIHOOD)
        sets = [[2 * w for w in network.get_weights()], network.get_weights()]
        posterior = ensembles.WeightSamples.from_weights(network, sets)
        with pytest.raises(ValueError, match=r"no tf\.function of its own"):
            tfpbnn.predict(posterior, X)
