"""Weights of edward2's layers, in the order in which it has them."""

import keras
import numpy as np
import pytest

import tfpbnn
from tfpbnn.convert import load_edward2_weights
from tfpbnn.layers import Conv2DFlipout, DenseReparameterization

RNG = np.random.default_rng(0)


def model():
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            Conv2DFlipout(2, 3, name="conv"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Flatten(),
            DenseReparameterization(
                3, bias_posterior="mean_field_normal", bias_prior="normal"
            ),
        ]
    )


# As `[w.shape for w in old.weights]` of edward2 0.0.2: a point bias before the
# kernel, a random one after it.
SHAPES = [
    *[(2,), (3, 3, 1, 2), (3, 3, 1, 2)],
    *[(2,)] * 4,
    *[(32, 3), (32, 3), (3,), (3,)],
]


def test_weights_go_where_they_belong():
    new = model()
    weights = [RNG.normal(size=shape) for shape in SHAPES]
    load_edward2_weights(new, weights)
    conv, norm, _, dense = new.layers
    found = [
        (conv.bias_posterior.loc, weights[0]),
        (conv.kernel_posterior.loc, weights[1]),
        (conv.kernel_posterior.scale, 1e-7 + np.log1p(np.exp(weights[2]))),
        (norm.gamma, weights[3]),
        (norm.moving_variance, weights[6]),
        (dense.kernel_posterior.loc, weights[7]),
        (dense.kernel_posterior.scale, 1e-7 + np.log1p(np.exp(weights[8]))),
        (dense.bias_posterior.loc, weights[9]),
        (dense.bias_posterior.scale, 1e-7 + np.log1p(np.exp(weights[10]))),
    ]
    for value, expected in found:
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


def test_other_weights_are_refused_and_nothing_is_set():
    new = model()
    before = new.get_weights()
    weights = [np.zeros(shape) for shape in SHAPES]
    with pytest.raises(ValueError, match=r"must have 11 arrays.*Received: 10"):
        load_edward2_weights(new, weights[:-1])
    weights[2] = np.zeros((3, 3, 2, 2))
    message = r"shape \(3, 3, 1, 2\) for conv/kernel/stddev.*\(3, 3, 2, 2\)"
    with pytest.raises(ValueError, match=message):
        load_edward2_weights(new, weights)
    for a, b in zip(before, new.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(TypeError, match=r"Functional or Sequential"):
        load_edward2_weights(tfpbnn.layers.DenseFlipout(2), weights)
