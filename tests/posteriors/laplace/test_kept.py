"""What is compiled for a model serves later fits, as long as it is right."""

import gc
import weakref

import keras
import numpy as np
import pytest

import tfpbnn
from tfpbnn import likelihoods
from tfpbnn.base.kept import kept_with
from tfpbnn.posteriors.laplace import curvature

L = keras.layers
RNG = np.random.default_rng(0)
X = RNG.normal(3, 2, size=(12, 3)).astype("float32")
Y = RNG.normal(size=(12, 1)).astype("float32")


class Scaled(L.Layer):
    def build(self, shape):
        self.factor = 2.0
        self.factors = {"inner": [1.0, np.ones(1, "float32")]}

    def call(self, x):
        one, array = self.factors["inner"]
        return self.factor * one * array * x


def network(loss=None):
    keras.utils.set_random_seed(0)
    normalization = L.Normalization()
    normalization.adapt(X)
    layers = [normalization, L.Dense(2, activation="tanh"), Scaled()]
    model = keras.Sequential([keras.Input((3,)), *layers, L.Dense(1)])
    model.compile("sgd", loss or likelihoods.Normal(0.5))
    return model


def fitted(model, **how):
    how = {"structure": "diag", "prior_precision": 1.0} | how
    found = tfpbnn.laplace(model, X, Y, "all", **how)
    return np.append(found.eigenvalues, found.log_likelihood)


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture
def count(monkeypatch):
    """The number of times that sums are compiled, in a list."""
    calls, compiled = [], curvature.compiled

    def counted(*args):
        calls.append(args)
        return compiled(*args)

    monkeypatch.setattr(curvature, "compiled", counted)
    return calls


def trained(model):
    model.fit(X, Y, verbose=0)


def moved(model):
    model.layers[-1].bias.assign_add([0.3])


def adapted(model):
    model.layers[0].adapt(2 * X)


def attribute(model):
    model.layers[2].factor = 0.5


def in_a_dict(model):
    model.layers[2].factors["inner"][0] = 0.5


def in_an_array(model):
    model.layers[2].factors["inner"][1][:] = 0.5


def recompiled(model):
    model.compile("sgd", likelihoods.Normal(2.0))


def in_units(model):
    model.loss.adapt(3 * Y)


CHANGES = {
    "weights": (trained, 0),
    "one weight": (moved, 0),
    "constants": (adapted, 1),
    "attribute": (attribute, 1),
    "in a dict": (in_a_dict, 1),
    "in an array": (in_an_array, 1),
    "loss": (recompiled, 1),
    "loss in place": (in_units, 1),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_later_fit_is_that_of_a_new_model(name, model, count):
    change, compilations = CHANGES[name]
    before = fitted(model)
    count.clear()
    change(model)
    found = fitted(model)
    assert len(count) == compilations
    assert not np.allclose(found, before, rtol=1e-3)
    kept_with(model, "laplace").clear()
    np.testing.assert_allclose(found, fitted(model), rtol=1e-5)


@pytest.mark.parametrize(
    "how",
    [{"hessian": "empirical_fisher"}, {"structure": "kron"}, {"batch_size": 5}],
    ids=["hessian", "structure", "batch_size"],
)
def test_other_arguments_have_sums_of_their_own(how, model):
    fitted(model)
    found = fitted(model, **how)
    kept_with(model, "laplace").clear()
    np.testing.assert_allclose(found, fitted(model, **how), rtol=1e-5)


def test_models_are_not_kept_alive():
    model = network()
    fitted(model)
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None


def test_targets_of_one_column_for_each_class():
    model = keras.Sequential([keras.Input((3,)), L.Dense(3)])
    model.compile("sgd", likelihoods.Categorical())
    labels = np.arange(12) % 3
    found = [
        tfpbnn.laplace(
            model, X, y, prior_precision=1.0
        ).log_marginal_likelihood()
        for y in (labels, labels[:, np.newaxis], np.eye(3)[labels])
    ]
    np.testing.assert_allclose(found, found[0], rtol=1e-6)
