"""What the outputs of layers are distributed like, against NumPy loops.

An operation with one kernel is a matrix M that depends on the input: outputs
have mean `M loc` and covariance `M diag(scale^2) M'`. Of the covariance an
estimator keeps what is between outputs that share its noise.
"""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import reference
from tests.layers.table import CASES, ESTIMATORS
from tests.statistics import assert_covariance, assert_moments
from tfpbnn import families, random

DRAWS = 18_000
WIDE = families.MeanFieldNormal(
    loc_initializer=keras.initializers.RandomNormal(stddev=1.0),
    untransformed_scale_initializer=keras.initializers.RandomUniform(-2, 1),
)


def make(case):
    """A layer of each estimator, with the same weights; and an input."""
    posteriors = {}
    for name in case.cls("Flipout")(**case.kwargs)._weight_names:
        posteriors[f"{name}_posterior"] = WIDE
    layers = [case.cls(e)(**case.kwargs, **posteriors) for e in ESTIMATORS]
    x = np.array(case.x)
    x[1] = x[0]
    for layer in layers:
        layer.build(x.shape)
        layer.set_weights(layers[0].get_weights())
    return layers, x


def one(layers, x, i):
    """Outputs in training, and of the last layer in a scope."""
    with random.draw_scope(random.fold(random.as_key(0), i)):
        scoped = layers[-1](x)
    return [*(layer(x, training=True) for layer in layers), scoped]


def restart(layers):
    for layer in layers:
        layer.noise_state.assign([3, 0])


def draw(layers, x, count):
    """Outputs `[S, B * P]` of `one` in a loop under XLA."""

    @tf.function(autograph=False, jit_compile=True)
    def run():
        signature = [tf.float32] * (len(layers) + 1)
        each = functools.partial(one, layers, x)
        return tf.map_fn(each, tf.range(count), fn_output_signature=signature)

    restart(layers)
    return [y.numpy().reshape(count, -1) for y in run()]


def shared(estimator, batch, outputs):
    """1 for pairs of outputs `[B * P, B * P]` that meet the same noise."""
    return {
        "Reparameterization": np.ones([batch * outputs] * 2),
        "LocalReparameterization": np.eye(batch * outputs),
        "Flipout": np.kron(np.eye(batch), np.ones((outputs, outputs))),
    }[estimator]


def one_kernel(case, layer, x):
    """Mean and covariance of the outputs under one draw for all."""
    kernel, *bias = (
        getattr(layer, f"{name}_posterior") for name in layer._weight_names
    )
    matrix = reference.matrix(case.apply, x, kernel.loc.shape)
    parts = [(matrix, kernel)]
    outputs = matrix.shape[: -len(kernel.loc.shape)]

    def add(_, b):
        return np.broadcast_to(b, outputs)

    if layer.use_bias:
        added = reference.matrix(add, x, bias[0].loc.shape)
        parts.append((added, bias[0]))
    mean, covariance = 0.0, 0.0
    for matrix, posterior in parts:
        loc, scale = (np.ravel(v) for v in (posterior.loc, posterior.scale))
        matrix = matrix.reshape(-1, loc.size)
        mean += matrix @ loc
        covariance += (matrix * scale**2) @ matrix.T
    return mean, covariance


def separable(layer, x, estimator, padding):
    """Those of two kernels in a row, under an estimator's sharing."""
    depthwise, pointwise, bias = (
        getattr(layer, f"{name}_posterior") for name in layer._weight_names
    )
    rank = x.ndim - 2
    matrix = reference.matrix(
        lambda x, k: reference.depthwise_conv(x, k, (1,) * rank, padding),
        x,
        depthwise.loc.shape,
    )
    channels, filters = pointwise.loc.shape[-2:]
    matrix = matrix.reshape(-1, channels, np.size(depthwise.loc))
    rows = len(matrix)  # examples x positions
    shares = shared(estimator, len(x), rows // len(x))
    inner = matrix @ np.ravel(depthwise.loc)
    variance = np.ravel(depthwise.scale) ** 2
    between = np.einsum("rck,qck,k->rqc", matrix, matrix, variance)
    between *= shares[..., None]
    loc = np.reshape(pointwise.loc, (channels, filters))
    variance = np.reshape(pointwise.scale, (channels, filters)) ** 2
    covariance = np.einsum("rqc,cf,cg->rfqg", between, loc, loc)
    second = between + np.einsum("rc,qc->rqc", inner, inner)
    own = second @ variance + np.square(bias.scale)
    own *= shares[..., None]
    covariance += np.einsum("rqf,fg->rfqg", own, np.eye(filters))
    mean = (inner @ loc + bias.loc.numpy()).ravel()
    return mean, covariance.reshape(mean.size, mean.size)


@pytest.mark.parametrize("case", [c for c in CASES if c.apply], ids=str)
def test_moments(case):
    layers, x = make(case)
    mean, covariance = one_kernel(case, layers[0], x)
    sd = np.sqrt(np.diag(covariance))
    found = draw(layers, x, DRAWS)
    for estimator, y in zip(
        (*ESTIMATORS, "Reparameterization"), found, strict=True
    ):
        assert_moments(y, mean, sd)
        shares = shared(estimator, len(x), mean.size // len(x))
        assert_covariance(y, mean, covariance * shares)
    check_modes(layers, x, found)


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.op.startswith("Separable")], ids=str
)
def test_separable_moments(case):
    layers, x = make(case)
    found = draw(layers, x, 2 * DRAWS)
    for estimator, y in zip(
        (*ESTIMATORS, "Reparameterization"), found, strict=True
    ):
        padding = case.kwargs.get("padding", "valid")
        assert_covariance(y, *separable(layers[0], x, estimator, padding))
    check_modes(layers, x, found)


def check_modes(layers, x, found):
    """Without XLA they are the same draws, and in a scope of any estimator."""
    restart(layers)
    for number in range(2):
        outputs = one(layers, x, number)
        for a, b in zip(outputs, found, strict=True):
            np.testing.assert_allclose(
                np.ravel(a), b[number], rtol=1e-4, atol=1e-4
            )
    for layer in layers[:-1]:
        with random.draw_scope(random.fold(random.as_key(0), 0)):
            y = np.ravel(layer(x))
        np.testing.assert_allclose(y, found[-1][0], rtol=1e-4, atol=1e-4)
