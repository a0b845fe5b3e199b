import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfpbnn.base import positive

# From what softplus rounds to itself, to what it leaves as it is.
SCALES = np.geomspace(1e-30, 1e6, 73).astype("float32")


def test_untransformed_is_the_inverse_of_softplus():
    found = positive.untransformed(SCALES)
    exact = np.float64(SCALES) + np.log(-np.expm1(-np.float64(SCALES)))
    np.testing.assert_allclose(found, exact, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(tf.math.softplus(found), SCALES, rtol=1e-5)


def test_untransformed_is_as_exact_as_that_of_tfp():
    found = positive.untransformed(SCALES)
    expected = tfp.math.softplus_inverse(SCALES)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
