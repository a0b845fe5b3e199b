import numpy as np
import pytest
import tensorflow as tf

from tfpbnn.layers.linear import ops


def dense_reference(x, kernel):
    y = np.zeros((*x.shape[:-1], kernel.shape[1]))
    for index in np.ndindex(*x.shape[:-1]):
        for i in range(kernel.shape[0]):
            y[index] += x[index][i] * kernel[i]
    return y


@pytest.mark.parametrize("shape", [(4, 3), (4, 5, 3), (2, 3, 4, 3)])
def test_dense(shape):
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=shape), rng.normal(size=(3, 2))
    op = ops.dense()
    np.testing.assert_allclose(
        op.apply(tf.constant(x), tf.constant(kernel)),
        dense_reference(x, kernel),
        rtol=1e-10,
    )
    np.testing.assert_allclose(
        op.squared(tf.constant(x), tf.constant(kernel**2)),
        dense_reference(x**2, kernel**2),
        rtol=1e-10,
    )


@pytest.mark.parametrize("axis", [-1, 1])
def test_bias(axis):
    rng = np.random.default_rng(1)
    x, b = rng.normal(size=(4, 3, 3)), rng.normal(size=3)
    op = ops.bias((axis,))
    expected = np.zeros_like(x)
    for i in range(3):
        np.moveaxis(expected, axis, -1)[..., i] = b[i]
    np.testing.assert_allclose(
        op.apply(tf.constant(x), tf.constant(b)), expected
    )
    # Its input only gives the shape: a variance goes through as it is.
    np.testing.assert_allclose(
        op.squared(tf.constant(x), tf.constant(b**2)), expected**2
    )


def test_variances_are_float32_at_least():
    x = tf.constant([[300.0, 300.0]], tf.float16)  # the square overflows
    variance = ops.dense().squared(x, tf.ones([2, 1], tf.float16))
    assert variance.dtype == tf.float32
    np.testing.assert_allclose(variance, [[180_000.0]])
