"""Computes distributions of location 0 and scale 1 in closed forms.

They are cheaper than TFP's distribution functions, which take care not to lose
tails in float32; a mixture over draws needs millions of values.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tfpbnn.base.types import Tensor


class Standard(NamedTuple):
    """The closed forms of a distribution that is symmetric about 0.

    Attributes:
        centered: the probability below u, minus a half, as a function of u.
        pdf: the density at u.
        distance: the mean distance of draws from u.
        half_distance: half of the mean distance of two draws.
    """

    centered: Callable[[Tensor], Tensor]
    pdf: Callable[[Tensor], Tensor]
    distance: Callable[[Tensor], Tensor]
    half_distance: float


def _normal_centered(u: Tensor) -> Tensor:
    return 0.5 * tf.math.erf(math.sqrt(0.5) * u)


def _normal_pdf(u: Tensor) -> Tensor:
    return math.sqrt(0.5 / math.pi) * tf.exp(-0.5 * u * u)


def _normal_distance(u: Tensor) -> Tensor:
    return 2 * (u * _normal_centered(u) + _normal_pdf(u))


def _laplace_centered(u: Tensor) -> Tensor:
    return -0.5 * tf.sign(u) * tf.math.expm1(-tf.abs(u))


def _laplace_pdf(u: Tensor) -> Tensor:
    return 0.5 * tf.exp(-tf.abs(u))


def _laplace_distance(u: Tensor) -> Tensor:
    return tf.abs(u) + tf.exp(-tf.abs(u))


NORMAL = Standard(
    _normal_centered, _normal_pdf, _normal_distance, 1 / math.sqrt(math.pi)
)
LAPLACE = Standard(_laplace_centered, _laplace_pdf, _laplace_distance, 0.75)


@functools.cache
def student_t(df: int) -> Standard:
    """Makes the closed forms of Student's t with few, whole degrees of freedom.

    Reference:
        Abramowitz and Stegun, 1964, 26.7.3 and 26.7.4
    """
    is_odd = df % 2
    log_norm = math.lgamma((df + 1) / 2) - math.lgamma(df / 2)
    norm = math.exp(log_norm) / math.sqrt(df * math.pi)
    log_gap = _log_beta(df - 0.5) - 2 * _log_beta(0.5 * df)
    half_distance = 2 * math.sqrt(df) / (df - 1) * math.exp(log_gap)

    def centered(u: Tensor) -> Tensor:
        x = u / math.sqrt(df)
        square = 1 / (1 + x * x)  # of the cosine of the angle atan(x)
        term, total = tf.ones_like(u), tf.zeros_like(u)
        for i in range(is_odd, df - 1, 2):
            total += term
            term = term * square * ((i + 1) / (i + 2))
        sine = x * tf.sqrt(square)
        if is_odd:
            return (tf.atan(x) + sine * tf.sqrt(square) * total) / math.pi
        return 0.5 * sine * total

    def pdf(u: Tensor) -> Tensor:
        return norm * tf.pow(1 + u * u / df, -(df + 1) / 2)

    def distance(u: Tensor) -> Tensor:
        return 2 * (u * centered(u) + (df + u * u) / (df - 1) * pdf(u))

    return Standard(centered, pdf, distance, half_distance)


def _log_beta(b: float) -> float:
    """Computes the logarithm of the beta function of 1/2 and b."""
    return math.lgamma(0.5) + math.lgamma(b) - math.lgamma(b + 0.5)
