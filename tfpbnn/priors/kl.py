"""The KL divergence of a posterior to its prior, for any pair of them."""

from typing import TypeGuard

import tensorflow as tf

from tfpbnn import fused
from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Tensor
from tfpbnn.families import Family, MeanFieldNormal
from tfpbnn.priors import Prior
from tfpbnn.priors.normal import Normal, NormalPrior


def kl_divergence(posterior: Family, prior: Prior, key: Tensor) -> Tensor:
    """`KL(posterior || prior)` in nats, a float32 scalar.

    The cross entropy, exact if the prior knows it, less the entropy, exact if
    the posterior knows it; what neither does takes TFP's registered form, or
    else draws. For a `PointEstimate`, whose entropy counts as zero, it is the
    negative log density of the prior. Of a prior whose own parameters have a
    posterior, their KL is added.

    Args:
        posterior: a built family.
        prior: a prior built for the same shape.
        key: the key of the draw, if one is needed.
    """
    if _is_fusable(posterior, prior):
        kl = _fused_kl(posterior, prior)
    else:
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
    """An unbiased estimate of the KL of the weights, from one draw of noise.

    The cross entropy is the mean over `loc + noise` and, if those are as
    likely, `loc - noise`: odd terms cancel.
    """
    loc, noise = posterior.loc_and_noise(key)
    signs = [1, -1] if posterior.is_normal or posterior.sign_symmetric else [1]
    log_prob = prior.distribution().log_prob
    densities = [
        tf.cast(log_prob(loc + sign * noise), tf.float32) for sign in signs
    ]
    negative_entropy = _negative_entropy(posterior, key)
    return negative_entropy - tf.add_n(densities) / len(densities)


def _fused_kl(posterior: MeanFieldNormal, prior: NormalPrior) -> Tensor:
    """From the estimator's pass, if that has prepared it; else of its own."""
    loc = tf.convert_to_tensor(posterior.loc)
    kl = posterior.kept_kl.take()
    if kl is None or posterior.prior_precision is None:
        kl = fused.normal_kl(
            loc if is_about_zero(prior) else loc - prior.loc,
            tf.convert_to_tensor(posterior.untransformed_scale),
            1 / tf.square(prior.scale),
        )
    size = tf.cast(tf.size(loc), tf.float32)
    return kl + size * (tf.math.log(prior.scale) - 0.5)


def _is_fusable(posterior: Family, prior: Prior) -> bool:
    return (
        isinstance(posterior, MeanFieldNormal)
        and isinstance(prior, NormalPrior)
        and not prior.scale.shape.rank
        and fused.applies(tf.convert_to_tensor(posterior.untransformed_scale))
    )


def is_about_zero(prior: Prior) -> TypeGuard[Normal]:
    """Whether a prior is a Normal with mean zero, for all weights."""
    return isinstance(prior, Normal) and prior.initial_loc == 0
