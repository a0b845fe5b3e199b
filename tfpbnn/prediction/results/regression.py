"""Defines predictions of numbers and counts."""

import functools
from typing import Any

import numpy as np
import tensorflow as tf

from tfpbnn import metrics, random
from tfpbnn.base.types import Array, Tensor
from tfpbnn.likelihoods import assumed
from tfpbnn.metrics.quadrature import Cdf
from tfpbnn.prediction.results import chunks, counts, mixture, recalibrated
from tfpbnn.prediction.results import location_scale as fast
from tfpbnn.prediction.results.base import Predictive
from tfpbnn.prediction.results.kept import Averages
from tfpbnn.prediction.results.scores import Scores
from tfpbnn.prediction.results.targets import by_place, scored

# Beyond this quantile a count hardly adds to a score.
_MOST = np.array([1 - 1e-6])


class RegressionPredictive(Predictive):
    """A prediction of real numbers or counts.

    Quantiles and scores are those of the mixture over draws, not of a Normal.

    Example:
    ```python
    p = tfpbnn.predict(model, x_test)
    p.mean, p.epistemic_variance, p.aleatoric_variance      # [N, k]
    low, high = p.interval(0.9)                             # [N, k] each
    p.evaluate(y_test)                  # {"nll": .., "rmse": .., ...}
    ```
    """

    def _averages_of(self, outputs: Tensor) -> tuple[Tensor, ...]:
        return mixture.averages(self.likelihood, outputs)

    def _means_of(self, outputs: Tensor) -> Tensor:
        return self.likelihood.marginals(outputs).mean()

    @property
    def _moments(self) -> tuple[Array, Array, Array]:
        return self.summaries[0], self.summaries[1], self.summaries[2]

    @property
    def _centers(self) -> tuple[Array, Array]:
        """The center and the width from which to search the distribution."""
        center, width = mixture.centers(
            tf.constant(self.mean), tf.constant(self.variance)
        )
        return center.numpy(), width.numpy()

    def rescale(self, scale: Any, offset: Any = 0.0) -> "RegressionPredictive":
        """Returns the prediction in other units, of `scale * y + offset`.

        Use it if you standardized the targets by hand: all that the result
        returns, and the targets that it takes, are in the new units. The
        `outputs` stay those of the network; the `likelihood` is another.

        Args:
            scale: a positive number, or one for each of the k targets.
            offset: a number, or one for each of the k targets.

        Raises:
            ValueError: if `scale` is not positive, if there are not 1 or k
                numbers, or if the targets are counts.

        Example:
        ```python
        z_train = (y_train - mean) / stddev     # what the model was trained on
        p = tfpbnn.predict(model, x_test).rescale(stddev, mean)
        p.evaluate(y_test)
        ```
        """
        likelihood = self.likelihood.rescale(scale, offset)
        if not isinstance(self._kept, Averages):
            return type(self)(self.outputs, likelihood, self.draws, self.mask)
        likelihood.event_size(self.outputs_shape[-1])
        kept = self._kept.rescaled(np.asarray(scale), np.asarray(offset))
        count, moments, quantiles, ends = kept
        described = likelihood, self.draws, quantiles
        return self.without_draws(count, moments, *described, self.mask, ends)

    def _log_prob(self, y: Array) -> Array:
        if self.likelihood.of_mixture is None:
            return super()._log_prob(y)
        return recalibrated.log_prob(self, y)

    def _mapped_samples(self, y: Array, seed: Any) -> Array:
        return recalibrated.samples(self, y)

    def _cdf_of(self, outputs: Tensor) -> Cdf:
        return mixture.cdf_of(self.likelihood, outputs)

    def cdf(self, y: Any) -> Array:
        """Computes P(target <= y) under the predictive mixture, `[N, k]`.

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
        """Computes quantiles of the predictive mixture.

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
            found = mixture.known_quantiles(self._kept.quantiles, levels)
            return found if np.ndim(q) else found[0]

        missing = [q for q in levels.tolist() if q not in self._quantiles]
        if missing:
            found = self._find_quantiles(np.array(missing))
            self._quantiles.update(zip(missing, found, strict=True))
        found = np.stack([self._quantiles[level] for level in levels.tolist()])
        return found if np.ndim(q) else found[0]

    @functools.cached_property
    def _quantiles(self) -> dict[float, Array]:
        """The quantiles that were computed so far, by level."""
        return {}

    def _find_quantiles(self, levels: Array) -> Array:
        """Finds quantiles `[Q, N, k]`, fast for the rows where that works."""

        def search(rows: Array) -> Array:
            return np.moveaxis(self[rows]._search_quantiles(levels), 0, 1)

        highest = float(np.max(levels))
        extreme = max(highest, 1 - np.min(levels)) > 1 - fast.LEAST_LEVEL
        if self._do_follow and highest <= counts.HIGHEST_LEVEL:
            found = counts.by_rows(self, counts.quantiles, constants=[levels])
        elif self._is_large and self._is_fast and not extreme:
            found = self._fast_quantiles(levels)
        else:
            return self._search_quantiles(levels)
        return np.moveaxis(chunks.mended(*found, search), 1, 0)

    def _fast_quantiles(self, levels: Array) -> tuple[Array, Array]:
        def chunk(outputs: Tensor, center: Tensor, width: Tensor) -> Any:
            args = outputs, tf.constant(levels), center, width
            return fast.compiled(fast.quantiles, self.likelihood, *args)

        return self._by_rows(chunk, self.mean, self.stddev, chunk=fast.CHUNK)

    def _search_quantiles(self, levels: Array) -> Array:
        """Finds quantiles `[Q, N, k]` of any distribution."""

        def chunk(outputs: Tensor, center: Tensor, width: Tensor) -> Tensor:
            cdf, is_whole = self._cdf_of(outputs), self.likelihood.is_discrete
            found = mixture.quantile(cdf, levels, center, width, is_whole)
            return tf.experimental.numpy.moveaxis(found, 0, 1)

        return np.moveaxis(self._by_rows(chunk, *self._centers), 1, 0)

    @property
    def _standard(self) -> Any:
        return self.likelihood.standard

    @functools.cached_property
    def _is_fast(self) -> bool:
        """Whether the mixture is of one distribution, with known moments."""
        is_mapped = self.likelihood.of_mixture is not None
        if self._standard is None or is_mapped:
            return False
        return bool(np.all(np.isfinite(self.stddev) & (self.stddev > 0)))

    @functools.cached_property
    def _do_follow(self) -> bool:
        return self.likelihood.is_discrete and counts.do_follow(self)

    @property
    def _is_large(self) -> bool:
        return self.outputs.size >= fast.LARGE

    @functools.cached_property
    def _half_distances(self) -> Array:
        """Half the mean distance of two targets of a row, `[N, ..., k]`."""

        def chunk(outputs: Tensor, center: Tensor, width: Tensor) -> Tensor:
            if self._is_large:
                args = self.likelihood, outputs, center, width
                return fast.compiled(fast.half_distances, *args)
            parts = fast.components(self.likelihood, outputs)
            relative = parts.relative(center, width)
            return width * fast.half_distance(relative, self._standard)

        return self._by_rows(chunk, self.mean, self.stddev, chunk=fast.CHUNK)

    def interval(self, level: float = 0.9) -> tuple[Array, Array]:
        """Computes the central interval, (lower, upper), `[N, k]` each.

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
        """Computes the probability integral transform, uniform if calibrated.

        It is `cdf(y)`, `[N, k]`; for counts a random number between `cdf(y -
        1)` and `cdf(y)`, the same one each time. It is NaN at places that the
        mask leaves out.

        Args:
            y: targets, one row for each predicted row.

        Reference:
            [Czado et al., 2009](https://doi.org/10.1111/j.1541-0420.2009.01191.x)
        """
        return by_place(RegressionPredictive._pit, self, y)

    def _pit(self, y: Array) -> Array:
        below, up_to = self.cdf_ends(y)
        if below is None:
            return up_to
        return below + random.uniforms(0, y.shape) * (up_to - below)

    def cdf_ends(self, y: Array) -> tuple[Array | None, Array]:
        """Computes P(target < y), None but for counts, and P(target <= y).

        Args:
            y: targets that are aligned and all count, as of `counted`.
        """
        if not self.likelihood.is_discrete:
            return None, self._cdf(y)

        def chunk(outputs: Tensor, y: Tensor) -> Tensor:
            return tf.stack(
                tf.unstack(self._cdf_of(outputs)(tf.stack([y - 1, y]))), axis=-1
            )

        ends = self._by_rows(chunk, y)
        return ends[..., 0], ends[..., 1]

    def rmse(self, y: Any, sample_weight: Any = None) -> float:
        """Computes the root mean squared error of `mean`, in the units of y.

        Args:
            y: the targets, one row for each predicted row.
            sample_weight: the weights of rows `[N]` or of places `[N, ...]`.
        """
        p, y, weights, _ = scored(self, y, sample_weight)
        return metrics.rmse(y, p.mean, weights)

    def coverage(
        self, y: Any, level: float = 0.9, sample_weight: Any = None
    ) -> float:
        """Computes the share of targets inside of their `interval(level)`.

        Args:
            y: the targets, one row for each predicted row.
            level: the probability of the intervals, between 0 and 1.
            sample_weight: the weights of rows `[N]` or of places `[N, ...]`.
        """
        p, y, weights, _ = scored(self, y, sample_weight)
        lower, upper = p.interval(level)
        return metrics.coverage(y, lower, upper, weights)

    def calibration_error(self, y: Any, sample_weight: Any = None) -> float:
        """Computes the mean distance of nominal and observed quantile levels.

        For counts it is an average over the random numbers of `pit`.
        """
        p, y, weights, _ = scored(self, y, sample_weight)
        below, up_to = p.cdf_ends(y)
        return metrics.calibration_error(up_to, weights, below)

    def crps(self, y: Any, sample_weight: Any = None) -> float:
        """Computes the mean CRPS, in the units of y.

        The continuous ranked probability score is lower for better predictions;
        for a point prediction it is the absolute error.

        Args:
            y: targets, one row for each predicted row.
            sample_weight: weights of rows `[N]` or of places `[N, ...]`.

        Reference:
            [Gneiting and Raftery,
            2007](https://doi.org/10.1198/016214506000001437)
        """
        p, y, weights, _ = scored(self, y, sample_weight)
        return metrics.mean(p.crps_by_target(y), weights)

    def crps_by_target(self, y: Array) -> Array:
        """Computes the CRPS of each target, `[N, ..., k]`.

        Args:
            y: targets that are aligned and all count, as of `counted`.
        """
        if self._is_fast and not self._standard.is_heavy:
            return self._fast_crps(y)
        if self._do_follow:
            return chunks.mended(
                *counts.by_rows(self, counts.crps, [y]),
                lambda rows: self[rows]._search_crps(y[rows]),
            )
        return self._search_crps(y)

    def _search_crps(self, y: Array) -> Array:
        """Computes the CRPS `[N, ..., k]` of any distribution."""
        top = 0
        if self.likelihood.is_discrete:
            top = int(max(np.max(self._search_quantiles(_MOST)), np.max(y)))

        chunk = functools.partial(
            mixture.integrated_crps, self.likelihood, top=top
        )
        return self._by_rows(chunk, y, *self._centers)

    def _fast_crps(self, y: Array) -> Array:
        def chunk(outputs: Tensor, *arguments: Tensor) -> Tensor:
            if self._is_large:
                args = self.likelihood, outputs, *arguments
                return fast.compiled(fast.crps_of, *args)
            parts = fast.components(self.likelihood, outputs)
            return fast.crps(parts, self._standard, *arguments[:2])

        arrays = y, self._half_distances, self.mean, self.stddev
        return self._by_rows(chunk, *arrays, chunk=fast.CHUNK)

    def evaluate(self, y: Any, sample_weight: Any = None) -> Scores:
        """Computes the scores nll, rmse, crps, coverage_90, calibration_error.

        It is rmse alone if draws were not kept. The nll is per row or per step,
        jointly for its targets; the others are means over targets.

        Args:
            y: targets, one row for each predicted row.
            sample_weight: weights of rows `[N]` or of places `[N, ...]`.
        """
        p, y, weights, _ = scored(self, y, sample_weight)
        found = {"rmse": p.rmse(y, weights)}
        assumed.warn_of_errors(self.likelihood, p.stddev, found["rmse"])
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
