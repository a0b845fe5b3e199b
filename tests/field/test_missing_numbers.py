"""Reports from the field: NaN that a model sees to, and others refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tfpbnn.densities.problem import Problem

rng = np.random.default_rng(0)
FULL = rng.normal(size=(40, 3)).astype("float32")
FULL[::3, 1] = 0.0
MISSING = FULL.copy()
MISSING[::3, 1] = np.nan
WORSE = MISSING.copy()
WORSE[-1, 2] = np.nan
Y = FULL.sum(axis=-1, keepdims=True)
NORMAL = tfpbnn.likelihoods.Normal(scale=1.0)


@keras.saving.register_keras_serializable("tests.missing_numbers")
class Impute(keras.layers.Layer):
    """Puts 0 where the second number of a row is missing."""

    def call(self, x):
        is_second = np.arange(3) == 1
        return keras.ops.where(keras.ops.isnan(x) & is_second, 0.0, x)


def network():
    layers = [
        keras.Input((3,)),
        Impute(),
        keras.layers.BatchNormalization(),
        keras.layers.Dense(4, activation="relu"),  # loses NaN, compiled
        keras.layers.Dense(1),
    ]
    model = tfpbnn.Sequential(layers)
    model.compile("sgd", NORMAL)
    return model


@pytest.fixture(scope="module")
def model():
    return network()


def laplace(model, x, y=Y):
    posterior = tfpbnn.laplace(model, x, y, prior_precision=1.0)
    evidence = posterior.log_marginal_likelihood()
    return evidence if y is None else posterior.output_moments(x)[1] + evidence


def of_dataset(model, x):
    batches = tf.data.Dataset.from_tensor_slices((x, Y)).batch(16)
    return laplace(model, batches, None)


def density(model, x):
    plain = keras.models.clone_model(model)
    plain.layers[1].trainable = False
    problem = Problem(plain, x, Y, NORMAL, "normal", True, None)
    vector = np.full(problem.parameters.size, 0.5, "float32")
    return problem.density.terms(vector)["likelihood"]


def distances(model, x):
    return tfpbnn.ood.Mahalanobis().fit(model, x).score(x)


def statistics(model, x):
    copy = keras.models.clone_model(model)
    tfpbnn.ensembles.update_batch_norm(copy, x)
    return copy.layers[1].moving_variance


def own_orders(model, x):
    del model
    keras.utils.set_random_seed(0)
    members = tfpbnn.ensembles.DeepEnsemble(network, 2, shuffle="own", seed=0)
    members.compile("sgd", NORMAL, run_eagerly=True)
    return members.fit(x, Y, verbose=0).history["loss"]


def predicted(model, x):
    return tfpbnn.predict(model, x, draws="mean", verbose=0).mean


def stacked(model, x):
    stacks = [v[np.newaxis] for v in map(np.asarray, model.trainable_variables)]
    return tfpbnn.particles.stack_predict(model, stacks, x)


WAYS = [
    predicted, stacked, laplace, of_dataset, density, distances, statistics,
    own_orders,
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_what_the_model_sees_to_is_taken_everywhere(model, way):
    found, right = way(model, MISSING), way(model, FULL)
    np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_what_it_does_not_see_to_is_an_error(model, way):
    """Also in a row after others of which it does."""
    with pytest.raises(ValueError, match=r"must be finite.*NaN"):
        way(model, WORSE)
    with pytest.raises(ValueError, match=r"must be finite.*NaN"):
        model.fit(WORSE, Y, verbose=0)
