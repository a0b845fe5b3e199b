"""Predictions of numbers and counts."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfpbnn import metrics, random
from tfpbnn.base.types import Array, Tensor
from tfpbnn.likelihoods import Likelihood
from tfpbnn.metrics import crps
from tfpbnn.metrics.crps import Cdf
from tfpbnn.prediction.results import mixture
from tfpbnn.prediction.results.base import Averages, Predictive
from tfpbnn.prediction.results.scores import Scores
from tfpbnn.prediction.results.targets import by_place, scored


class RegressionPredictive(Predictive):
    """A prediction of real numbers or counts.

    Quantiles, intervals and scores are those of the mixture over draws, not of
    a Gaussian fitted to it.

    Example:
    ```python
    p = tfpbnn.predict(model, x_test)
    p.mean, p.epistemic_variance, p.aleatoric_variance      # [N, k]
    low, high = p.interval(0.9)                             # [N, k] each
    p.evaluate(y_test)                  # {"nll": .., "rmse": .., ...}
    ```
    """

    def _averages_of(self, outputs: Tensor) -> tuple[Tensor, ...]:
        return averages(self.likelihood, outputs)

    def _means_of(self, outputs: Tensor) -> Tensor:
        return self.likelihood.marginals(outputs).mean()

    @property
    def _moments(self) -> tuple[Array, Array, Array]:
        mean, epistemic, aleatoric = self.summaries
        return mean, epistemic, aleatoric

    @property
    def _centers(self) -> tuple[Array, Array]:
        """A place and a width to search the distribution from."""
        center, width = centers(
            tf.constant(self.mean), tf.constant(self.variance)
        )
        return center.numpy(), width.numpy()

    def _cdf_of(self, outputs: Tensor) -> Cdf:
        return mixture_cdf(self.likelihood, outputs)

    def cdf(self, y: Any) -> Array:
        """P(target <= y) under the predictive mixture, `[N, k]`.

        It is NaN at places that the mask leaves out.

        Args:
            y: one value for each row and target.
        """
        return by_place(RegressionPredictive._cdf, self, y)

    def _cdf(self, y: Array) -> Array:
        def chunk(outputs: Tensor, y: Tensor) -> Tensor:
            return self._cdf_of(outputs)(y[tf.newaxis])[0]

        return self._by_rows(chunk, y)

    def quantile(self, q: Any) -> Array:
        """Quantiles of the predictive mixture.

        Args:
            q: a level between 0 and 1, exclusive, or a list of Q of them.

        Returns:
            `[N, k]`, or `[Q, N, k]` for a list.

        Raises:
            ValueError: if a level is not between 0 and 1.
        """
        levels = np.atleast_1d(np.asarray(q, np.float64))
        if levels.ndim != 1 or not np.all((levels > 0) & (levels < 1)):
            raise ValueError(
                "`q` must be a number between 0 and 1, exclusive, or a list "
                f"of such. Received: q={q!r}"
            )
        if isinstance(self._kept, Averages) and self._kept.quantiles:
            found = _known_quantiles(self._kept.quantiles, levels)
            return found if np.ndim(q) else found[0]

        def chunk(outputs: Tensor, center: Tensor, width: Tensor) -> Tensor:
            found = mixture.quantile(
                self._cdf_of(outputs),
                levels,
                center,
                width,
                self.likelihood.is_discrete,
            )
            return tf.experimental.numpy.moveaxis(found, 0, 1)

        found = np.moveaxis(self._by_rows(chunk, *self._centers), 1, 0)
        return found if np.ndim(q) else found[0]

    def interval(self, level: float = 0.9) -> tuple[Array, Array]:
        """The central interval: (lower, upper), `[N, k]` each.

        Args:
            level: the probability inside, between 0 and 1, exclusive.

        Raises:
            ValueError: if the level is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise ValueError(
                "`level` must be between 0 and 1, exclusive. Received: "
                f"level={level!r}"
            )
        tail = (1 - level) / 2
        lower, upper = self.quantile([tail, 1 - tail])
        return lower, upper

    def pit(self, y: Any) -> Array:
        """Probability integral transform, `[N, k]`: uniform if calibrated.

        `cdf(y)`; for counts a random place between `cdf(y - 1)` and `cdf(y)`,
        the same one each time. NaN at places that the mask leaves out.

        Args:
            y: targets, one row for each predicted row.

        Reference:
            [Czado et al., 2009](https://doi.org/10.1111/j.1541-0420.2009.01191.x)
        """
        return by_place(RegressionPredictive._pit, self, y)

    def _pit(self, y: Array) -> Array:
        below, up_to = self._steps(y)
        if below is None:
            return up_to
        return below + random.uniforms(0, y.shape) * (up_to - below)

    def _steps(self, y: Array) -> tuple[Array | None, Array]:
        """P(target < y) of counts, None of other numbers; P(target <= y)."""
        if not self.likelihood.is_discrete:
            return None, self._cdf(y)

        def chunk(outputs: Tensor, y: Tensor) -> Tensor:
            return tf.stack(
                tf.unstack(self._cdf_of(outputs)(tf.stack([y - 1, y]))), axis=-1
            )

        ends = self._by_rows(chunk, y)
        return ends[..., 0], ends[..., 1]

    def rmse(self, y: Any, sample_weight: Any = None) -> float:
        """Root mean squared error of `mean`, in the units of y."""
        p, y, weights, _ = scored(self, y, sample_weight)
        return metrics.rmse(y, p.mean, weights)

    def coverage(
        self, y: Any, level: float = 0.9, sample_weight: Any = None
    ) -> float:
        """The share of targets inside of their `interval(level)`."""
        p, y, weights, _ = scored(self, y, sample_weight)
        lower, upper = p.interval(level)
        return metrics.coverage(y, lower, upper, weights)

    def calibration_error(self, y: Any, sample_weight: Any = None) -> float:
        """Mean distance of nominal and empirical quantile levels.

        Of counts it is that of all random places of `pit` together.
        """
        p, y, weights, _ = scored(self, y, sample_weight)
        below, up_to = p._steps(y)
        return metrics.calibration_error(up_to, weights, below)

    def crps(self, y: Any, sample_weight: Any = None) -> float:
        """Mean continuous ranked probability score, in the units of y.

        Lower is better; for a point prediction it is the absolute error.

        Args:
            y: targets, one row for each predicted row.
            sample_weight: weights of rows `[N]` or of places `[N, ...]`.

        Reference:
            [Gneiting and Raftery,
            2007](https://doi.org/10.1198/016214506000001437)
        """
        p, y, weights, _ = scored(self, y, sample_weight)
        return metrics.mean(p._crps(y), weights)

    def _crps(self, y: Array) -> Array:
        """The score of each target, of targets that are aligned."""
        is_discrete, top = self.likelihood.is_discrete, 0
        if is_discrete:
            top = int(max(np.max(self.quantile(1 - 1e-6)), np.max(y)))

        def chunk(
            outputs: Tensor, y: Tensor, center: Tensor, width: Tensor
        ) -> Tensor:
            def edges(cdf: Cdf) -> Tensor:
                return mixture.quantile(
                    cdf, crps.BREAKS, center, width, False, tolerance=1e-6
                )

            cdf = self._cdf_of(outputs)
            if is_discrete:
                return crps.discrete_crps(cdf, y, edges, top)
            return crps.crps(cdf, y, edges(cdf))

        return self._by_rows(chunk, y, *self._centers)

    def evaluate(self, y: Any, sample_weight: Any = None) -> Scores:
        """Scores: nll, rmse, crps, coverage_90 and calibration_error.

        Rmse alone if draws were not kept. The nll is per row or per step,
        jointly for its targets; the others are means over targets.

        Args:
            y: targets, one row for each predicted row.
            sample_weight: weights of rows `[N]` or of places `[N, ...]`.
        """
        p, y, weights, _ = scored(self, y, sample_weight)
        found = {"rmse": p.rmse(y, weights)}
        if self.has_draws:
            found = {
                "nll": p.nll(y, weights),
                **found,
                "crps": p.crps(y, weights),
                "coverage_90": p.coverage(y, 0.9, weights),
                "calibration_error": p.calibration_error(y, weights),
            }
        per = dict.fromkeys(found, "target") | {"nll": self.place}
        return Scores(found, {name: per[name] for name in found})

    def _columns(self) -> dict[str, Array]:
        columns = {
            "mean": self.mean,
            "stddev": self.stddev,
            "epistemic_stddev": np.sqrt(self.epistemic_variance),
            "aleatoric_stddev": np.sqrt(self.aleatoric_variance),
        }
        if self.has_draws:
            columns["lower_90"], columns["upper_90"] = self.interval(0.9)
        return columns

    def _kind(self) -> str:
        return f"{type(self.likelihood).__name__} regression"


def _known_quantiles(quantiles: Mapping[float, Array], levels: Array) -> Array:
    """Quantiles that were kept where draws were not, `[Q, N, k]`."""
    kept = {round(q, 9): part for q, part in quantiles.items()}
    wanted = [round(q, 9) for q in levels.tolist()]
    if unknown := sorted(set(wanted) - set(kept)):
        raise ValueError(
            "The draws were not kept, and of quantiles only the levels "
            f"{sorted(kept)}. Received: {unknown}"
        )
    return np.stack([kept[q] for q in wanted])


def averages(likelihood: Likelihood, outputs: Tensor) -> tuple[Tensor, ...]:
    """Mean, its variance over draws, and the mean variance of the noise.

    Args:
        likelihood: of the outputs.
        outputs: `[S, n, .., P]`.

    Returns:
        `[n, .., k]` each.
    """
    marginals = likelihood.marginals(outputs)
    means = marginals.mean()
    variances = marginals.variance() + tf.zeros_like(means)
    return (
        tf.reduce_mean(means, axis=0),
        tf.math.reduce_variance(means, axis=0),
        tf.reduce_mean(variances, axis=0),
    )


def centers(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """A place and a width to search a distribution from, finite."""
    one = tf.ones_like(mean)
    width = tf.where(tf.math.is_finite(variance), tf.sqrt(variance), one)
    center = tf.where(tf.math.is_finite(mean), mean, tf.zeros_like(mean))
    return center, tf.maximum(width, 1e-6 * (one + tf.abs(center)))


def mixture_cdf(likelihood: Likelihood, outputs: Tensor) -> Cdf:
    """The distribution function of the mixture over draws, `[S, n, .., P]`."""
    marginals = likelihood.marginals(outputs)

    def cdf(values: Tensor) -> Tensor:
        if not likelihood.is_discrete:
            return mixture.mixture_cdf(marginals, values)
        # TFP continues the functions of counts to the left of zero.
        at_zero = mixture.mixture_cdf(marginals, tf.maximum(values, 0.0))
        return tf.where(values < 0, tf.zeros_like(at_zero), at_zero)

    return cdf
