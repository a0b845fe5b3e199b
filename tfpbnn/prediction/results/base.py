"""Defines what predictions of any kind share."""

import abc
import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from tfpbnn import metrics, random
from tfpbnn.base import checks
from tfpbnn.base.places import mask_of_places, over_targets
from tfpbnn.base.types import Array, Tensor
from tfpbnn.likelihoods import Likelihood
from tfpbnn.prediction.results import chunks
from tfpbnn.prediction.results.draws import check_draws_stay
from tfpbnn.prediction.results.kept import Averages
from tfpbnn.prediction.results.scores import Scores
from tfpbnn.prediction.results.tables import flat, table
from tfpbnn.prediction.results.targets import Scored, by_place, scored

# How many elements of [S, rows, P] are worked on at once, in float64.
_CHUNK = 2**21
SelfT = TypeVar("SelfT", bound="Predictive")


class Predictive(abc.ABC):
    """Draws of a model's outputs, and the distributions that they induce.

    The predictive distribution is the mixture of the likelihoods at all draws
    of the weights. Axes: S draws, N rows, P outputs, k targets (or classes).

    Attributes:
        likelihood: the likelihood, which turns outputs into distributions.
        draws: how draws were made: "coherent" (the same weights for all rows),
            "marginal" (each row with its own draws), "mixed" (marginal in the
            first layers only) or "mean" (one pass at the posterior means).
            With the same `draws` and seed, a row has the same numbers whatever
            rows come after it.
        mask: booleans `[N, ...]` that say which places of outputs `[N, ..., P]`
            count; None if all do. Scores, tables and plots leave the others
            out. Means, draws and other arrays have the model's values there.
    """

    def __init__(
        self,
        outputs: Array,
        likelihood: Likelihood,
        draws: str = "coherent",
        mask: Any = None,
    ):
        """Makes a prediction of draws that exist already.

        Args:
            outputs: the outputs of a model at each draw, `[S, N, ..., P]`.
            likelihood: a `tfpbnn.likelihoods.Likelihood`.
            draws: how draws were made; see the attribute.
            mask: booleans that say which rows `[N]` or places `[N, ...]` count,
                like Keras's masks; None if all do.

        Raises:
            ValueError: if the outputs have fewer than three axes, or don't fit
                the likelihood.
        """
        outputs = np.asarray(outputs)
        if outputs.ndim < 3:
            raise ValueError(
                "`outputs` must have the axes draws, rows and outputs. "
                f"Received: outputs of shape {outputs.shape}"
            )
        likelihood.event_size(outputs.shape[-1])
        self._kept: Array | Averages = outputs
        self.likelihood = likelihood
        self.draws = draws
        self.mask = mask_of_places(mask, outputs.shape[1:-1])

    @classmethod
    def without_draws(
        cls: type[SelfT],
        num_samples: int,
        summaries: tuple[Array, ...],
        likelihood: Likelihood,
        draws: str,
        quantiles: Mapping[float, Array] | None = None,
        mask: Any = None,
        conformal: Mapping[str, Array] | None = None,
    ) -> SelfT:
        """Makes a prediction that has averages over draws only.

        Args:
            num_samples: the number S of draws.
            summaries: the averages, as in the property of that name.
            likelihood, draws, mask: as in the constructor.
            quantiles: the known quantiles `[N, k]`, by their level.
            conformal: see the property of that name.
        """
        self = cls.__new__(cls)
        more = dict(quantiles or {}), dict(conformal or {})
        self._kept = Averages(num_samples, summaries, *more)
        self.likelihood, self.draws = likelihood, draws
        self.mask = None
        self.mask = mask_of_places(mask, self.outputs_shape[:-1])
        return self

    @property
    def has_draws(self) -> bool:
        """Whether the draws were kept, rather than averages only."""
        return not isinstance(self._kept, Averages)

    @property
    def outputs(self) -> Array:
        """The model's outputs at each draw, `[S, N, ..., P]`.

        Raises:
            ValueError: if they were not kept.
        """
        if isinstance(self._kept, Averages):
            raise ValueError(
                "The draws were not kept, so there are means, variances and "
                "entropies only. For anything else, such as quantiles, "
                "samples or log-probabilities, predict with keep_draws=True; "
                "of a server, ask for the signature `samples`."
            )
        return self._kept

    @property
    def num_samples(self) -> int:
        """The number S of draws."""
        if isinstance(self._kept, Averages):
            return self._kept.num_samples
        return len(self._kept)

    def __len__(self) -> int:
        if isinstance(self._kept, Averages):
            return len(self._kept.summaries[0])
        return self._kept.shape[1]

    def __getitem__(self: SelfT, rows: Any) -> SelfT:
        """Takes some rows: by an index, indices, a slice or a mask.

        A mask of the places, `[N, ...]`, gives these places as rows.
        """
        if isinstance(rows, int | np.integer):
            rows = [rows]
        mask = None if self.mask is None else self.mask[rows]
        if not isinstance(self._kept, Averages):
            return type(self)(
                self.outputs[:, rows], self.likelihood, self.draws, mask
            )
        count, parts, quantiles, sets = self._kept.of_rows(rows)
        described = self.likelihood, self.draws, quantiles
        return self.without_draws(count, parts, *described, mask, sets)

    @property
    def conformal(self) -> Mapping[str, Array]:
        """The sets or intervals that a server has answered; else empty.

        They are "sets", booleans `[N, K]`, or "lower" and "upper", `[N, k]`.
        """
        return self._kept.conformal if isinstance(self._kept, Averages) else {}

    @functools.cached_property
    def summaries(self) -> tuple[Array, ...]:
        """The averages over draws, `[N, ...]` each.

        For numbers these are the mean, its variance over draws, and the mean
        variance of the noise; for labels, the probabilities, their variance
        over draws, the expected entropy, and the share of votes.
        """
        if isinstance(self._kept, Averages):
            return self._kept.summaries
        return self._by_rows(self._averages_of)

    @abc.abstractmethod
    def _averages_of(self, outputs: Tensor) -> tuple[Tensor, ...]:
        """Computes the `summaries` of rows, from outputs `[S, n, .., P]`."""

    @property
    @abc.abstractmethod
    def _moments(self) -> tuple[Array, Array, Array]:
        """The mean, epistemic and aleatoric variances, `[N, ..., k]` each."""

    @property
    def mean(self) -> Array:
        """The predictive mean, `[N, k]`; for classes, the probabilities."""
        return self._moments[0]

    @property
    def epistemic_variance(self) -> Array:
        """The variance over draws of E[y | weights], `[N, k]`.

        It is the part of the variance that more data would take away.
        """
        return self._moments[1]

    @property
    def aleatoric_variance(self) -> Array:
        """The mean over draws of Var[y | weights], `[N, k]`, due to noise."""
        return self._moments[2]

    @property
    def variance(self) -> Array:
        """The predictive variance, `[N, k]`: epistemic plus aleatoric."""
        return self.epistemic_variance + self.aleatoric_variance

    @property
    def stddev(self) -> Array:
        """The square root of `variance`, `[N, k]`."""
        return np.sqrt(self.variance)

    @functools.cached_property
    def draw_means(self) -> Array:
        """The mean of the targets at each draw or member, `[S, N, ..., k]`.

        Its variance over draws is `epistemic_variance`.

        Raises:
            ValueError: if not the draws are calibrated, but their mixture.
        """
        check_draws_stay(self.likelihood, "draw_means")

        def chunk(outputs: Tensor) -> Tensor:
            means = self._means_of(outputs)
            return tf.transpose(means, [1, 0, *range(2, len(means.shape))])

        return np.swapaxes(self._by_rows(chunk), 0, 1)

    @abc.abstractmethod
    def _means_of(self, outputs: Tensor) -> Tensor:
        """Computes means of targets, `[S, n, .., k]`, of `[S, n, .., P]`."""

    def sample(self, num_samples: int = 1, seed: int | None = None) -> Array:
        """Draws targets, `[num_samples, N, k]`; labels `[num_samples, N]`.

        Each sample is one draw of the weights plus the likelihood's noise. If
        `draws` is "coherent" the weights are the same for all rows, so that
        rows are correlated as they should be.

        Args:
            num_samples: the number of samples, a positive integer.
            seed: an integer for the same samples each time.

        Raises:
            ValueError: if `num_samples` is not a positive integer.
        """
        checks.positive_integer("num_samples", num_samples)
        which, noise_seed = random.choices(seed, self.num_samples, num_samples)
        marginals = self.likelihood.marginals(tf.constant(self.outputs[which]))
        y = marginals.sample(seed=noise_seed).numpy()
        is_mapped = self.likelihood.of_mixture is not None
        return self._mapped_samples(y, noise_seed) if is_mapped else y

    @abc.abstractmethod
    def _mapped_samples(self, y: Array, seed: Any) -> Array:
        """Makes samples of a mapped mixture of those before it, and a seed."""

    def log_prob(self, y: Any) -> Array:
        """Computes the log density or probability of the targets, `[N, ...]`.

        It is the logarithm of the likelihood's average over draws, jointly for
        all targets of a row, or of a step where rows have steps. It is NaN at
        places that are masked or ignored.

        Args:
            y: the targets, `[N, k]`, or `[N]` if there is one per row; or
                labels.

        Raises:
            ValueError: if y does not fit the outputs or has values, such as NaN
                or a label out of range, that the likelihood cannot give.
        """
        return by_place(type(self)._log_prob, self, y)

    def nll(self, y: Any, sample_weight: Any = None) -> float:
        """Computes the mean negative `log_prob`, in nats; lower is better.

        The mean is over the rows, or steps or pixels where outputs have those,
        that count, jointly for the targets of each.

        Args:
            y: targets, one row for each predicted row.
            sample_weight: weights of rows `[N]` or of places `[N, ...]`.
        """
        return metrics.nll(y, self, sample_weight)

    def counted(self, y: Any, sample_weight: Any = None) -> Scored:
        """Selects the places that count, with targets and weights, to score.

        Args:
            y: targets, one row for each predicted row.
            sample_weight: weights of rows `[N]` or of places `[N, ...]`.

        Returns:
            `(predictive, y, weights, counted)` of these places.
        """
        return scored(self, y, sample_weight)

    @abc.abstractmethod
    def evaluate(self, y: Any, sample_weight: Any = None) -> Scores:
        """Computes all scores that apply to the kind of prediction.

        Without draws (`keep_draws=False`), only those that need none.

        Args:
            y: targets, one row for each predicted row.
            sample_weight: weights of rows `[N]` or of places `[N, ...]`, for
                weighted means.
        """

    @abc.abstractmethod
    def _columns(self) -> dict[str, Array]:
        """Returns per-row summaries by name, `[N]` or `[N, k]`."""

    def to_dict(self) -> dict[str, Array]:
        """Returns per-row summaries by name, as `[N]` arrays.

        With several targets the names end in the index of the target. Places
        that the mask leaves out are NaN.
        """
        columns = self._columns().items()
        return flat({name: self._masked(values) for name, values in columns})

    @abc.abstractmethod
    def _kind(self) -> str:
        """Describes the kind of prediction, for the printed table's head."""

    def to_pandas(self) -> Any:
        """Returns the summaries of `to_dict` as a pandas.DataFrame.

        Raises:
            ImportError: if pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError(
                "`to_pandas` needs pandas: pip install pandas"
            ) from error
        return pd.DataFrame(self.to_dict())

    def __repr__(self) -> str:
        head = (
            f"Predictive: {self._kind()}, {len(self)} rows, "
            f"{self.num_samples} draws; nll is per {self.place}"
        )
        return table(head, self[:5].to_dict(), len(self))

    def _masked(self, values: Array) -> Array:
        """Sets values to NaN at places that the mask leaves out."""
        if self.mask is None:
            return values
        return np.where(over_targets(self.mask, values), values, np.nan)

    def _by_rows(
        self,
        function: Callable[..., Any],
        *arrays: Array,
        chunk: int | None = None,
        dtype: Any = np.float64,
    ) -> Any:
        """Calls `chunks.by_rows` with chunks of about `chunk` elements."""
        size = chunk or _CHUNK
        return chunks.by_rows(function, self.outputs, arrays, size, dtype)

    @property
    def outputs_shape(self) -> tuple[int, ...]:
        """The shape of one draw's outputs, `(N, ..., P)`."""
        if not isinstance(self._kept, Averages):
            return self._kept.shape[1:]
        *rows, targets = self.mean.shape
        return (*rows, self.likelihood.params_size(targets))

    @property
    def place(self) -> str:
        """The unit that nll is per: "row", "step" or "position".

        Outputs `[N, P]` have rows, `[N, T, P]` steps, and those with more axes,
        such as images, positions.
        """
        return {2: "row", 3: "step"}.get(len(self.outputs_shape), "position")

    def _log_prob(self, y: Array) -> Array:
        """Computes `log_prob` of targets that are aligned and all count."""

        def chunk(outputs: Any, y: Any) -> Any:
            y = tf.broadcast_to(y, [outputs.shape[0], *y.shape])
            log_prob = self.likelihood.log_prob(y, outputs)
            return tf.reduce_logsumexp(log_prob, axis=0)

        return self._by_rows(chunk, y) - np.log(self.num_samples)
