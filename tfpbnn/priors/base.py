"""Defines what all priors share."""

import abc
import math
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from tfpbnn.base import checks, positive, template
from tfpbnn.base.types import Shape, Tensor
from tfpbnn.families import Family
from tfpbnn.priors.hyperpriors import Hyperprior

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class Prior(template.Template):
    """A prior distribution over one weight tensor."""

    def build(self, shape: Any) -> None:
        """Makes the variables, if any, for weights of `shape`."""
        self.weight_shape = tuple(shape)

    def build_for(self, posterior: Family) -> None:
        """Calls `build` for the weights of a built posterior."""
        self.build(posterior.loc.shape)

    @abc.abstractmethod
    def distribution(self) -> Any:
        """Makes the TFP distribution; its event is the whole weight tensor."""

    def cross_entropy(self, posterior: Family) -> Tensor | None:
        """Computes the mean of `-log p(w)` over a posterior; None if unknown.

        Where it is None, divergences estimate it from draws.
        """
        each = self.cross_entropies(posterior)
        return None if each is None else tf.reduce_sum(each)

    def cross_entropies(self, posterior: Family) -> Tensor | None:
        """Computes what each weight adds to the cross entropy, in their shape.

        It is None where `cross_entropy` is, or can't be split.
        """
        return None

    def divergence(self, posterior: Family) -> Tensor | None:
        """Computes the KL of a posterior, if known without a cross entropy.

        Improper priors have a KL up to a constant. Other priors return None,
        and the KL is computed from the cross entropy.
        """
        each = self.divergences(posterior)
        return None if each is None else tf.reduce_sum(each)

    def divergences(self, posterior: Family) -> Tensor | None:
        """Computes what each weight adds to `divergence`; else None."""
        return None

    def one_scale_normal(self) -> tuple[Tensor, Tensor] | None:
        """Returns means and scale of Normals with one scale; else None."""
        return None

    def scale_about_zero(self) -> float | None:
        """Returns the constant scale of Normals about zero; else None."""
        return None

    def hyperpriors(self) -> dict[str, tuple[Shape, Hyperprior]]:
        """The prior's scales that have priors of their own, by name.

        Returns:
            for each the shape, and the prior of each of its elements.
        """
        return {}

    def scale_given(self, log_scales: Mapping[str, Tensor]) -> Tensor:
        """The weights' standard deviations, given those scales.

        Args:
            log_scales: the logarithms of the scales, by name.
        """
        raise NotImplementedError

    def learned_scales(self) -> dict[str, tuple[Tensor, Tensor]]:
        """What was learned of those scales, by name.

        Returns:
            for each the mean and the standard deviation of its logarithm; 0 if
            it is a point.
        """
        return {}

    def extra_divergence(self) -> Tensor | None:
        """Computes the KL of the prior's own posteriors, in nats, or None."""
        return None

    def shared_divergence(self) -> Tensor | None:
        """Computes the part of `extra_divergence` that all members share.

        Weights of several members have these along their first axis; scales
        that do not differ along it are shared by all.
        """
        return self.extra_divergence()


def check_scale(name: str, scale: float | str) -> float | str:
    """Raises unless `scale` is a positive number or "he"."""
    if scale == "he":
        return "he"
    if isinstance(scale, str):
        raise ValueError(
            f'`{name}` must be a positive number or "he". Received: '
            f"{name}={scale!r}"
        )
    return checks.positive_number(name, scale)


def scale_for(scale: float | str, shape: Sequence[int]) -> float:
    """Converts a scale to a number: "he" is `sqrt(2 / fan_in)`."""
    return positive.he(shape) if isinstance(scale, str) else scale


def check_axis(axis: Any) -> int | tuple[int, ...] | None:
    """Raises unless `axis` is None, an integer or a sequence of them."""
    if axis is None or isinstance(axis, int):
        return axis
    if not all(isinstance(a, int) for a in axis):
        raise TypeError(
            "`axis` must be None, an integer or a sequence of integers. "
            f"Received: axis={axis!r}"
        )
    return tuple(axis)


def scales_shape(
    shape: Sequence[int], axis: int | tuple[int, ...] | None
) -> tuple[int, ...]:
    """Computes the shape of scales that differ along `axis`."""
    if axis is None:
        return ()
    axes = (axis,) if isinstance(axis, int) else axis
    rank = len(shape)
    if any(not -rank <= a < rank for a in axes):
        raise ValueError(
            f"`axis` must be axes of the weight. Received: axis={axis}, for a "
            f"weight of shape {tuple(shape)}"
        )
    kept = {a % rank for a in axes}
    return tuple(n if i in kept else 1 for i, n in enumerate(shape))


def normal_cross_entropies(
    posterior: Family, loc: Tensor, log_scale: Tensor, precision: Tensor
) -> Tensor | None:
    """Computes each weight's cross entropy to Normals with random scales.

    The scales are given by their expectations. It is exact for every posterior
    whose mean and variances are known, Normal or not; for others it is None.

    Args:
        posterior: a built family.
        loc: the means of the Normals.
        log_scale: the expectations of `log(scale)`.
        precision: the expectations of `scale ** -2`.
    """
    try:
        mean, variance = posterior.loc_and_variance()
    except NotImplementedError:
        return None
    squares = variance + tf.square(mean - loc)
    return 0.5 * precision * squares + log_scale + _HALF_LOG_2PI
