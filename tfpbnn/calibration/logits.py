"""Calibrators of labels that map the logits of each draw."""

import abc
import math
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from tfpbnn.base import checks, registry
from tfpbnn.base.types import Array, Config, Tensor
from tfpbnn.calibration import fitting
from tfpbnn.calibration.base import Calibrator, HeldOut, one_hot
from tfpbnn.likelihoods import Bernoulli, Categorical

# Temperatures from 1 / this to this are believed.
_MOST = 100.0
# Of so many rows, and up to twice as many, curvatures are roughly known.
_ENOUGH = 5_000


class LogitMap(Calibrator):
    """A map of logits, fitted by the likelihood of the mixture over draws.

    Each draw's logits are mapped, and then averaged over as before. So draws
    stay draws, and the epistemic part of what they say is theirs.
    """

    # Of a number whose size is more there is no minimum.
    _most: ClassVar[float] = 1e4

    @abc.abstractmethod
    def _mapped(self, numbers: Tensor, logits: Tensor) -> Tensor:
        """Maps logits `[..., K]` by numbers `[D]`."""

    @abc.abstractmethod
    def _start(self, size: int) -> Array:
        """Returns the numbers `[D]` that leave K logits as they are."""

    def _penalty(self, numbers: Tensor, size: int) -> Tensor:
        return tf.zeros([], numbers.dtype) * numbers[0]

    def _rough(self, likelihood: Any, data: HeldOut) -> fitting.Rough | None:
        """Returns about the inverse of second derivatives, for the search."""
        return None

    def _needs_all_classes(self) -> bool:
        return True

    def _targets_of(self, likelihood: Any, y: Array, weights: Array) -> Array:
        """Returns what the likelihood is taken of, `[n, K]`."""
        return y

    def _fit(self, likelihood: Any, data: HeldOut) -> dict[str, Array]:
        size = data.outputs.shape[-1]
        y = one_hot(likelihood, data.y, size)
        self._check_classes(likelihood, y, data.weights)
        y = self._targets_of(likelihood, y, data.weights)
        is_one = isinstance(likelihood, Categorical)

        def log_likelihood(numbers: Tensor, z: Tensor, y: Tensor) -> Tensor:
            z = self._mapped(numbers, likelihood.calibrated_logits(z))
            if is_one:
                log_p = fitting.log_mean_exp(tf.nn.log_softmax(z))
                return tf.reduce_sum(y * log_p, axis=-1)
            yes = fitting.log_mean_exp(tf.math.log_sigmoid(z))
            no = fitting.log_mean_exp(tf.math.log_sigmoid(-z))
            return tf.reduce_sum(y * yes + (1 - y) * no, axis=-1)

        arrays = (data.outputs, y, data.weights)
        numbers = fitting.minimum(
            log_likelihood,
            self._start(size),
            *arrays,
            penalty=lambda numbers: self._penalty(numbers, size),
            name=type(self).__name__,
            most=self._most,
            rough=self._rough(likelihood, data),
        )
        value = fitting.value_of(log_likelihood, numbers, *arrays)
        fitting.check_has_errors(value, type(self).__name__)
        found = {"numbers": numbers, "size": np.array([size], np.float64)}
        if len(numbers) == 1:
            curved = fitting.curvature(log_likelihood, numbers, *arrays)
            count = np.sum(data.weights) ** 2 / np.sum(data.weights**2)
            found["error"] = np.array(
                [1 / np.sqrt(max(curved * count, 1e-300))]
            )
        return found

    def _check_classes(self, likelihood: Any, y: Array, weights: Array) -> None:
        if not self._needs_all_classes():
            return
        total = weights @ y
        missing = total <= 0
        if not isinstance(likelihood, Categorical):
            missing |= weights @ (1 - y) <= 0
        if np.any(missing):
            raise ValueError(
                f"`y` must have labels of all {len(total)} classes for "
                f"{type(self).__name__}, and of independent labels both yes "
                f"and no. Received: none of {np.flatnonzero(missing)[:10]}. "
                "Temperature needs no label of each"
            )

    def _logits(self, logits: Tensor) -> Tensor:
        size = int(self._number("size")[0])
        if logits.shape[-1] != size:
            raise ValueError(
                f"`{type(self).__name__}` must be used for as many logits as "
                f"it was fitted to, {size}. Received: {logits.shape[-1]}"
            )
        numbers = tf.constant(self._number("numbers"), logits.dtype)
        return self._mapped(numbers, logits)


@registry.register("calibration")
class Temperature(LogitMap):
    """Divides all logits by one number, the temperature.

    A temperature above 1 makes an overconfident model less sure. Labels don't
    change. One number is learned of a few hundred rows, and hardly overfits:
    begin with this one. For `Bernoulli`, all labels share the temperature.

    Example:
    ```python
    rng = np.random.default_rng(0)
    logits = 3.0 * rng.normal(size=(500, 4))            # too sure by 3
    labels = np.argmax(logits / 3 + rng.gumbel(size=(500, 4)), axis=-1)
    found = tfpbnn.calibration.Temperature().fit_arrays(logits, labels)
    found.temperature, found.standard_error             # 3.0, 0.2 about
    ```

    Reference:
        [Guo et al., 2017](https://arxiv.org/abs/1706.04599)
    """

    _most = math.log(2 * _MOST)

    @property
    def temperature(self) -> float:
        """The temperature that was fitted."""
        return float(np.exp(self._number("numbers")[0]))

    @property
    def standard_error(self) -> float:
        """The standard error of the temperature, for independent rows."""
        return self.temperature * float(self._number("error")[0])

    def _needs_all_classes(self) -> bool:
        return False

    def _start(self, size: int) -> Array:
        return np.zeros(1)

    def _mapped(self, numbers: Tensor, logits: Tensor) -> Tensor:
        return logits * tf.exp(-numbers[0])

    def _fit(self, likelihood: Any, data: HeldOut) -> dict[str, Array]:
        found = super()._fit(likelihood, data)
        temperature = float(np.exp(found["numbers"][0]))
        if not 1 / _MOST < temperature < _MOST:
            raise ValueError(
                "`Temperature` must be fitted on rows that are predicted "
                "better than by chance, and not without error. Received: "
                f"predictions of which the best temperature is "
                f"{temperature:.3g}. Check that x and y belong together, and "
                "give it more rows"
            )
        return found


@registry.register("calibration")
class VectorScaling(LogitMap):
    """Multiplies each class's logit by a number and adds another.

    Unlike a temperature it can mend classes that are predicted too often. It
    has 2 K numbers: take a hundred rows or more for each class.

    Example:
    ```python
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(500, 4))
    labels = np.argmax(logits + rng.gumbel(size=(500, 4)), axis=-1)
    tfpbnn.calibration.VectorScaling().fit_arrays(logits, labels)
    ```

    Reference:
        [Guo et al., 2017](https://arxiv.org/abs/1706.04599)
    """

    def _start(self, size: int) -> Array:
        return np.concatenate([np.ones(size), np.zeros(size)])

    def _mapped(self, numbers: Tensor, logits: Tensor) -> Tensor:
        size = logits.shape[-1]
        return logits * numbers[:size] + numbers[size:]

    @property
    def scales(self) -> Array:
        """The numbers that logits are multiplied by, `[K]`."""
        return self._number("numbers")[: int(self._number("size")[0])]

    @property
    def offsets(self) -> Array:
        """The numbers that are added, `[K]`."""
        return self._number("numbers")[int(self._number("size")[0]) :]


class _MatrixMap(LogitMap):
    """A matrix on logits, and an offset, with a penalty of ODIR's."""

    def __init__(self, off_diagonal: float = 0.01, intercept: float = 0.01):
        super().__init__()
        self.off_diagonal = checks.non_negative("off_diagonal", off_diagonal)
        self.intercept = checks.non_negative("intercept", intercept)

    def _start(self, size: int) -> Array:
        return np.concatenate([np.eye(size).ravel(), np.zeros(size)])

    def _check_kind(self, likelihood: Any) -> None:
        super()._check_kind(likelihood)
        if not isinstance(likelihood, Categorical):
            raise ValueError(
                f"`{type(self).__name__}` must be used for one label of K "
                f"classes. Received: the likelihood {likelihood!r}; for "
                "independent labels there are Temperature and Platt"
            )

    def _features(self, logits: Tensor) -> Tensor:
        """Returns what the matrix is multiplied with, `[..., K]`."""
        return logits

    def _mapped(self, numbers: Tensor, logits: Tensor) -> Tensor:
        size = logits.shape[-1]
        matrix = tf.reshape(numbers[:-size], [size, size])
        return (
            tf.linalg.matmul(self._features(logits), matrix) + numbers[-size:]
        )

    def _rough(self, likelihood: Any, data: HeldOut) -> fitting.Rough:
        """Takes all classes for equally likely, and some rows for all.

        Features, such as log-probabilities, have a mean far from 0 and go
        together, so that without this searches take ten times as long.
        """
        rows = data.outputs[:1, :: max(1, len(data.y) // _ENOUGH)]
        logits = likelihood.calibrated_logits(tf.constant(rows, tf.float64))
        found = self._features(logits).numpy()[0]
        size = found.shape[-1]
        found = np.concatenate([found, np.ones((len(found), 1))], axis=-1)
        held = np.full(size, self.off_diagonal / (size - 1))
        held = 2 * np.append(held, self.intercept) + 1e-9
        curved = found.T @ found / len(found) + np.diag(held)
        inverse = size * np.linalg.inv(curved)

        def rough(gradient: Array) -> Array:
            # What moves all classes alike changes the penalty alone.
            apart = gradient.reshape(size + 1, size)
            alike = np.mean(apart, axis=1, keepdims=True)
            steps = inverse @ (apart - alike)
            return np.ravel(steps + size * alike / held[:, np.newaxis])

        return rough

    def _penalty(self, numbers: Tensor, size: int) -> Tensor:
        matrix = tf.reshape(numbers[:-size], [size, size])
        off = tf.linalg.set_diag(matrix, tf.zeros(size, matrix.dtype))
        off = tf.reduce_sum(tf.square(off)) / (size * (size - 1))
        offsets = tf.reduce_mean(tf.square(numbers[-size:]))
        return self.off_diagonal * off + self.intercept * offsets

    @property
    def matrix(self) -> Array:
        """The matrix `[K, K]`, from logits (rows) to new ones (columns)."""
        size = int(self._number("size")[0])
        return self._number("numbers")[:-size].reshape(size, size)

    @property
    def offsets(self) -> Array:
        """The numbers that are added, `[K]`."""
        return self._number("numbers")[-int(self._number("size")[0]) :]

    def get_options(self) -> Config:
        return {"off_diagonal": self.off_diagonal, "intercept": self.intercept}


@registry.register("calibration")
class MatrixScaling(_MatrixMap):
    """Multiplies the logits by a matrix, and adds an offset to each.

    It has K (K + 1) numbers, of which those off the diagonal and the offsets
    are held small (ODIR): for few classes and thousands of rows.

    Args:
        off_diagonal: the factor of the mean square off the diagonal.
        intercept: the factor of the mean square of the offsets.

    Example:
    ```python
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(500, 3))
    labels = np.argmax(logits + rng.gumbel(size=(500, 3)), axis=-1)
    tfpbnn.calibration.MatrixScaling().fit_arrays(logits, labels).matrix
    ```

    Reference:
        [Guo et al., 2017](https://arxiv.org/abs/1706.04599); ODIR is of
        [Kull et al., 2019](https://arxiv.org/abs/1910.12656)
    """


@registry.register("calibration")
class Dirichlet(_MatrixMap):
    """Multiplies log-probabilities by a matrix, and adds offsets.

    It is what Bayes' rule gives if the probabilities of each class have a
    Dirichlet distribution. It does not matter how logits are shifted, nor
    whether the model ends in a softmax.

    Args:
        off_diagonal: the factor of the mean square off the diagonal.
        intercept: the factor of the mean square of the offsets.

    Example:
    ```python
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(500, 3))
    labels = np.argmax(logits + rng.gumbel(size=(500, 3)), axis=-1)
    tfpbnn.calibration.Dirichlet().fit_arrays(logits, labels).matrix
    ```

    Reference:
        [Kull et al., 2019](https://arxiv.org/abs/1910.12656)
    """

    def _features(self, logits: Tensor) -> Tensor:
        return tf.nn.log_softmax(logits)


@registry.register("calibration")
class Platt(LogitMap):
    """Maps the logit of a yes-or-no label to `scale * logit + offset`.

    It is for `Bernoulli`; of several labels each has its own two numbers.
    Labels are smoothed as Platt does, by one more of each, so that there is
    always a minimum.

    Example:
    ```python
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(500, 1))
    labels = rng.uniform(size=(500, 1)) < 1 / (1 + np.exp(-logits))
    tfpbnn.calibration.Platt().fit_arrays(
        logits, labels, likelihood=tfpbnn.likelihoods.Bernoulli()
    ).scales
    ```

    Reference:
        Platt, 1999, Probabilistic outputs for support vector machines
    """

    def _check_kind(self, likelihood: Any) -> None:
        super()._check_kind(likelihood)
        if not isinstance(likelihood, Bernoulli):
            raise ValueError(
                "`Platt` must be used for yes-or-no labels (Bernoulli). "
                f"Received: the likelihood {likelihood!r}; for K classes there "
                "are Temperature and VectorScaling"
            )

    def _needs_all_classes(self) -> bool:
        return False

    def _start(self, size: int) -> Array:
        return np.concatenate([np.ones(size), np.zeros(size)])

    def _mapped(self, numbers: Tensor, logits: Tensor) -> Tensor:
        size = logits.shape[-1]
        return logits * numbers[:size] + numbers[size:]

    def _targets_of(self, likelihood: Any, y: Array, weights: Array) -> Array:
        yes = weights @ y
        no = np.sum(weights) - yes
        return y * (yes + 1) / (yes + 2) + (1 - y) / (no + 2)

    @property
    def scales(self) -> Array:
        """The numbers that the logits of the labels are multiplied by."""
        return self._number("numbers")[: int(self._number("size")[0])]

    @property
    def offsets(self) -> Array:
        """The numbers that are added."""
        return self._number("numbers")[int(self._number("size")[0]) :]
