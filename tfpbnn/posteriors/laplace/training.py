"""Defines a callback that learns the prior's precision during training."""

from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base import checks, data
from tfpbnn.base.types import Tensor
from tfpbnn.callbacks import divisor as divisors
from tfpbnn.posteriors.laplace import prior, subsets
from tfpbnn.posteriors.laplace.fitting import laplace
from tfpbnn.posteriors.laplace.posterior import LaplacePosterior
from tfpbnn.posteriors.laplace.shares import divisors_of


class MarginalLikelihoodTraining(keras.callbacks.Callback):
    """Learns the precision of the weights' prior while a network trains.

    During `fit` the loss has the penalty of a Normal prior of mean 0 of the
    weights, `precision / 2 * sum(w**2)` over what the loss is divided by. Every
    few epochs a Laplace approximation of the network as it is gives the
    precision of the largest marginal likelihood, which is taken from then on:
    no held-out data are needed. The logs get `log_marginal_likelihood`, in
    nats, which compares networks.

    Args:
        x: the inputs of training, as in `laplace`; rows that can be read again.
        y: the targets, unless x brings them.
        every: the number of epochs between two updates.
        burn_in: the number of epochs before the first update.
        subset: the weights that have the prior, as in `laplace`.
        structure: of the curvature, as in `laplace`.
        by_layer: whether each layer has its own precision.
        prior_precision: that of the first epochs: a number, or a dict as in
            `laplace`.
        sample_weight: as in `laplace`, the weights that `fit` has.
        batch_size: as in `laplace`.

    Attributes:
        posterior: the `LaplacePosterior` of the last update; None before.
        history: for each update a dict of the `epoch`, the
            `prior_precision` and the `log_marginal_likelihood`.

    Raises:
        ValueError: if an argument is out of range; in `fit`, as `laplace`
            raises, or if a weight has a regularizer, which the prior is.

    Example:
    ```python
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("adam", loss=tfpbnn.likelihoods.Normal(scale=0.1))
    x, y = keras.random.normal((50, 4)), keras.random.normal((50,))
    learn_prior = tfpbnn.MarginalLikelihoodTraining(x, y, every=2)
    model.fit(x, y, epochs=4, verbose=0, callbacks=[learn_prior])
    learn_prior.posterior.prior_precision
    ```

    Reference:
        [Immer et al., 2021](https://arxiv.org/abs/2104.04975)
    """

    def __init__(
        self,
        x: Any,
        y: Any = None,
        every: int = 5,
        burn_in: int = 0,
        *,
        subset: Any = "all",
        structure: str = "kron",
        by_layer: bool = True,
        prior_precision: Any = 1.0,
        sample_weight: Any = None,
        batch_size: int = 256,
    ):
        super().__init__()
        self.every = checks.positive_integer("every", every)
        self.burn_in = checks.integer("burn_in", burn_in, least=0)
        self.by_layer = by_layer
        self._initial = prior_precision
        self._how = {
            "x": x,
            "y": y,
            "subset": subset,
            "structure": structure,
            "sample_weight": sample_weight,
            "batch_size": batch_size,
        }
        self._prior: _Penalties | None = None
        self.posterior: LaplacePosterior | None = None
        self.history: list[dict[str, Any]] = []

    def on_train_begin(self, logs: Any = None) -> None:
        variables = subsets.chosen(self.model, self._how["subset"])
        _check_plain(variables)
        precisions = prior.each(self._initial, variables)
        self._prior = _Penalties(variables, precisions, self._divisor())
        self.posterior, self.history = None, []
        self._trace_anew()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        done = epoch + 1 - self.burn_in
        if done > 0 and done % self.every == 0:
            self._update(epoch)
        if logs is not None and self.history:
            name = "log_marginal_likelihood"
            logs[name] = self.history[-1][name]

    def on_train_end(self, logs: Any = None) -> None:
        assert self._prior is not None
        self._prior.remove()
        self._prior = None
        self._trace_anew()

    def _update(self, epoch: int) -> None:
        assert self._prior is not None
        posterior = laplace(self.model, prior_precision=1.0, **self._how)
        posterior.tune(self.by_layer)
        self._prior.assign(
            prior.each(posterior.prior_precision, posterior.random_weights)
        )
        self.posterior = posterior
        self.history.append(
            {
                "epoch": epoch,
                "prior_precision": posterior.prior_precision,
                "log_marginal_likelihood": posterior.log_marginal_likelihood(),
            }
        )

    def _divisor(self) -> float:
        """What the losses of an epoch's batches are divided by."""
        x = self._how["x"]
        batches = self.params.get("steps")
        if data.is_stream(x):
            pairs = data.weighted_batches(x, self._how["batch_size"])
            rows = sum(data.length(inputs) for inputs, *_ in pairs)
        else:
            rows = data.length(x)
        names = ("x", "y", "sample_weight")
        given = {name: self._how[name] for name in names}
        parts, values = divisors_of(self.model, given, rows, batches)
        if not parts:
            return float(rows)
        return divisors.joint(self.model, parts, values)

    def _trace_anew(self) -> None:
        """Lets the next step know which weights have penalties."""
        self.model.make_train_function(force=True)
        self.model.make_test_function(force=True)


class _Penalties:
    """Penalties of weights, as regularizers that Keras adds to the loss.

    Args:
        variables: W weights.
        precisions: `[W]`.
        divisor: of the loss.
    """

    def __init__(
        self, variables: list[keras.Variable], precisions: Any, divisor: float
    ):
        self._variables, self._divisor = variables, divisor
        # No weights of the model, since they are no part of what it computes.
        self._factors = [tf.Variable(0.0, trainable=False) for _ in variables]
        self.assign(precisions)
        for variable, factor in zip(variables, self._factors, strict=True):
            variable.regularizer = _Penalty(factor)

    def assign(self, precisions: Any) -> None:
        for factor, precision in zip(self._factors, precisions, strict=True):
            factor.assign(0.5 * precision / self._divisor)

    def remove(self) -> None:
        for variable in self._variables:
            variable.regularizer = None


class _Penalty:
    """The penalty of one weight."""

    def __init__(self, factor: tf.Variable):
        self._factor = factor

    def __call__(self, weight: Any) -> Tensor:
        square = tf.reduce_sum(tf.square(tf.convert_to_tensor(weight)))
        return tf.cast(self._factor, square.dtype) * square


def _check_plain(variables: list[keras.Variable]) -> None:
    penalized = [
        v.path
        for v in variables
        # A training that was interrupted leaves its own behind.
        if not isinstance(v.regularizer, _Penalty | None)
    ]
    if penalized:
        raise ValueError(
            "`model` must have no regularizers on weights with a prior, which "
            f"is one. Received: regularizers of {penalized}. Build its layers "
            "without, or leave these out of `subset`"
        )
