"""Says how curved each likelihood is in the model's outputs.

A curvature `[P, P]` of a place is given as its factor L `[P, C]`, with L L^T
the Fisher information of the outputs. To add a likelihood: a function in
`_FISHER`.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfpbnn.base.types import Tensor
from tfpbnn.likelihoods import (
    Bernoulli,
    Categorical,
    Laplace,
    Likelihood,
    Normal,
    Poisson,
    StudentT,
)


def has_fisher(likelihood: Likelihood) -> bool:
    """Says whether the Fisher information is known in closed form."""
    return _function(likelihood) is not None


def fisher_factor(likelihood: Likelihood, outputs: Tensor) -> Tensor:
    """Computes L `[..., P, C]` of outputs `[..., P]`: the Fisher is L L^T."""
    function = _function(likelihood)
    assert function is not None
    if likelihood.recalibration is None or not likelihood.is_classification:
        return function(likelihood, outputs)
    return _of_mapped_logits(likelihood, outputs)


def observed_factor(
    likelihood: Likelihood, outputs: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """Computes L of minus the Hessian of the log-likelihood at targets.

    Args:
        likelihood: of the targets.
        outputs: `[..., P]`.
        y: targets that fit.

    Returns:
        L `[..., P, P]`, and for each place the least eigenvalue as a share of
        the largest: where it is negative, there is no such L.
    """
    slopes, _ = _slopes(lambda z: score(likelihood, z, y), outputs)
    values, vectors = tf.linalg.eigh(-slopes)
    largest = tf.reduce_max(tf.abs(values), axis=-1)
    share = tf.math.divide_no_nan(values[..., 0], largest)
    return vectors * tf.sqrt(tf.maximum(values, 0))[..., None, :], share


def score(likelihood: Likelihood, outputs: Tensor, y: Tensor) -> Tensor:
    """Computes the gradient of the log-likelihood in outputs `[..., P]`."""
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        found = likelihood.log_prob(y, outputs)
    return tape.gradient(
        found, outputs, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )


def _slopes(
    function: Callable[[Tensor], Tensor], outputs: Tensor
) -> tuple[Tensor, Tensor]:
    """Computes the Jacobian `[..., M, P]` of a function, and its value."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(outputs)
        value = function(outputs)
        elements = tf.unstack(value, axis=-1)
    none = tf.UnconnectedGradients.ZERO
    rows = [
        tape.gradient(one, outputs, unconnected_gradients=none)
        for one in elements
    ]
    return tf.stack(rows, axis=-2), value


def _of_mapped_logits(likelihood: Any, outputs: Tensor) -> Tensor:
    """Computes L of labels whose logits a calibration maps, by the chain."""
    slopes, logits = _slopes(likelihood.calibrated_logits, outputs)
    of_logits = type(likelihood)(from_logits=True)
    factor = _FISHER[type(likelihood)](of_logits, logits)
    return tf.linalg.matmul(slopes, factor, transpose_a=True)


def _categorical(likelihood: Any, outputs: Tensor) -> Tensor:
    p = tf.exp(likelihood.log_probabilities(outputs))
    root = tf.sqrt(p)
    eye = tf.eye(outputs.shape[-1], dtype=outputs.dtype)
    if likelihood.from_logits:
        factor = root[..., None, :] * (eye - p[..., None])
    else:
        total = tf.reduce_sum(outputs, axis=-1)[..., None, None]
        factor = root[..., None, :] / total * (eye / p[..., None] - 1)
    return _without(factor, root)


def _without(factor: Tensor, null: Tensor) -> Tensor:
    """Makes a factor of one column less.

    Args:
        factor: L `[..., P, C]`, with L null = 0.
        null: `[..., C]`, of length 1 and not negative.
    """
    last = tf.one_hot(null.shape[-1] - 1, null.shape[-1], dtype=null.dtype)
    # The reflection that takes `null` to the last axis, which is left out.
    normal = null + last
    normal *= tf.math.rsqrt(1 + null[..., -1:])
    along = tf.linalg.matvec(factor, normal)
    return (factor - along[..., None] * normal[..., None, :])[..., :-1]


def _bernoulli(likelihood: Any, outputs: Tensor) -> Tensor:
    p = likelihood.marginals(outputs).probs_parameter()
    root = tf.sqrt(p * (1 - p))
    return tf.linalg.diag(root if likelihood.from_logits else 1 / root)


def _poisson(likelihood: Any, outputs: Tensor) -> Tensor:
    root = tf.sqrt(likelihood.marginals(outputs).rate_parameter())
    return tf.linalg.diag(root if likelihood.from_log_rate else 1 / root)


def _location_scale(
    of_loc: Callable[[Any], float], of_scale: Callable[[Any], float]
) -> Callable[[Any, Tensor], Tensor]:
    """Makes the factor of information `of_loc` and `of_scale` at scale 1."""

    def factor(likelihood: Any, outputs: Tensor) -> Tensor:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(outputs)
            found = likelihood.marginals(outputs)
            loc, scale = found.loc, found.scale + tf.zeros_like(found.loc)
        # Each output moves the location or the scale of one target.
        none = tf.UnconnectedGradients.ZERO
        by_loc = tape.gradient(loc, outputs, unconnected_gradients=none)
        by_scale = tape.gradient(scale, outputs, unconnected_gradients=none)
        times = outputs.shape[-1] // loc.shape[-1]
        scales = tf.concat([scale] * times, axis=-1)
        roots = of_loc(likelihood) ** 0.5 * by_loc
        roots += of_scale(likelihood) ** 0.5 * by_scale
        return tf.linalg.diag(roots / scales)

    return factor


_FISHER: dict[type, Callable[[Any, Tensor], Tensor]] = {
    Bernoulli: _bernoulli,
    Categorical: _categorical,
    Laplace: _location_scale(lambda _: 1.0, lambda _: 1.0),
    Normal: _location_scale(lambda _: 1.0, lambda _: 2.0),
    Poisson: _poisson,
    StudentT: _location_scale(
        lambda own: (own.df + 1) / (own.df + 3),
        lambda own: 2 * own.df / (own.df + 3),
    ),
}


def _function(likelihood: Likelihood) -> Any:
    if getattr(likelihood, "df", 1.0) is None:  # an output too
        return None
    return _FISHER.get(type(likelihood))
