"""Conformal sets of labels."""

import abc
from typing import Any

import numpy as np
import tensorflow as tf

from tfpbnn.base import checks, registry
from tfpbnn.base.types import Array, Config, Tensor
from tfpbnn.calibration.conformal import shares
from tfpbnn.calibration.conformal.base import Conformal
from tfpbnn.likelihoods import Categorical
from tfpbnn.prediction.results import Predictive


class LabelSets(Conformal):
    """Sets of labels, of which the true one is a member as often as wanted.

    They are for one label of K classes, or for one of yes or no (`Bernoulli`),
    which counts as two classes.
    """

    # That of random numbers, where there are some.
    seed = 0

    @abc.abstractmethod
    def _class_scores(self, p: Tensor, share: Tensor | None) -> Tensor:
        """Computes the score of each class, `[..., K]`, of probabilities.

        Args:
            p: the probabilities, `[..., K]`.
            share: for randomized sets the share of a label that is counted,
                `[..., 1]`; else None.
        """

    def sets(
        self,
        predictive: Predictive,
        *,
        groups: Any = None,
        sample_weight: Any = None,
        coverage: float | None = None,
        seed: Any = None,
        uniforms: Any = None,
    ) -> Array:
        """Finds the labels that can't be ruled out.

        Randomized sets take a random number for each place. By default it is
        one of the place and its probabilities, so that sets are the same each
        time. With a seed, or uniforms, sets are those of an export whose
        request brings the same.

        Args:
            predictive: the predictions of N new rows.
            groups: the groups of these rows, if `fit` had some.
            sample_weight: the weights of these rows, if `fit` had some.
            coverage: another coverage than that of `fit`.
            seed: for randomized sets an integer, or one for each row `[N]`,
                which then has the set that it has alone: that of the signature
                `seeded`.
            uniforms: for randomized sets, in place of a seed, numbers from 0 to
                1 for rows or places, which have to be drawn evenly.

        Returns:
            Booleans `[N, ..., K]`.

        Raises:
            ValueError: if it is not fitted, or an argument does not fit.
        """
        checks.open_fraction.optional("coverage", coverage)
        limits = self.thresholds(predictive, groups, sample_weight, coverage)
        places = predictive.outputs_shape[:-1]
        self._check_random(seed, uniforms)
        share = shares.given(seed, uniforms, self.seed, places)
        return self.within(predictive, limits, share)

    def _check_random(self, *numbers: Any) -> None:
        if not self.is_randomized and any(one is not None for one in numbers):
            raise ValueError(
                "`seed` and `uniforms` must be None for sets without random "
                f"numbers. Received: one of them, for {self!r}"
            )

    def within(
        self, predictive: Predictive, limits: Array, share: Any = None
    ) -> Array:
        """Finds the labels whose scores are within limits, `[N, ..., K]`.

        Args:
            predictive: the predictions of N rows.
            limits: the largest scores, `[N, ..., 1]` or `[N, ..., K]`.
            share: random numbers `[N, ..., 1]`; None for those of `sets`.
        """
        scores = self._all_scores(predictive, True, share).numpy()
        return ~(scores > limits)  # where they are NaN nothing is ruled out

    def _answers(
        self, predictive: Any, limits: Tensor, share: Tensor | None
    ) -> dict[str, Tensor]:
        scores = self._class_scores(_probabilities(predictive), share)
        return {"sets": tf.cast(scores <= limits, scores.dtype)}

    def _all_scores(
        self, predictive: Any, is_new: bool, share: Any = None
    ) -> Tensor:
        p = _probabilities(predictive)
        if share is None and self.is_randomized:
            share = shares.of_predictions(p.numpy(), 2 * self.seed + is_new)
        return self._class_scores(p, share)

    def _check_kind(self, predictive: Any) -> None:
        likelihood = predictive.likelihood
        is_one = isinstance(likelihood, Categorical)
        if likelihood.is_classification and not is_one:
            is_one = predictive.outputs_shape[-1] == 1
        if not is_one:
            raise ValueError(
                f"`{type(self).__name__}` must be used for one label of K "
                f"classes, or one of yes or no. Received: {likelihood!r} on "
                f"{predictive.outputs_shape[-1]} outputs. Give each of several "
                "labels a predictor of its own"
            )

    def _scores(
        self, predictive: Predictive, y: Array, is_new: bool = False
    ) -> Array:
        scores = self._all_scores(predictive, is_new).numpy()
        labels = self._classes(predictive, y)[..., np.newaxis]
        return np.take_along_axis(scores, labels, axis=-1)[..., 0]

    def _classes(self, predictive: Any, y: Array) -> Array:
        axes = len(predictive.outputs_shape) - 1
        if isinstance(predictive.likelihood, Categorical) and y.ndim > axes:
            if not np.all((y == 0) | (y == 1)):
                raise ValueError(
                    "`y` must be labels for conformal sets. Received: "
                    "probabilities of classes"
                )
            return np.argmax(y, axis=-1)
        return y.reshape(y.shape[:axes]).astype(np.int64)


def _probabilities(predictive: Any) -> Tensor:
    p = tf.convert_to_tensor(predictive.mean)
    if isinstance(predictive.likelihood, Categorical):
        return p
    return tf.concat([1 - p, p], axis=-1)


@registry.register("calibration")
class LAC(LabelSets):
    """All labels with a probability above one threshold: the smallest sets.

    The score is 1 minus the probability. Sets are the smallest on average, but
    may be empty where no label is probable, and cover hard rows less than easy
    ones.

    Example:
    ```python
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(1, 500, 3))
    y = np.argmax(logits[0] + rng.gumbel(size=(500, 3)), axis=-1)
    p = tfpbnn.prediction.ClassificationPredictive(
        logits, tfpbnn.likelihoods.Categorical()
    )
    found = tfpbnn.calibration.LAC().fit(p, y, coverage=0.9)
    found.sets(p)                                   # booleans, [500, 3]
    ```

    Reference:
        [Sadinle et al., 2019](https://arxiv.org/abs/1609.00451)
    """

    def _class_scores(self, p: Tensor, share: Tensor | None) -> Tensor:
        return 1 - p


class _Adaptive(LabelSets):
    """Sets that are filled from the most probable label on."""

    randomized: bool

    @property
    def is_randomized(self) -> bool:
        return self.randomized

    def _class_scores(self, p: Tensor, share: Tensor | None) -> Tensor:
        axes = len(p.shape) - 1
        order = tf.argsort(-p, axis=-1, stable=True)
        ordered = tf.gather(p, order, batch_dims=axes)
        # The sum up to a label, less 1: that of the labels after it is exact
        # where it is small, and 0 for the last one.
        scores = -tf.cumsum(ordered, axis=-1, exclusive=True, reverse=True)
        if share is not None:
            scores = scores - (1 - tf.cast(share, p.dtype)) * ordered
        scores = scores + tf.constant(self._penalties(p.shape[-1]), p.dtype)
        ranks = tf.argsort(order, axis=-1)
        return tf.gather(scores, ranks, batch_dims=axes)

    def _penalties(self, size: int) -> Array:
        return np.zeros(size)


@registry.register("calibration")
class APS(_Adaptive):
    """The most probable labels, as many as sum up to a threshold.

    Sets are larger than those of `LAC`, and adapt to how hard a row is.

    Args:
        randomized: whether the last label is in at random, for which sets are
            smaller and the coverage exact; False leaves it in, so that sets
            are the same each time, and larger.
        seed: that of the random numbers, 0 or more.

    Example:
    ```python
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(1, 500, 3))
    y = np.argmax(logits[0] + rng.gumbel(size=(500, 3)), axis=-1)
    p = tfpbnn.prediction.ClassificationPredictive(
        logits, tfpbnn.likelihoods.Categorical()
    )
    tfpbnn.calibration.APS().fit(p, y, coverage=0.9).sets(p)
    ```

    Reference:
        [Romano et al., 2020](https://arxiv.org/abs/2006.02544)
    """

    def __init__(self, randomized: bool = True, seed: int = 0):
        super().__init__()
        self.randomized = bool(randomized)
        self.seed = checks.integer("seed", seed, least=0)

    def get_options(self) -> Config:
        return {"randomized": self.randomized, "seed": self.seed}


@registry.register("calibration")
class RAPS(_Adaptive):
    """`APS` with a penalty on sets of many labels, for many classes.

    Args:
        penalty: what each label after the first `free` ones adds to the score.
        free: the number of labels without a penalty.
        randomized, seed: as of `APS`.

    Example:
    ```python
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(1, 500, 20))
    y = np.argmax(logits[0] + rng.gumbel(size=(500, 20)), axis=-1)
    p = tfpbnn.prediction.ClassificationPredictive(
        logits, tfpbnn.likelihoods.Categorical()
    )
    tfpbnn.calibration.RAPS(penalty=0.05).fit(p, y, coverage=0.9).sets(p)
    ```

    Reference:
        [Angelopoulos et al., 2021](https://arxiv.org/abs/2009.14193)
    """

    def __init__(
        self,
        penalty: float = 0.01,
        free: int = 5,
        randomized: bool = True,
        seed: int = 0,
    ):
        super().__init__()
        self.penalty = checks.non_negative("penalty", penalty)
        self.free = checks.integer("free", free, least=0)
        self.randomized = bool(randomized)
        self.seed = checks.integer("seed", seed, least=0)

    def _penalties(self, size: int) -> Array:
        ranks = np.arange(1, size + 1)
        return self.penalty * np.maximum(ranks - self.free, 0)

    def get_options(self) -> Config:
        return {
            "penalty": self.penalty,
            "free": self.free,
            "randomized": self.randomized,
            "seed": self.seed,
        }
