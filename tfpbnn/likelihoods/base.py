"""Defines what all likelihoods share."""

import abc
import copy
from typing import Any, ClassVar, TypeVar

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base.keras_private import mask_of
from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Array, Config, Tensor
from tfpbnn.likelihoods import units
from tfpbnn.likelihoods.parameters import Support
from tfpbnn.likelihoods.places import Places, fits, places_of
from tfpbnn.likelihoods.recalibration import Recalibration
from tfpbnn.likelihoods.standard import Standard
from tfpbnn.likelihoods.units import Units

LikelihoodT = TypeVar("LikelihoodT", bound="Likelihood")


class Likelihood(keras.losses.Loss):
    """A Keras loss that is the negative log-likelihood of a distribution.

    The loss has one value per example, in nats, summed over targets and, for
    outputs of rank 3 and more, over positions, since all of them belong to the
    example. Keras averages over examples, so the KL must be weighted by 1 /
    (number of training examples).

    Positions that Keras's mask leaves out, that have a weight of 0, or that
    are ignored add nothing, whatever values they have. Weights are those of
    the examples, `[B]`, or of their positions, `[B, ...]`.

    Attributes:
        is_classification: whether targets are labels, so that predictions are
            `ClassificationPredictive`s.
        is_discrete: whether targets are counts, 0, 1, 2, ...
        is_location_scale: whether `_marginals` has a `loc` and a `scale`, or is
            a mixture of such, so that `adapt` can change its units.
        units: the `mean` and `stddev` of each target, if adapted; else None.
        recalibration: the fitted calibrator that is applied; else None.
        assumed_from: the Keras loss that leaves the noise open; else None.
    """

    is_classification: ClassVar[bool] = False
    is_discrete: ClassVar[bool] = False
    is_location_scale: ClassVar[bool] = False

    def __init__(
        self,
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.units: Units | None = None
        self.recalibration: Recalibration | None = None
        self.assumed_from: str | None = None

    @property
    @abc.abstractmethod
    def parameters(self) -> tuple[str, ...]:
        """The names of one target's parameters, in the order of the outputs."""

    @abc.abstractmethod
    def _marginals(self, *parameters: Tensor) -> Any:
        """Makes the TFP distribution of targets, of parameters `[..., k]`.

        If the likelihood is adapted, it is that of the standardized targets.
        """

    @property
    def standard(self) -> Standard | None:
        """The closed forms of the distribution of location 0 and scale 1.

        They make quantiles and scores of many draws fast. None if there are no
        such forms, so that TFP's functions are used.
        """
        return None

    def params_size(self, event_size: int = 1) -> int:
        """Counts the outputs that the model needs for `event_size` targets."""
        return len(self.parameters) * event_size

    def event_size(self, num_outputs: int) -> int:
        """Counts the targets that `num_outputs` outputs describe.

        Raises:
            ValueError: if the outputs don't divide into parameters.
        """
        each = self.params_size(1)
        if num_outputs < each or num_outputs % each:
            raise ValueError(
                f"`{type(self).__name__}` needs {each} outputs for each target "
                f"({', '.join(self.parameters)}). Received: {num_outputs} "
                f"outputs, which is not a multiple of {each}. Give the last "
                f"layer {each} units per target."
            )
        size = num_outputs // each
        if self.units is not None:
            self.units.check_size(size, type(self).__name__)
        return size

    def adapt(
        self: LikelihoodT, y: Any, sample_weight: Any = None
    ) -> LikelihoodT:
        """Learns the units of the targets, like Keras's Normalization.

        The network is then trained in standardized units: its first output is
        `(loc - mean(y)) / stddev(y)`, with a mean and a standard deviation for
        each target. Predictions, intervals, samples, scores and exports are in
        the targets' own units. So is the loss, the negative log density of y
        as it is given, which includes the constant log(stddev(y)). The units
        are saved with the model. Call this before `compile`, with the targets
        of training.

        Args:
            y: the targets `[N]` or `[N, ..., k]`, whose last axis is that of
                the k targets: an array or tensor, or a tf.data.Dataset or
                PyDataset of targets, of (x, y) or of (x, y, weight). NaN is
                left out; a target whose values are all equal keeps its unit.
            sample_weight: the weights of the rows or steps, `[N, ...]`.

        Returns:
            The likelihood itself.

        Raises:
            ValueError: if the targets are labels or counts, which have no
                units; if a target is infinite, or has no value.
            TypeError: if y is not numbers.

        Example:
        ```python
        y = 36.0 + 17.0 * keras.random.normal((100,))
        likelihood = tfpbnn.likelihoods.Normal().adapt(y)
        likelihood.units                        # mean (36.,), stddev (17.,)
        ```
        """
        self._check_has_units("adapt")
        self.units = units.of(y, sample_weight)
        return self

    def rescale(
        self: LikelihoodT, scale: Any, offset: Any = 0.0
    ) -> LikelihoodT:
        """Makes the likelihood of `scale * y + offset`, given the same outputs.

        Args:
            scale: a positive number, or one for each target.
            offset: a number, or one for each target.

        Raises:
            ValueError: if `scale` is not positive, or the targets are labels or
                counts.
        """
        self._check_has_units("rescale")
        other = copy.copy(self)
        other.units = (self.units or Units()).rescale(scale, offset)
        return other

    def recalibrated(
        self: LikelihoodT, recalibration: Recalibration | None
    ) -> LikelihoodT:
        """Makes a likelihood whose predictions are calibrated, by a map.

        Args:
            recalibration: a fitted calibrator of `tfpbnn.calibration`, with
                those that it was fitted over, in place of what is there; None
                to take that away.

        Raises:
            ValueError: if it is not fitted, or is for another kind of targets.
        """
        if recalibration is not None:
            recalibration.check(self)
        other = copy.copy(self)
        other.recalibration = copy.copy(recalibration)  # which may be refitted
        return other

    @property
    def of_mixture(self) -> Recalibration | None:
        """The `recalibration`, if it acts on the mixture over draws."""
        found = self.recalibration
        return found if found is not None and found.is_of_mixture else None

    def _check_has_units(self, method: str) -> None:
        if not self.is_location_scale:
            raise ValueError(
                f"`{method}` must be asked of a likelihood with a location and "
                "a scale: Normal, Laplace, StudentT or MixtureNormal, or one "
                "of your own with is_location_scale = True. Received: "
                f"{type(self).__name__}, whose targets have no other units. "
                "Leave its targets as they are"
            )

    def marginals(self, outputs: Tensor) -> Any:
        """Makes the TFP distribution of each target, of batch shape `[..., k]`.

        Args:
            outputs: the model's outputs, `[..., params_size(k)]`: the first
                parameter of all targets, then the second, and so on.
        """
        outputs = tf.convert_to_tensor(outputs)
        found = self._standardized(outputs)
        return found if self.units is None else self.units.restored(found)

    def _standardized(self, outputs: Tensor) -> Any:
        """Makes `marginals` of the targets in the units of the network."""
        self.event_size(outputs.shape[-1])
        found = self._marginals(
            *tf.split(outputs, self.params_size(1), axis=-1)
        )
        after = self.recalibration
        return found if after is None else after.noise(found)

    def distribution(self, outputs: Tensor) -> Any:
        """Makes the TFP distribution of an example, of event shape `[k]`.

        Args:
            outputs: the model's outputs, `[..., params_size(k)]`.

        Example:
        ```python
        likelihood = tfpbnn.likelihoods.Normal()
        y = likelihood.distribution(keras.ops.zeros((5, 2))).sample()  # [5, 1]
        ```
        """
        return tfp.distributions.Independent(self.marginals(outputs), 1)

    def align(self, y: Tensor, outputs: Tensor) -> Tensor:
        """Converts targets to the shape and dtype that `distribution` takes.

        Raises:
            ValueError: if the targets are not as many as the outputs describe.
        """
        size = self.event_size(outputs.shape[-1])
        if tf.is_tensor(y) and y.shape.rank is None:
            # Keras has met targets of other ranks in `evaluate` before.
            y = tf.reshape(y, tf.concat([tf.shape(outputs)[:-1], [size]], 0))
        if size == 1 and len(y.shape) == len(outputs.shape) - 1:
            y = y[..., tf.newaxis]
        if not fits(y, [*outputs.shape[:-1], size]):
            raise ValueError(
                f"`y` does not fit: `{type(self).__name__}` on outputs of "
                f"shape {tuple(outputs.shape)} describes {size} target(s) per "
                f"row. Received: targets of shape {tuple(y.shape)}"
            )
        return tf.cast(y, outputs.dtype)

    def support(self, num_outputs: int) -> Support:
        """Says what targets must be, for so many outputs."""
        if self.is_discrete:
            return Support("counts, 0 or more, whole and not NaN", low=0.0)
        return Support("finite numbers, not NaN")

    def check_outputs(self, outputs: Array) -> None:
        """Raises if a model's outputs can't be parameters of this kind."""

    def is_integral(self, y: Any, outputs: Tensor) -> bool:
        """Says whether targets of this shape must be whole numbers."""
        return self.is_discrete

    def supports(self, y: Array, outputs: Any) -> Array:
        """Says where targets, in NumPy, are valid or ignored.

        Args:
            y: the targets, of any shape that fits.
            outputs: the model's outputs, of which only the shape is read.
        """
        support = self.support(outputs.shape[-1])
        valid = np.isfinite(y) & (y >= support.low) & (y <= support.high)
        if self.is_integral(y, outputs):
            valid &= np.mod(np.where(valid, y, 0), 1) == 0
        ignored = self.ignored(y, outputs)
        return valid if ignored is None else valid | ignored

    def log_prob(self, y: Tensor, outputs: Tensor) -> Tensor:
        """Computes the log-likelihood of positions, `[...]` of `[..., P]`."""
        y = self.align(y, outputs)
        if self.units is None:
            return self.distribution(outputs).log_prob(y)
        # In standardized units a mean far from 0 costs no digits.
        found = self._standardized(tf.convert_to_tensor(outputs))
        found = found.log_prob(self.units.standardized(y))
        found -= tf.math.log(self.units.stddevs(found))
        return tf.reduce_sum(found, axis=-1)

    def crps(self, y: Tensor, outputs: Tensor) -> Tensor:
        """Computes the CRPS of each target, `[..., k]`, in closed form.

        It is that of one draw's outputs; of the mixture over draws it is
        `tfpbnn.metrics.crps` of a prediction.

        Args:
            y: the targets, `[..., k]`.
            outputs: the model's outputs, `[..., params_size(k)]`.

        Raises:
            ValueError: if there is no closed form.
        """
        y = self.align(y, outputs)
        standardized = self._standardized(tf.convert_to_tensor(outputs))
        if self.units is None:
            return self._crps(standardized, y)
        found = self._crps(standardized, self.units.standardized(y))
        return found * self.units.stddevs(found)

    def _crps(self, distribution: Any, y: Tensor) -> Tensor:
        """Computes `crps` of what `_marginals` made, in its units."""
        raise ValueError(
            "`likelihood` must have a closed form of the CRPS: Normal, Laplace,"
            " StudentT of more than 1 degree of freedom, MixtureNormal or "
            f"Poisson. Received: {self!r}. For others there is "
            "`tfpbnn.metrics.crps` of a prediction"
        )

    def ignored(self, y: Any, outputs: Any) -> Any:
        """Says where targets are labels to ignore.

        Args:
            y: the targets, an array or a tensor, as they were given.
            outputs: the model's outputs, of which only the shape is read.

        Returns:
            Booleans of the shape of y; None if there are no such labels.
        """
        return None

    def __call__(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Any = None
    ) -> Tensor:
        # Keras would apply mask and weights of places after `call`, by when
        # places are summed.
        mask = mask_of(y_pred)
        y_pred = tf.cast(tf.identity(y_pred), self.dtype)
        places = places_of(y_pred, mask, sample_weight, type(self).__name__)
        y_pred._places = places
        return super().__call__(y_true, y_pred, places.row_weights)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Computes the negative log-likelihood of each example, `[B]`.

        Values at places that are masked, ignored or of weight 0 don't matter.
        """
        places = getattr(y_pred, "_places", Places())
        places = places.without(self.ignored(y_true, y_pred), y_pred)
        y_true, y_pred = places.filled(y_true, y_pred)
        words, low, high = self.support(y_pred.shape[-1])
        valid = tf.math.is_finite(y_true) & (y_true >= low) & (y_true <= high)
        if self.is_integral(y_true, y_pred):
            valid &= tf.floor(y_true) == y_true
        check = tf.debugging.Assert(
            tf.reduce_all(valid),
            [
                f"`y`: {type(self).__name__} needs {words}. Received: values "
                "from, to",
                *(tf.reduce_min(y_true), tf.reduce_max(y_true)),
            ],
        )
        with tf.control_dependencies([] if check is None else [check]):
            nll = -self.log_prob(y_true, y_pred)
        # XLA leaves out assertions, and would read labels beyond the last.
        nan = tf.constant(float("nan"), nll.dtype)
        nll += tf.where(tf.reduce_all(valid), tf.zeros_like(nan), nan)
        return places.sum(nll)

    def get_config(self) -> Config:
        config = {"reduction": self.reduction, "name": self.name}
        if self.units is not None:
            config["units"] = [list(part) for part in self.units]
        if self.recalibration is not None:
            saved = keras.saving.serialize_keras_object
            config["recalibration"] = saved(self.recalibration)
        return config

    @classmethod
    def from_config(cls: type[LikelihoodT], config: Config) -> LikelihoodT:
        config = dict(config)
        saved = config.pop("units", None)
        after = config.pop("recalibration", None)
        likelihood = cls(**config)
        if after is not None:
            after = keras.saving.deserialize_keras_object(after)
        likelihood.recalibration = after
        if saved is not None:
            likelihood.units = Units(*map(tuple, saved))
        return likelihood

    def __repr__(self) -> str:
        shown = [
            f"{name}={value}"
            for name, value in sorted(self.get_config().items())
            if name not in ("name", "reduction", "units", "recalibration")
        ]
        words = f"{type(self).__name__}({', '.join(shown)})"
        words += "" if self.units is None else f" in {self.units}"
        after = self.recalibration
        return words if after is None else f"{words} recalibrated by {after}"
