"""What the tests of attention layers share."""

import keras
import numpy as np

from tests.layers.table import ESTIMATORS, normal
from tfpbnn import families, layers

RNG = np.random.default_rng(0)
B, T, S = 3, 5, 4
MHA = {"num_heads": 2, "key_dim": 3}
GQA = {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2}
OPS = {"MultiHeadAttention": MHA, "GroupQueryAttention": GQA}
EVERY = [(op, estimator) for op in OPS for estimator in ESTIMATORS]
# For what estimators and layers do independently.
SOME = list(zip((*OPS, "MultiHeadAttention"), ESTIMATORS, strict=True))
PARTS = ("query", "key", "value", "gate", "output")


def booleans(*shape):
    """Of which none forbids all."""
    mask = RNG.uniform(size=shape) < 0.6
    mask[..., 0] = True
    return mask


def make(op, estimator, **kwargs):
    """The layer with a valid minimum of arguments, and these."""
    return getattr(layers, op + estimator)(**OPS[op] | kwargs)


def scale_of(scale):
    raw = float(np.log(np.expm1(scale))) if scale else -40.0
    return families.MeanFieldNormal(
        untransformed_scale_initializer=keras.initializers.Constant(raw)
    )


def projections(layer):
    """By their attributes, which are those of Keras's layer."""
    found = {part: getattr(layer, f"{part}_dense", None) for part in PARTS}
    return {part: layer for part, layer in found.items() if layer is not None}


def set_weights_of(layer, plain):
    for part, ours in projections(layer).items():
        theirs = getattr(plain, f"_{part}_dense")
        ours.kernel_posterior.loc.assign(theirs.kernel)
        if ours.use_bias:
            ours.bias_posterior.loc.assign(theirs.bias)


Q, V, K = normal(B, T, 6), normal(B, S, 4), normal(B, S, 7)
Q4, V4 = normal(2, 3, 4, 5), normal(2, 3, 2, 5)
