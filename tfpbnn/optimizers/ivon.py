"""Defines IVON, natural-gradient variational inference at Adam's price."""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import keras
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base import checks, keras_private, registry
from tfpbnn.base.types import Config, Tensor
from tfpbnn.layers.drawn.base import DrawnValues
from tfpbnn.networks.copying import clone, compile_like
from tfpbnn.optimizers import checking
from tfpbnn.optimizers.draws import perturbed
from tfpbnn.posteriors.diagonal_normal import DiagonalNormalPosterior

_COUNTED = "the number of examples, counted by `fit`"


@registry.register("optimizers")
class IVON(keras.optimizers.Optimizer):
    """Improved Variational Online Newton: trains a Normal over the weights.

    The network's weights are the mean m of a diagonal Normal. Its variances are
    `1 / (ess * (h + weight_decay))`, where h estimates the diagonal of the
    Hessian of the loss, the mean over examples. Each step computes gradients at
    draws from this Normal, and moves m by a natural-gradient step and h by the
    products of gradients and noise. At the optimum the precision is `ess` times
    the expected Hessian plus `ess * weight_decay`, the prior's: the prior of
    each weight is `Normal(0, 1 / sqrt(ess * weight_decay))`.

    `tfpbnn.Model` and `tfpbnn.Sequential` take the draws in `fit`. Loops of
    one's own call `gradients`, or open `sampled` for each step. All trainable
    weights have the distribution; freeze the others by `trainable=False`.
    `fit` tells the optimizer what the loss is divided by, so that losses that
    are sums, or means over places too, train the same posterior; in loops of
    one's own the loss must be the mean over examples.

    Of Keras's arguments, `clipnorm`, `clipvalue` and `global_clipnorm` clip the
    gradient that moves the mean, not the estimate of the Hessian, and `use_ema`
    averages the means. Gradients can't be accumulated over steps: `num_mc` and
    the batch size do what that would.

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
            Larger than Adam's: 0.1 is a good start for networks trained from
            scratch.
        ess: the effective sample size, a positive number; the number of
            training examples for the Bayesian posterior, less for a wider one.
            None counts the examples in `fit`.
        hess_init: the initial value of h, positive. Draws of the first steps
            have the standard deviation `1 / sqrt(ess * (hess_init +
            weight_decay))`: where training diverges, it is too small.
        beta_1: the decay of the mean of gradients, from 0 to below 1.
        beta_2: the decay of h, from 0 to below 1. After T steps h has
            forgotten `hess_init` by the factor `beta_2**T`: for short trainings
            take `1 - 1 / T` or less.
        weight_decay: the precision of the prior divided by `ess`, 0 or more.
        num_mc: the number of draws of each step.
        clip_radius: the largest change of a weight before it is multiplied by
            the learning rate, positive; infinity for none.
        rescale_lr: whether the learning rate is multiplied by `hess_init +
            weight_decay`, so that the first steps are those of SGD.
        seed: an integer, for the same draws each time; None takes one, which
            follows `keras.utils.set_random_seed`.

    Raises:
        ValueError: if an argument is out of range; at the first step, if
            weights have a constraint or are of 16 bits; at each trace of a
            step, if no draw was taken, or if weights have no gradient.

    Example:
    ```python
    model = tfpbnn.Sequential([
        keras.Input((4,)),
        keras.layers.Dense(32, activation="relu"),
        keras.layers.Dense(2),
    ])
    x, y = keras.random.normal((64, 4)), keras.random.normal((64, 1))
    optimizer = tfpbnn.optimizers.IVON(0.1, hess_init=0.5, beta_2=0.999)
    model.compile(optimizer, loss=tfpbnn.likelihoods.Normal())
    model.fit(x, y, epochs=2, verbose=0)
    posterior = optimizer.posterior(model)
    p = tfpbnn.predict(posterior, x, num_samples=10)
    ```

    Reference:
        [Shen et al., 2024](https://arxiv.org/abs/2402.17641)
    """

    def __init__(
        self,
        learning_rate: Any = 0.1,
        ess: float | None = None,
        hess_init: float = 1.0,
        beta_1: float = 0.9,
        beta_2: float = 0.99999,
        weight_decay: float = 1e-4,
        num_mc: int = 1,
        clip_radius: float = math.inf,
        rescale_lr: bool = True,
        *,
        seed: int | None = None,
        name: str = "ivon",
        **kwargs: Any,
    ):
        checking.refuse_accumulation(kwargs)
        if isinstance(learning_rate, int | float):
            learning_rate = checks.non_negative("learning_rate", learning_rate)
        super().__init__(learning_rate, name=name, **kwargs)
        self.ess = checks.positive_number.optional("ess", ess, _COUNTED)
        self.hess_init = checks.positive_number("hess_init", hess_init)
        self.beta_1 = checks.rate("beta_1", beta_1)
        self.beta_2 = checks.rate("beta_2", beta_2)
        self.prior_decay = checks.non_negative("weight_decay", weight_decay)
        self.num_mc = checks.positive_integer("num_mc", num_mc)
        self.clip_radius = checking.radius("clip_radius", clip_radius)
        self.rescale_lr = bool(rescale_lr)
        self.seed = checks.seed(seed)
        # What was drawn, or its products with gradients, until `apply`.
        self._drawn: dict[int, Tensor] | None = None
        self._products: dict[int, Tensor] | None = None
        self._add_state()

    def _add_state(self) -> None:
        """Adds what a resumed training needs beside the means and Hessians."""
        self._ess = self._scalar("ess", "float32", self.ess or 0.0)
        self._loss_factor = self._scalar("loss_factor", "float32", 1.0)
        self._num_draws = self._scalar("num_draws", "int64", 0)
        key = random.as_key(
            random.any_seed() if self.seed is None else self.seed
        )
        self._key = self.add_variable((2,), "zeros", "int64", name="key")
        self._key.assign(key)

    def _scalar(self, name: str, dtype: str, value: float) -> keras.Variable:
        variable = self.add_variable((), "zeros", dtype, name=name)
        variable.assign(value)
        return variable

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Makes the state of each weight: its Hessian and mean gradient."""
        if self.built:
            return
        variables = list(variables)
        checking.check_variables(variables)
        super().build(variables)
        initial = keras.initializers.Constant(self.hess_init)
        self._means, self._hessians = self.add_optimizer_variables(
            variables, ["momentum", "hessian"], ["zeros", initial]
        )

    def exclude_from_weight_decay(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(
            "All weights have the prior that `weight_decay` is the precision "
            "of: a weight without one may have no posterior. Freeze weights "
            "that are to have none, by `trainable=False`."
        )

    @property
    def num_examples(self) -> float | None:
        """The number of examples that was given, as `ess`; else None."""
        return self.ess

    def weigh(self, num_examples: float | None, factor: float) -> None:
        """Says what the loss is, as `fit` of this package's models does.

        Args:
            num_examples: the number of training examples, which is taken for
                `ess` if that was not given; None for what was counted before.
            factor: what makes of the loss the mean over examples: 1 for such a
                mean, one over the rows of a batch for a sum.
        """
        self._loss_factor.assign(checks.positive_number("factor", factor))
        if num_examples is not None and self.ess is None:
            self._ess.assign(
                checks.positive_number("num_examples", num_examples)
            )

    @contextlib.contextmanager
    def sampled(self, model: Any) -> Iterator[None]:
        """Gives weights the values of a new draw inside of the context.

        Open it inside of the gradient's tape, and compute the loss, with its
        regularizers, in it. `apply` then expects the gradients of that loss.
        The variables themselves stay at the mean.

        Args:
            model: a model, of which the trainable weights are drawn, or a list
                of variables.

        Raises:
            ValueError: if `ess` is unknown.

        Example:
        ```python
        network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        optimizer = tfpbnn.optimizers.IVON(0.1, ess=64)
        x, y = tf.random.normal((64, 4)), tf.random.normal((64, 1))
        for _ in range(2):
            with tf.GradientTape() as tape, optimizer.sampled(network):
                loss = tf.reduce_mean((network(x) - y) ** 2) / 2
            gradients = tape.gradient(loss, network.trainable_variables)
            optimizer.apply(gradients, network.trainable_variables)
        ```
        """
        variables = list(getattr(model, "trainable_variables", model))
        if not self.built:
            with tf.init_scope():
                self.build(variables)
        checking.check_ess(self._ess)
        checking.check_replicas()
        values = self._draw(variables)
        indices = list(map(self._slot, variables))
        self._drawn = dict(zip(indices, values, strict=True))
        self._products = None
        with DrawnValues(list(zip(variables, values, strict=True))):
            yield

    def gradients(
        self, loss: Callable[[], Tensor], variables: Any, scale: Any = None
    ) -> list[Tensor]:
        """Computes the mean of the gradients at `num_mc` draws, for `apply`.

        Args:
            loss: a function without arguments that returns a scalar. It is
                called once for each draw, with the weights drawn.
            variables: the trainable weights, or the model that has them.
            scale: the number that the loss was multiplied with, against
                underflow; None for 1.

        Returns:
            A gradient for each weight, with the scale that the loss has.

        Raises:
            ValueError: if `ess` is unknown, or weights have no gradient.
        """
        variables = list(getattr(variables, "trainable_variables", variables))
        found, products = [], []
        for _ in range(self.num_mc):
            with tf.GradientTape() as tape, self.sampled(variables):
                value = loss()
            # Of the draws themselves: what a layer has computed apart, by a
            # tf.function that was traced before, has gradients at the means.
            assert self._drawn is not None
            drawn = [self._drawn[self._slot(v)] for v in variables]
            gradients = tape.gradient(value, drawn)
            found.append(checking.dense(gradients, variables, checking.IN_TAPE))
            if self.num_mc > 1:
                products.append(self._with_noise(found[-1], variables, scale))
        if self.num_mc == 1:
            return found[0]
        self._products = {
            index: tf.add_n([each[index] for each in products]) / self.num_mc
            for index in products[0]
        }
        columns = zip(*found, strict=True)
        return [tf.add_n(list(each)) / self.num_mc for each in columns]

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Updates mean and Hessian by gradients at the last draws.

        Args:
            grads: the gradients, of `gradients` or of a loss that was computed
                in `sampled`.
            trainable_variables: their weights.

        Raises:
            ValueError: if no draw was taken, or one outside of the tf.function
                that `apply` is called in; if weights have no gradient.
        """
        checking.check_drawn(self._drawn)
        grads, variables = checking.given(
            self, grads, trainable_variables, checking.IN_TAPE
        )
        if self._products is None:
            self._products = self._with_noise(
                grads, variables, self.loss_scale_factor
            )
        super().apply(grads, variables)
        self._drawn = self._products = None

    def update_step(
        self, gradient: Tensor, variable: Any, learning_rate: Any
    ) -> None:
        """Does the step of one weight: equations 3 to 5 of the paper."""
        index, dtype = self._slot(variable), variable.dtype
        mean, hessian = self._means[index], self._hessians[index]
        assert self._products is not None

        def number(value: Any) -> Tensor:
            return tf.cast(value, dtype)

        factor, decay = number(self._loss_factor), number(self.prior_decay)
        count = tf.cast(self.iterations, "float64") + 1
        # In float64, since 1 - beta_1 has few digits in float32.
        debias = number(1 - tf.pow(tf.constant(self.beta_1, "float64"), count))
        average = mean + number(1 - self.beta_1) * (factor * gradient - mean)
        precision = hessian + decay
        estimate = number(self._ess) * precision
        estimate *= factor * tf.cast(self._products[index], dtype)
        change = number(1 - self.beta_2) * (estimate - hessian)
        changed = hessian + change + change**2 / (2 * precision)
        step = (average / debias + decay * variable) / (changed + decay)
        if math.isfinite(self.clip_radius):
            step = tf.clip_by_value(step, -self.clip_radius, self.clip_radius)
        rate = number(learning_rate)
        if self.rescale_lr:
            rate *= self.hess_init + self.prior_decay
        self.assign(mean, average)
        self.assign(hessian, changed)
        self.assign_sub(variable, rate * step)

    def posterior(self, model: keras.Model) -> DiagonalNormalPosterior:
        """Makes the Normal over the weights of a model that was trained.

        It is a copy: further training does not change it. It is compiled with
        the model's loss and metrics. The mean is the model's weights, wherever
        they are from; the deviations are those after the last step, also of
        weights that were frozen since.

        Args:
            model: the model that this optimizer has trained.

        Raises:
            ValueError: if the optimizer has trained none of its weights, if
                they are not finite, or if the model can't be copied.
        """
        slots = {
            index: slot
            for index, v in enumerate(model.weights)
            if (slot := keras_private.slot_index(self, v)) is not None
        }
        checking.check_trained(model, slots, self._ess)
        posterior = DiagonalNormalPosterior(
            clone(model, compiled=False), tuple(slots)
        )
        for stddev, slot in zip(posterior.stddevs, slots.values(), strict=True):
            stddev.assign(self._stddev(self._hessians[slot]))
        compile_like(posterior, model, "sgd")
        return posterior

    def get_config(self) -> Config:
        names = "ess", "hess_init", "beta_1", "beta_2", "num_mc", "clip_radius"
        own = {name: getattr(self, name) for name in names}
        return {
            **super().get_config(),
            **own,
            "weight_decay": self.prior_decay,
            "rescale_lr": self.rescale_lr,
            "seed": self.seed,
        }

    def _slot(self, variable: Any) -> int:
        index = keras_private.slot_index(self, variable)
        if index is None:
            raise ValueError(
                "The optimizer must be built for all trainable weights. "
                f"Received: {getattr(variable, 'path', variable.name)}, which "
                "was not among them. Compile with a new optimizer after layers "
                "were unfrozen, and each model with one of its own"
            )
        return index

    def _stddev(self, hessian: keras.Variable) -> Tensor:
        value = tf.convert_to_tensor(hessian)
        ess = tf.cast(self._ess, value.dtype)
        return tf.math.rsqrt(ess * (value + self.prior_decay))

    def _draw(self, variables: Sequence[keras.Variable]) -> list[Tensor]:
        key = random.fold(tf.convert_to_tensor(self._key), self._num_draws)
        self._num_draws.assign_add(1)
        hessians = [self._hessians[self._slot(v)] for v in variables]
        return perturbed(variables, hessians, self._stddev, key)

    def _with_noise(
        self, gradients: Any, variables: Any, scale: Any
    ) -> dict[int, Tensor]:
        """Multiplies gradients by the noise that they were computed with."""
        assert self._drawn is not None
        found = {}
        for gradient, variable in zip(gradients, variables, strict=True):
            index = self._slot(variable)
            noise = self._drawn[index] - tf.convert_to_tensor(variable)
            product = tf.cast(gradient, noise.dtype) * noise
            found[index] = product if scale is None else product / scale
        return found
