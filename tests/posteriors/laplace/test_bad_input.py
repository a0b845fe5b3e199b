"""What can't be done is said before anything is computed."""

import keras
import numpy as np
import pytest

import tfpbnn
from tfpbnn import likelihoods

L = keras.layers
X, Y = np.ones((6, 3), "float32"), np.arange(6) % 2


def network(*layers, loss=None, units=2):
    model = keras.Sequential(
        [keras.Input((3,)), L.Dense(3), *layers, L.Dense(units, name="head")]
    )
    model.compile("sgd", loss or likelihoods.Categorical())
    return model


def frozen():
    model = network()
    model.layers[0].trainable = False
    return model


def not_finite():
    model = network()
    model.layers[0].bias.assign([np.nan] * 3)
    return model


class Joined(L.Layer):
    """Mixes rows."""

    def call(self, x):
        return x + keras.ops.sum(x, axis=0)


def unused():
    x = keras.Input((3,))
    model = keras.Model(x, [L.Dense(2)(x), L.Dense(1, name="unused")(x)])
    model.compile("sgd", [likelihoods.Categorical(), None])
    return model


CASES = {
    "rows": (lambda: network(Joined()), {"subset": "all"}, "that row alone"),
    "no gradient": (unused, {"subset": "all"}, "none does.*give their output"),
    "structure": (network, {"structure": "banded"}, "`structure` must be one"),
    "hessian": (network, {"hessian": "exact"}, "`hessian` must be one"),
    "link": (network, {"link": "mean"}, "`link` must be one"),
    "prior": (network, {"prior_precision": 0.0}, "`prior_precision` must be a"),
    "way": (
        network,
        {"prior_precision": "best"},
        "`prior_precision` must be o",
    ),
    "grid": (network, {"prior_precision": "grid"}, "`validation_data` must be"),
    "no such name": (network, {"subset": ["tail"]}, "none of .*head/kernel"),
    "nothing": (network, {"subset": lambda _: False}, "`subset` must match"),
    "frozen": (frozen, {"subset": lambda _: False}, "don't train: unfreeze"),
    "type": (network, {"subset": 3}, "`subset` must be 'last_layer'"),
    "no likelihood": (
        lambda: network(loss="cosine_similarity"),
        {},
        "`loss` must be a likelihood",
    ),
    "batch norm": (
        lambda: network(L.BatchNormalization()),
        {"subset": "all"},
        "before BatchNormalization.*last_layer",
    ),
    "random": (
        lambda: network(tfpbnn.layers.DenseFlipout(3)),
        {},
        "layers that are random",
    ),
    "probit of numbers": (
        lambda: network(loss=likelihoods.Normal()),
        {"link": "probit"},
        "logits of classes",
    ),
    "no fisher": (
        lambda: network(loss=likelihoods.NegativeBinomial()),
        {"hessian": "fisher"},
        "no closed form",
    ),
    "not positive": (
        lambda: network(loss=likelihoods.MixtureNormal(2), units=6),
        {},
        "empirical_fisher",
    ),
    "not finite": (not_finite, {}, "must have finite outputs"),
    "no weight": (network, {"sample_weight": np.zeros(6)}, "place that counts"),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_bad_input(name):
    build, how, message = CASES[name]
    error = TypeError if name == "type" else ValueError
    with pytest.raises(error, match=message):
        tfpbnn.laplace(build(), X, Y, **how)


def test_full_structures_say_what_they_need():
    model = network(L.Dense(3000), L.Dense(3000))
    with pytest.raises(ValueError, match=r"needs .* GiB"):
        tfpbnn.laplace(model, X, Y, "all", "full")


def test_other_weights_than_before_batch_norm_are_fine():
    model = network(L.BatchNormalization())
    posterior = tfpbnn.laplace(model, X, Y)
    assert np.isfinite(posterior.log_marginal_likelihood())


def test_a_row_alone_is_enough():
    posterior = tfpbnn.laplace(network(), X[:1], Y[:1])
    found = tfpbnn.predict(posterior, X[:1], 3, verbose=0)
    assert found.outputs.shape == (3, 1, 2)
