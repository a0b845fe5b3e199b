"""Computes distributions of location 0 and scale 1 in closed forms.

They are cheaper than TFP's distribution functions, which take care not to lose
tails in float32; a mixture over draws needs millions of values.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Tensor

# The u at which the series of the Normal is halfway from 0 to infinity.
_HALFWAY = 3.5


class Standard(NamedTuple):
    """The closed forms of a distribution that is symmetric about 0.

    Attributes:
        centered: the probability below u, minus a half, as a function of u.
        pdf: the density at u.
        slope: the derivative of the density at u.
        distance: the mean distance of draws from u.
        half_distance: half of the mean distance of two draws.
        quick: `centered` to 1e-11, in few steps that XLA can vectorize.
        is_heavy: whether tails are too heavy for sums over them in float32.
    """

    centered: Callable[[Tensor], Tensor]
    pdf: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    distance: Callable[[Tensor], Tensor]
    half_distance: float
    quick: Callable[[Tensor], Tensor]
    is_heavy: bool = False


def _normal_centered(u: Tensor) -> Tensor:
    return 0.5 * tf.math.erf(math.sqrt(0.5) * u)


def _normal_pdf(u: Tensor) -> Tensor:
    return math.sqrt(0.5 / math.pi) * tf.exp(-0.5 * u * u)


def _normal_slope(u: Tensor) -> Tensor:
    return -u * _normal_pdf(u)


def _normal_quick(u: Tensor) -> Tensor:
    # XLA's erf in float64 takes four times as long as this.
    w = _HALFWAY / (_HALFWAY + tf.abs(u))
    tail = tf.exp(-0.5 * u * u) * _series(_normal_beyond(), 2 * w - 1, 1e-12)
    return tf.sign(u) * (0.5 - tail)


@functools.cache
def _normal_beyond() -> list[float]:
    """Computes the Chebyshev series of P(> u) / exp(-u^2 / 2), in 2 w - 1."""
    t = np.polynomial.chebyshev.chebpts1(41)
    u = _HALFWAY * (1 - t) / (1 + t)
    with tf.init_scope():
        ratio = 0.5 * tfp.math.erfcx(math.sqrt(0.5) * u).numpy()
    found = np.polynomial.chebyshev.chebfit(t, ratio, 40)
    return [float(term) for term in found]


def _normal_distance(u: Tensor) -> Tensor:
    return 2 * (u * _normal_centered(u) + _normal_pdf(u))


def _laplace_centered(u: Tensor) -> Tensor:
    return tf.sign(u) * (0.5 - 0.5 * tf.exp(-tf.abs(u)))


def _laplace_pdf(u: Tensor) -> Tensor:
    return 0.5 * tf.exp(-tf.abs(u))


def _laplace_slope(u: Tensor) -> Tensor:
    return -tf.sign(u) * _laplace_pdf(u)


def _laplace_distance(u: Tensor) -> Tensor:
    return tf.abs(u) + tf.exp(-tf.abs(u))


NORMAL = Standard(
    _normal_centered,
    _normal_pdf,
    _normal_slope,
    _normal_distance,
    1 / math.sqrt(math.pi),
    _normal_quick,
)
LAPLACE = Standard(
    _laplace_centered,
    _laplace_pdf,
    _laplace_slope,
    _laplace_distance,
    0.75,
    _laplace_centered,
)


@functools.cache
def student_t(df: float) -> Standard:
    """Makes the closed forms of Student's t, of 2 to 100 degrees of freedom.

    With w = u / sqrt(df + u^2) and s = 1 - w^2 the probability beyond u is
    s^(df / 2) times a function of w that is smooth up to infinite u, so a short
    Chebyshev series gives it to rounding, in the tails too.
    """
    log_norm = math.lgamma((df + 1) / 2) - math.lgamma(df / 2)
    norm = math.exp(log_norm) / math.sqrt(df * math.pi)
    log_gap = _log_beta(df - 0.5) - 2 * _log_beta(0.5 * df)
    half_distance = 2 * math.sqrt(df) / (df - 1) * math.exp(log_gap)
    terms = _beyond(df)

    def powers(u: Tensor) -> tuple[Tensor, Tensor]:
        power = tf.exp(-0.5 * df * tf.math.log1p(u * u / df))
        return df / (df + u * u), power

    def centered(u: Tensor, least: float = 0.0) -> Tensor:
        square, power = powers(u)
        w = tf.abs(u) * tf.sqrt(square / df)
        return tf.sign(u) * (0.5 - power * _series(terms, 2 * w - 1, least))

    def pdf(u: Tensor) -> Tensor:
        square, power = powers(u)
        return norm * power * tf.sqrt(square)

    def slope(u: Tensor) -> Tensor:
        return -(df + 1) * u / (df + u * u) * pdf(u)

    def distance(u: Tensor) -> Tensor:
        return 2 * (u * centered(u) + (df + u * u) / (df - 1) * pdf(u))

    quick = functools.partial(centered, least=1e-12)
    parts = centered, pdf, slope, distance, half_distance, quick
    return Standard(*parts, is_heavy=df < 4)


def _log_beta(b: float) -> float:
    """Computes the logarithm of the beta function of 1/2 and b."""
    return math.lgamma(0.5) + math.lgamma(b) - math.lgamma(b + 0.5)


def _beyond(df: float) -> list[float]:
    """Computes the Chebyshev series of P(> u) / s^(df / 2), in 2 w - 1."""
    t = np.polynomial.chebyshev.chebpts1(41)
    w = 0.5 * (t + 1)
    s = (1 - w) * (1 + w)
    half = np.full_like(s, 0.5)
    with tf.init_scope():
        tail = 0.5 * tf.math.betainc(df * half, half, s).numpy()
    found = np.polynomial.chebyshev.chebfit(t, tail / s ** (0.5 * df), 40)
    return [float(term) for term in found]


def _series(terms: list[float], t: Tensor, least: float = 0.0) -> Tensor:
    """Sums a Chebyshev series by Clenshaw's recurrence, as far as it counts.

    Args:
        terms: its terms.
        t: places, from -1 to 1.
        least: terms below this are left out, as are those that rounding hides.
    """
    least = max(least, 0.05 * np.finfo(t.dtype.as_numpy_dtype).eps)
    count = max(i for i, term in enumerate(terms) if abs(term) > least)
    one, two = tf.zeros_like(t), tf.zeros_like(t)
    for term in terms[count:0:-1]:
        one, two = term + 2 * t * one - two, one
    return terms[0] + t * one - two
