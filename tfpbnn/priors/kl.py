"""Computes the KL of a posterior to its prior, for any pair of them."""

import numpy as np
import tensorflow as tf

from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Tensor
from tfpbnn.families import Family
from tfpbnn.families.base import NORMAL_ENTROPY
from tfpbnn.priors import Prior

# How many values of a weight stand for its Normal in numerical integrals.
_NODES, _AT_ONCE = 128, 16


def kl_divergence(
    posterior: Family,
    prior: Prior,
    key: Tensor,
    of_weights: Tensor | None = None,
) -> Tensor:
    """Computes `KL(posterior || prior)` in nats, a float32 scalar.

    The KL is the cross entropy, exact if the prior knows it, minus the entropy,
    exact if the posterior knows it. If the cross entropy is unknown, it is
    TFP's registered form, or else estimated from draws. For a `PointEstimate`,
    whose entropy counts as zero, it is the negative log density of the prior.
    If the prior's own parameters have a posterior, their KL is added.

    Args:
        posterior: a built family.
        prior: a prior built for the same shape.
        key: the key of the draw, if one is needed.
        of_weights: the KL of the weights, if it is known already.
    """
    normal = prior.one_scale_normal()
    kl = of_weights
    if kl is None and normal is not None:
        kl = posterior.kl_to_normal(*normal)
    if kl is None:
        kl = _kl_of_weights(posterior, prior, key)
    extra = prior.extra_divergence()
    return kl if extra is None else kl + tf.cast(extra, tf.float32)


def _kl_of_weights(posterior: Family, prior: Prior, key: Tensor) -> Tensor:
    divergence = prior.divergence(posterior)
    if divergence is not None:
        return tf.cast(divergence, tf.float32)
    cross_entropy = prior.cross_entropy(posterior)
    if cross_entropy is not None:
        negative = _negative_entropy(posterior, key)
        return tf.cast(cross_entropy, tf.float32) + negative
    try:
        kl = tfp.distributions.kl_divergence(
            posterior.distribution(), prior.distribution()
        )
    except NotImplementedError:
        return monte_carlo_kl(posterior, prior, key)
    return tf.cast(kl, tf.float32)


def _negative_entropy(posterior: Family, key: Tensor) -> Tensor:
    try:
        return -tf.cast(posterior.entropy(), tf.float32)
    except NotImplementedError:
        log_prob = posterior.distribution().log_prob(posterior.sample(key))
        return tf.cast(log_prob, tf.float32)


def monte_carlo_kl(posterior: Family, prior: Prior, key: Tensor) -> Tensor:
    """Estimates the KL of the weights without bias, from one draw of noise.

    The cross entropy is the mean over `loc + noise` and, if that is as likely,
    `loc - noise`, so that odd terms cancel.
    """
    loc, noise = tf.convert_to_tensor(posterior.loc), posterior.noise(key)
    signs = [1, -1] if posterior.is_normal or posterior.sign_symmetric else [1]
    log_prob = prior.distribution().log_prob
    densities = [
        tf.cast(log_prob(loc + sign * noise), tf.float32) for sign in signs
    ]
    negative_entropy = _negative_entropy(posterior, key)
    return negative_entropy - tf.add_n(densities) / len(densities)


def kl_by_weight(
    posterior: Family, prior: Prior, *, integrate: bool = True
) -> Tensor | None:
    """Computes what each weight adds to the KL, in nats, in the weights' shape.

    It is exact wherever the prior's cross entropy is; else, as for Student's t,
    each weight's is a numerical integral. The KL of the prior's own
    posteriors, which weights share, is not part of it.

    Args:
        posterior: a built family.
        prior: a prior built for the same shape.
        integrate: whether to take numerical integrals, which cost a hundred
            passes over the weights; else the KL is None.

    Returns:
        None if the KL is no sum over weights: the weights are not independent
        Normals, or the prior's distribution is not one of independent weights.
    """
    if not (posterior.independent_normal and posterior.is_random):
        return None
    try:
        loc, variance = posterior.loc_and_variance()
    except NotImplementedError:
        return None
    divergences = prior.divergences(posterior)
    if divergences is not None:
        return divergences
    if prior.divergence(posterior) is not None:
        return None  # a user's own, of which only the whole is known
    log_sd = 0.5 * tf.math.log(variance)
    cross_entropies = prior.cross_entropies(posterior)
    whole = prior.cross_entropy(posterior)
    if cross_entropies is None and whole is None and integrate:
        cross_entropies = _integrated(prior, loc, tf.exp(log_sd))
    if cross_entropies is None:
        return None
    if whole is not None and not _are_close(cross_entropies, whole):
        return None  # a subclass has changed the whole alone
    return cross_entropies - log_sd - NORMAL_ENTROPY


def _are_close(parts: Tensor, whole: Tensor) -> bool:
    size = float(tf.reduce_sum(tf.abs(parts)))
    # NaN is no sign of another function.
    return not abs(float(tf.reduce_sum(parts) - whole)) > 1e-3 * (1 + size)


def _integrated(prior: Prior, loc: Tensor, sd: Tensor) -> Tensor | None:
    """Averages `-log p(w)` over quantiles of each weight's Normal."""
    # The distribution of one weight, or those of all: `Sample`, `Independent`.
    each = getattr(prior.distribution(), "distribution", None)
    if each is None or tf.TensorShape(each.event_shape).rank != 0:
        return None
    shape = tf.broadcast_static_shape(each.batch_shape, loc.shape)
    if shape != loc.shape:
        return None
    levels = (np.arange(_NODES) + 0.5) / _NODES
    nodes = tf.math.ndtri(tf.constant(levels, loc.dtype))
    # With the variance of what they stand for.
    nodes = nodes / tf.sqrt(tf.reduce_mean(tf.square(nodes)))
    steps = tf.reshape(nodes, [-1, _AT_ONCE, *[1] * len(loc.shape)])
    sums = [tf.reduce_sum(each.log_prob(loc + sd * z), 0) for z in steps]
    return -tf.add_n(sums) / _NODES
