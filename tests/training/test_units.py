"""`fit` says when targets are in units that the loss does not know."""

import warnings

import keras
import numpy as np
import pytest

import tfpbnn
from tfpbnn import ensembles, likelihoods

rng = np.random.default_rng(0)
X = rng.standard_normal((32, 3)).astype("float32")
Z = X[:, :1] + 0.1 * rng.standard_normal((32, 1))
Z = (Z - Z.mean()) / Z.std()
Y = 36 + 17 * Z


def network(loss, cls=tfpbnn.Sequential, **kwargs):
    made = cls(
        [keras.Input((3,)), keras.layers.Dense(2, kernel_initializer="zeros")]
    )
    made.compile("sgd", loss, **kwargs)
    return made


def ensemble(loss):
    made = ensembles.DeepEnsemble(network("mse"), 2)
    made.compile("sgd", loss)
    return made


def said(model, y=Y, **kwargs):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y, verbose=0, **kwargs)
    texts = [str(warning.message) for warning in caught]
    return [text for text in texts if "units" in text]


@pytest.mark.parametrize("make", [network, ensemble])
def test_once_for_a_model_with_mean_deviation_and_fix(make):
    model = make(likelihoods.Normal())
    (text,) = said(model)
    assert "mean of 36 and a standard deviation of 17" in text
    assert "tfpbnn.likelihoods.Normal(...).adapt(y_train)" in text
    assert not said(model)


@pytest.mark.parametrize(
    ("y", "far"),
    [
        (Z, False),
        (3 + 2 * Z, False),
        (0.1 * Z, False),
        (10 + Z, True),
        (10 * Z, True),
        (0.01 * Z, True),
        (Z.astype("float32")[:, 0] + 50, True),
    ],
)
def test_what_is_far(y, far):
    assert bool(said(network(likelihoods.StudentT()), y)) == far


def test_adapted_and_unknown_losses_are_not_spoken_of():
    assert not said(network(likelihoods.Normal().adapt(Y)))
    assert not said(network("mse"), 36 + Z)
    assert not said(network(likelihoods.Poisson()), np.full((32, 2), 99))


def test_metrics_that_compare_other_units():
    (text,) = said(network(likelihoods.Normal().adapt(Y), metrics=["mse"]))
    assert "standardized units" in text
    assert "tfpbnn.evaluate" in text


def test_outputs_by_name():
    inputs = keras.Input((3,))
    made = tfpbnn.Model(
        inputs,
        {name: keras.layers.Dense(2, name=name)(inputs) for name in ("a", "b")},
    )
    losses = {"a": likelihoods.Normal().adapt(Y), "b": likelihoods.Normal()}
    made.compile("sgd", losses)
    with pytest.warns(
        UserWarning, match="output `b` have a mean of 36"
    ) as all_:
        made.fit(X, {"a": Y, "b": Y}, verbose=0)
    assert len(all_) == 1
    assert "`a`" not in str(all_[0].message)
