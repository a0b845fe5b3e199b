"""Variational models back to plain ones; frozen scales."""

import subprocess
import sys

import keras
import numpy as np
import pytest

import tfpbnn
from tfpbnn import random
from tfpbnn.base import registry
from tfpbnn.layers.kl import kl_terms
from tfpbnn.layers.linear.base import VariationalLayer

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 4)).astype("float32")

_LOAD = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tfpbnn", "tensorflow_probability"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
import keras, numpy as np
model = keras.saving.load_model(sys.argv[1] + "/plain.keras")
x = np.load(sys.argv[1] + "/x.npy")
np.save(sys.argv[1] + "/y.npy", model(x))
scores = model.evaluate(x, 0 * x[:, :1], verbose=0)
np.save(sys.argv[1] + "/scores.npy", scores)
assert not [name for name in sys.modules if name.startswith("tfpbnn")]
"""


def bayesian():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            tfpbnn.layers.DenseFlipout(8, activation="relu"),
            keras.layers.BatchNormalization(),
            tfpbnn.layers.DenseLocalReparameterization(
                3, bias_posterior="mean_field_normal", bias_prior="normal"
            ),
            tfpbnn.layers.HomoscedasticScale(0.5),
        ]
    )
    # Weights that no initializer gives; the statistics' variances positive.
    weights = [w + RNG.uniform(0.1, 0.5, w.shape) for w in model.get_weights()]
    model.set_weights(weights)
    return model


def test_it_is_the_mean_and_needs_no_tfpbnn(tmp_path):
    model = bayesian()
    model.compile("sgd", keras.losses.Huber(), metrics=["mse"])
    plain = tfpbnn.to_deterministic(model)
    assert type(plain) is keras.Sequential
    with random.draw_scope(None):
        expected = np.asarray(model(X, training=False))
    np.testing.assert_array_equal(plain(X), expected)
    plain.save(tmp_path / "plain.keras")
    np.save(tmp_path / "x.npy", X)
    command = [sys.executable, "-c", _LOAD, str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    found = np.load(tmp_path / "y.npy")
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
    size = np.abs(expected)
    scores = [np.where(size < 1, size**2 / 2, size - 0.5), size**2]
    np.testing.assert_allclose(
        np.load(tmp_path / "scores.npy"), np.mean(scores, (1, 2)), rtol=1e-5
    )


def own(y, outputs):
    return keras.ops.mean(y - outputs, axis=-1)


@keras.saving.register_keras_serializable("tests")
class Own(keras.losses.Loss):
    def call(self, y, outputs):
        return own(y, outputs)


@keras.saving.register_keras_serializable("tests")
class OwnAdam(keras.optimizers.Adam):
    """Loads with the tests only."""


@pytest.mark.parametrize(
    ("arguments", "is_compiled"),
    [
        ({"loss": "mse"}, True),
        ({"loss": keras.losses.mean_absolute_error}, True),
        (
            {
                "loss": ["mse"],
                "metrics": [[keras.metrics.RootMeanSquaredError()]],
            },
            True,
        ),
        ({"loss": tfpbnn.likelihoods.Normal()}, False),
        ({"loss": own}, False),
        ({"loss": Own()}, False),
        ({"loss": lambda y, outputs: own(y, outputs)}, False),
        ({"loss": "mse", "metrics": ["mae", own]}, False),
        ({"loss": "mse", "optimizer": OwnAdam()}, False),
    ],
)
def test_it_is_compiled_if_that_needs_keras_only(arguments, is_compiled):
    dense = tfpbnn.layers.DenseFlipout(2)
    model = keras.Sequential([keras.Input((4,)), dense])
    model.compile(**arguments)
    plain = tfpbnn.to_deterministic(model)
    assert plain.compiled == is_compiled
    if is_compiled:
        plain.fit(X, X[:, :2], verbose=0)
        assert plain.optimizer is not model.optimizer


@registry.register("convert")
class Unknown(VariationalLayer):
    """A variational layer that the mapping does not know."""

    def __init__(self, **kwargs):
        super().__init__({}, use_bias=False, **kwargs)

    def _weight_shapes(self, input_shape):
        return {}

    def _ops(self):
        return {}

    def call(self, inputs, training=None):
        return inputs


def test_a_layer_without_a_plain_counterpart_is_named():
    model = keras.Sequential([keras.Input((4,)), Unknown(name="odd")])
    with pytest.raises(ValueError, match=r"odd \(Unknown\)"):
        tfpbnn.to_deterministic(model)


def test_frozen_scales_stay_while_locs_train():
    model = bayesian()
    tfpbnn.freeze_scales(model)
    names = {v.path.split("/", 1)[1] for v in model.trainable_variables}
    assert not any("scale" in n and "posterior" in n for n in names)
    terms = kl_terms(model)
    assert len(terms) == 3  # two kernels, one bias: the KL stays
    model.compile("adam", tfpbnn.likelihoods.Normal())
    scales = [t.posterior.scale.numpy() for t in terms]
    locs = [t.posterior.loc.numpy().copy() for t in terms]
    model.fit(X, X[:, :3], verbose=0)
    for term, scale, loc in zip(terms, scales, locs, strict=True):
        np.testing.assert_array_equal(term.posterior.scale, scale)
        assert np.all(term.posterior.loc.numpy() != loc)
    model.trainable = False
    model.trainable = True
    assert len(model.trainable_variables) == len(names) + 3


def test_freezing_what_has_no_scales():
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="`model` must be built and have post"):
        tfpbnn.freeze_scales(plain)
