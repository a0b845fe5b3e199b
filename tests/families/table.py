"""Every posterior family away from its start, and its covariance in NumPy."""

import keras
import numpy as np
import tensorflow as tf

from tfpbnn import families, random

SHAPE = (2, 1, 3)
FAMILIES = {
    "mean_field": families.MeanFieldNormal(),
    "low_rank": families.LowRankNormal(rank=2),
    "ktied": families.KTiedNormal(rank=2),
    "full": families.FullCovarianceNormal(),
    "matrix": families.MatrixNormal(),
    "radial": families.Radial(),
    "squared_scale": families.SquaredScaleNormal(),
    "point": families.PointEstimate(),
}
NORMAL = [name for name in FAMILIES if name not in ("radial", "point")]


def built(name, shape=SHAPE, dtype="float32"):
    """A family with nothing near its start."""
    family = FAMILIES[name].copy(name="q", dtype=dtype)
    family.build(shape)
    rng = np.random.default_rng(1)
    for variable in family.trainable_variables:
        shift = 0.5 * rng.normal(size=variable.shape)
        variable.assign(keras.ops.convert_to_numpy(variable) + shift)
    return family


def noises(family, count):
    @tf.function(autograph=False)
    def run():
        return tf.map_fn(
            lambda i: family.noise(random.fold(random.as_key(3), i)),
            tf.range(count),
            fn_output_signature=family.parameter_dtype,
        )

    return run().numpy()


def softplus(variable):
    return np.logaddexp(0, np.asarray(variable, "float64"))


def triangular(factor):
    """A packed factor as TFP's `fill_triangular` unpacks it."""
    scale, size = softplus(factor._untransformed_scale), factor.size
    lower = np.eye(size)
    if factor._lower is not None:
        n, packed = size - 1, np.asarray(factor._lower, "float64")
        block = np.concatenate([packed[n:], packed[::-1]]).reshape(n, n)
        lower[1:, :-1] += np.tril(block)
    return scale[:, None] * lower


def covariance(name, family):
    """In NumPy, from the variables; of the flattened weights."""
    size = np.prod(SHAPE)
    if name == "point":
        return np.zeros((size, size))
    if name == "full":
        factor = triangular(family.factor)
        return factor @ factor.T
    if name == "matrix":
        rows, columns = triangular(family.rows), triangular(family.columns)
        return np.kron(rows @ rows.T, columns @ columns.T)
    if name == "squared_scale":
        scale = np.asarray(family.root_scale, "float64") ** 2 + 1.1920929e-7
        return np.diag(scale.ravel() ** 2)
    if name == "ktied":
        scale = softplus(family.untransformed_rows) @ softplus(
            family.untransformed_columns
        )
        return np.diag(scale.ravel() ** 2)
    result = np.diag(softplus(family.untransformed_scale).ravel() ** 2)
    if name == "radial":
        result /= size
    if name == "low_rank":
        factor = np.asarray(family.factor).reshape(size, -1)
        result += factor @ factor.T
    return result
