"""Computes the KL of a posterior to its prior, for any pair of them."""

import tensorflow as tf

from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Tensor
from tfpbnn.families import Family
from tfpbnn.priors import Prior


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
