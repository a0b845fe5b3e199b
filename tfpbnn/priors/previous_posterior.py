"""Defines priors that are the posteriors of earlier data."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base import positive, registry
from tfpbnn.base.types import Config, Identifier, Tensor
from tfpbnn.families import Family, FullCovarianceNormal, MeanFieldNormal
from tfpbnn.priors.base import Prior, normal_cross_entropies
from tfpbnn.priors.normal import NormalPrior


@registry.register("priors")
class PreviousPosterior(Prior):
    """What was learned of the weights from earlier data.

    It holds a posterior with variables that are never trained, and are saved
    with the model. `tfpbnn.update_prior` makes it of the posterior of a model;
    before, it is a posterior of the same family as the layer's, at its initial
    values.

    Args:
        anchor: the prior before any data, to which forgetting leads back; None
            if it is no Normal of given scales, so that nothing can be
            forgotten.

    Attributes:
        family: the frozen posterior, once built.

    Example:
    ```python
    model.fit(x[:16], y[:16], verbose=0)    # Monday
    model = tfpbnn.update_prior(model)  # whose priors are PreviousPosterior
    ```

    Reference:
        [Nguyen et al., 2018](https://arxiv.org/abs/1710.10628)
    """

    def __init__(self, anchor: Identifier = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.anchor = registry.get(anchor, Prior, {}, "anchor")
        self.family: Any = None
        self._like: Callable[[], Family | None] = lambda: None

    def build_for(self, posterior: Family) -> None:
        # Not as an attribute: Keras would count it among this layer's parts.
        self._like = lambda: posterior
        super().build_for(posterior)

    def build(self, shape: Any) -> None:
        super().build(shape)
        like = self._like()
        kind = MeanFieldNormal()
        if like is not None and not like.independent_normal:
            # Else one class serves all of them: forgetting leaves the others.
            kind = like
        plain = {
            name: None
            for name in kind.get_config()
            if name.endswith(("_regularizer", "_constraint"))
        }
        self.family = kind.copy(
            name="previous", dtype=self.dtype_policy, **plain
        )
        self.family.is_frozen = True
        self.family.build(shape)
        if self.anchor is not None:
            self.anchor = self.anchor.copy(
                name="anchor", dtype=self.dtype_policy
            )
            self.anchor.is_frozen = True
            self.anchor.build(shape)

    def remember(
        self, posterior: Family, prior: Prior, forgetting: float
    ) -> None:
        """Sets the variables to those of a posterior, which may be tempered.

        Args:
            posterior: the posterior of the weights, built.
            prior: the prior that it was learned under.
            forgetting: the share of its information that stays, up to 1.

        Raises:
            ValueError: if this family of posteriors can't forget, or has no
                density; or if the prior before any data is unknown.
        """
        check_density(posterior)
        own = anchor_of(prior)
        if self.anchor is not None and own is not None:
            self.anchor.set_weights(own.get_weights())
        if forgetting < 1:
            self._forget(posterior, forgetting)
        elif self.family.independent_normal:
            self._set(posterior.loc, posterior.scale)
        else:
            self.family.loc.assign(posterior.loc)
            rest = (_but_loc(one) for one in (self.family, posterior))
            for ours, theirs in zip(*rest, strict=True):
                ours.assign(theirs)

    def _forget(self, posterior: Family, forgetting: float) -> None:
        """Takes `q^forgetting p^(1 - forgetting)`, with the first prior p."""
        if self.anchor is None:
            raise ValueError(
                "`forgetting` must be 1 for weights of which the first prior "
                "is no Normal of given scales, since forgetting leads back to "
                f"it. Received: forgetting={forgetting}"
            )
        wide = tf.float64
        loc = tf.cast(posterior.loc, wide)
        anchor = tf.cast(self.anchor.loc, wide) + tf.zeros_like(loc)
        left = (1 - forgetting) / tf.square(tf.cast(self.anchor.scale, wide))
        left = left + tf.zeros_like(loc)
        if self.family.independent_normal:
            kept = forgetting / tf.square(tf.cast(posterior.scale, wide))
            mean = (kept * loc + left * anchor) / (kept + left)
            self._set(mean, tf.math.rsqrt(kept + left))
        elif isinstance(posterior, FullCovarianceNormal):
            factor = tf.cast(posterior.factor.matrix(), wide)
            root = tf.linalg.inv(factor)
            kept = forgetting * tf.matmul(root, root, transpose_a=True)
            left, flat = tf.reshape(left, [-1]), tf.reshape(loc, [-1, 1])
            away = left[:, tf.newaxis] * tf.reshape(anchor, [-1, 1])
            covariance = tf.linalg.inv(kept + tf.linalg.diag(left))
            mean = tf.matmul(covariance, tf.matmul(kept, flat) + away)
            self.family.loc.assign(tf.reshape(mean, loc.shape))
            self.family.factor.assign(tf.linalg.cholesky(covariance))
        else:
            raise ValueError(
                "`forgetting` must be 1 for posteriors that are neither "
                "independent Normals nor FullCovarianceNormal: what is half "
                "forgotten would be of another family. Received: "
                f"forgetting={forgetting}, for a {type(posterior).__name__}"
            )

    def _set(self, loc: Any, scale: Any) -> None:
        self.family.loc.assign(loc)
        # Of pruned weights only the floor is left.
        above = tf.cast(scale, tf.float64) - positive.SCALE_FLOOR
        raw = positive.untransformed(tf.maximum(above, 1e-30))
        self.family.untransformed_scale.assign(raw)

    @property
    def loc(self) -> Tensor:
        """The location of the previous posterior."""
        return tf.convert_to_tensor(self.family.loc)

    def distribution(self) -> Any:
        return self.family.distribution()

    def cross_entropies(self, posterior: Family) -> Tensor | None:
        if not self.family.independent_normal:
            return None
        scale = self.family.scale
        return normal_cross_entropies(
            posterior, self.loc, tf.math.log(scale), 1 / tf.square(scale)
        )

    def get_config(self) -> Config:
        anchor = None if self.anchor is None else self.anchor.serialize()
        return super().get_config() | {"anchor": anchor}


def anchor_of(prior: Prior) -> NormalPrior | None:
    """Finds the prior before any data; None if it is not of given Normals."""
    if isinstance(prior, PreviousPosterior):
        return prior.anchor
    is_given = isinstance(prior, NormalPrior) and not getattr(
        prior, "learnable_scale", False
    )
    return prior if is_given else None


def check_density(posterior: Family) -> None:
    """Raises unless a posterior has a density, as a prior needs one.

    Raises:
        ValueError: if it is a point, or of separate points.
    """
    half: Any = None
    if posterior.is_random:
        # Between two points there is nothing, between two draws there is.
        noise = posterior.noise(random.as_key(0))
        loc = tf.convert_to_tensor(posterior.loc)
        half = posterior.distribution().log_prob(loc + 0.5 * noise)
    if half is None or not np.isfinite(half):
        raise ValueError(
            "`model` must have posteriors with a density over all weights "
            "that have a prior, to be the prior of what comes next. Received: "
            f"{posterior.path}, a {type(posterior).__name__}. Give these "
            'weights a posterior such as "mean_field_normal", or the prior None'
        )


def _but_loc(family: Any) -> list[Any]:
    return [v for v in family.variables if v is not family.loc]
