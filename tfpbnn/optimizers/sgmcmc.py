"""Defines what the samplers by stochastic gradients share.

The energy of the weights is `U = N loss - log prior`, where the loss is a mean
over N rows of which a batch gives an estimate. Of losses that are sums, or
means over places too, `fit` finds the factor that makes them such a mean. A
step of the learning rate h is a step of the size h / N in U, so that learning
rates are those of SGD whatever the number of rows, and the noise is that of a
posterior of N rows.
"""

import abc
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import keras
import tensorflow as tf

from tfpbnn import priors, random
from tfpbnn.base import checks, keras_private
from tfpbnn.base.types import Config, Tensor
from tfpbnn.fused import mode, thresholds
from tfpbnn.optimizers import checking
from tfpbnn.optimizers.draws import normals

# Arguments of Keras's optimizers that would make another distribution of what
# is sampled, and what to do instead.
_CLIPPED = (
    "clipped gradients are those of another density. Take a smaller learning "
    "rate, or a schedule that begins with one"
)
_AVERAGED = (
    "an average of samples is no sample. Collect them by "
    "tfpbnn.ensembles.CollectSamples"
)
_REFUSED = {
    "clipnorm": _CLIPPED,
    "clipvalue": _CLIPPED,
    "ema_overwrite_frequency": _AVERAGED,
    "global_clipnorm": _CLIPPED,
    "use_ema": _AVERAGED,
    "weight_decay": (
        "the decay of weights is their prior: pass prior=weight_decay * "
        "num_examples, the precision of a Normal"
    ),
}
# The gradient of minus a log-prior; None where it is 0.
Slope = Callable[[Tensor], Tensor] | None


class Step(NamedTuple):
    """The numbers of a step of one weight tensor, in its dtype.

    Attributes:
        gradient: of U / N, the energy of a row, in the weight's shape.
        rate: the learning rate, a scalar.
        examples: N, a scalar.
        temperature: of this step, a scalar: 0 where no noise is to be.
        noise: standard normals in the weight's shape.
    """

    gradient: Tensor
    rate: Tensor
    examples: Tensor
    temperature: Tensor
    noise: Tensor


class StochasticGradientMCMC(keras.optimizers.Optimizer, abc.ABC):
    """A Keras optimizer whose iterates are samples of a posterior."""

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        num_examples: int | None = None,
        *,
        temperature: float = 1.0,
        prior: Any = "normal",
        seed: int | None = None,
        **kwargs: Any,
    ):
        for name, why in _REFUSED.items():
            if kwargs.get(name):
                raise ValueError(
                    f"`{name}` must not be given to a sampler: {why}. "
                    f"Received: {name}={kwargs[name]!r}"
                )
        if isinstance(learning_rate, int | float):
            learning_rate = checks.positive_number(
                "learning_rate", learning_rate
            )
        super().__init__(learning_rate, **kwargs)
        self.num_examples = checks.positive_integer.optional(
            "num_examples", num_examples, "counted by `fit`"
        )
        self.temperature = checks.non_negative("temperature", temperature)
        self.prior = _prior(prior)
        self.seed = checks.seed(seed)
        self._schedule = learning_rate
        # N, or 0 if unknown, and what makes of the loss the mean over N rows.
        self._examples, self._factor = (
            self.add_variable(
                (), keras.initializers.Constant(start), "float32", name=name
            )
            for start, name in (
                (num_examples or 0, "num_examples"),
                (1, "loss_factor"),
            )
        )
        self._key = self.add_variable((2,), dtype="int64", name="seed")
        self._key.assign(
            random.as_key(random.any_seed() if seed is None else seed)
        )

    @property
    def learning_rate(self) -> Any:
        return super().learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        keras.optimizers.Optimizer.learning_rate.fset(self, value)
        self._schedule = value

    def build(self, variables: Any) -> None:
        """Makes the states of the method, and the priors, for variables."""
        if self.built:
            return
        for variable in variables:
            _check(variable)
        super().build(variables)
        self._states = [self.states_of(variable) for variable in variables]
        self._slopes = [_slope(self.prior, variable) for variable in variables]

    def states_of(self, variable: keras.Variable) -> list[keras.Variable]:
        """Makes the states that the method keeps of one weight tensor."""
        return []

    @abc.abstractmethod
    def moved(
        self, weight: Tensor, states: list[Tensor], step: Step
    ) -> tuple[Tensor, list[Tensor]]:
        """Computes the weight after a step, and its states.

        Args:
            weight: the weight tensor.
            states: the values of its `states_of`.
            step: the numbers of the step.
        """

    def weigh(self, num_examples: int | None, factor: float) -> None:
        """Says what the loss is, as `fit` of this package's models does.

        Args:
            num_examples: N, the number of training rows; None for what was
                given or counted before.
            factor: what makes of the loss the mean over rows: 1 for such a
                mean, one over the rows of a batch for a sum.
        """
        self._factor.assign(checks.positive_number("factor", factor))
        if num_examples is not None:
            self._examples.assign(
                checks.positive_number("num_examples", num_examples)
            )

    def is_sampling(self) -> bool:
        """Says whether the last step had the noise of a sample.

        It had not in the exploration of a cyclical schedule. Only for use
        outside of graphs.
        """
        steps = int(keras.ops.convert_to_numpy(self.iterations))
        last = steps * self._steps_per_update - 1
        return float(self._noise_at(max(last, 0))) > 0

    def check_counted(self) -> None:
        """Raises if the number of rows is unknown."""
        with tf.init_scope():
            if keras.ops.convert_to_numpy(self._examples) > 0:
                return
        raise ValueError(
            "`num_examples` must be known, since the noise of a step is that "
            "of a posterior of so many rows. Received: num_examples=None. Pass "
            f"{type(self).__name__}(..., num_examples=len(x)), or train a "
            "tfpbnn.Model or tfpbnn.Sequential, whose `fit` counts them"
        )

    def exclude_from_weight_decay(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(
            "All weights have the one `prior` that the sampler was given. Pass "
            "prior=None for a flat one, or freeze weights by `trainable=False`."
        )

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Moves all weights by a step.

        Args:
            grads: the gradients of the loss.
            trainable_variables: their weights; None for all.

        Raises:
            ValueError: if a weight has no gradient, or N is unknown.
        """
        super().apply(*checking.given(self, grads, trainable_variables))

    def update_step(
        self, gradient: Any, variable: Any, learning_rate: Any
    ) -> None:
        """Moves one weight tensor by a step; in one pass where that pays."""
        self.check_counted()
        weight = tf.convert_to_tensor(variable)
        is_fused = (
            not tf.executing_eagerly()  # It would compile anew each time.
            and _is_large(weight)
            and mode.plain_kind() is None
            and not tf.distribute.has_strategy()
        )

        def step(gradient: Tensor, rate: Tensor) -> None:
            self._move(gradient, variable, rate, is_fused)

        if is_fused:
            # With the assignments, or each new value would be copied.
            step = mode.compiled(step)
        step(
            tf.convert_to_tensor(gradient), tf.convert_to_tensor(learning_rate)
        )

    def get_config(self) -> Config:
        prior = self.prior
        return super().get_config() | {
            "num_examples": self.num_examples,
            "temperature": self.temperature,
            "prior": (
                prior.serialize() if isinstance(prior, priors.Prior) else prior
            ),
            "seed": self.seed,
        }

    @property
    def _steps_per_update(self) -> int:
        return self.gradient_accumulation_steps or 1

    def _noise_at(self, step: Any) -> Any:
        """Computes the factor of the temperature that a schedule may set."""
        noise = getattr(self._schedule, "noise", None)
        return 1.0 if noise is None else noise(step)

    def _move(
        self, gradient: Tensor, variable: Any, rate: Tensor, is_fused: bool
    ) -> None:
        index = keras_private.slot_index(self, variable)
        assert index is not None  # as `apply` has checked
        weight = tf.convert_to_tensor(variable)

        def number(value: Any) -> Tensor:
            return tf.cast(value, weight.dtype)

        iteration = tf.convert_to_tensor(self.iterations)
        last = (iteration + 1) * self._steps_per_update - 1
        key = random.fold(tf.convert_to_tensor(self._key), iteration)
        noise = normals(random.fold(key, index), weight, is_fused)
        examples = number(self._examples)
        gradient = number(gradient) * number(self._factor)
        slope = self._slopes[index]
        if slope is not None:
            gradient += slope(weight) / examples
        temperature = number(self.temperature * self._noise_at(last))
        step = Step(gradient, number(rate), examples, temperature, noise)
        states = self._states[index]
        value, values = self.moved(
            weight, [tf.convert_to_tensor(state) for state in states], step
        )
        self.assign(variable, value)
        for state, new in zip(states, values, strict=True):
            self.assign(state, new)


def _is_large(weight: Tensor) -> bool:
    """Says whether a step is to be one pass over the weight, if it can be."""
    size = weight.shape.num_elements()
    return weight.dtype == tf.float32 and size >= thresholds.MIN_SIZE


def _prior(given: Any) -> priors.Prior | float | None:
    """Resolves a prior: a precision, a name, a config, an object or None."""
    if isinstance(given, int | float) and not isinstance(given, bool):
        return checks.non_negative("prior", given)
    return priors.get(given)


def _check(variable: Any) -> None:
    name = getattr(variable, "path", variable.name)
    if variable.dtype not in ("float32", "float64"):
        raise ValueError(
            "Weights that are sampled must be of float32 or float64, since "
            "steps are lost in 16 bits. Received: "
            f"{name} of {variable.dtype}. Take the policy mixed_float16 or "
            "mixed_bfloat16, which keeps weights in float32"
        )
    if getattr(variable, "constraint", None) is not None:
        raise ValueError(
            "Weights that are sampled must have no constraint, whose "
            "projections would change what is sampled. Received: "
            f"constraint={variable.constraint!r} of {name}. Leave it out, or "
            "freeze the layer"
        )


def _slope(prior: priors.Prior | float | None, variable: Any) -> Slope:
    """Makes the gradient of minus the log-prior of one weight tensor."""
    if prior is None or prior == 0:
        return None
    if not isinstance(prior, priors.Prior):
        return lambda weight: prior * weight
    with tf.init_scope():
        own = prior.copy(name="prior", dtype=variable.dtype)
        own.build(variable.shape)
    if own.variables or own.hyperpriors():
        raise ValueError(
            "`prior` must be one whose scales are known numbers, since only "
            f"weights are sampled. Received: prior={prior!r}. "
            "Take Normal, Laplace, StudentT or ScaleMixture with fixed scales, "
            "or tfpbnn.mcmc.sample, which samples scales too"
        )
    scale = own.scale_about_zero()
    if scale is not None:
        return lambda weight: weight / scale**2
    return functools.partial(_slope_of, own)


def _slope_of(prior: priors.Prior, weight: Tensor) -> Tensor:
    with tf.GradientTape() as tape:
        tape.watch(weight)
        energy = -tf.reduce_sum(prior.distribution().log_prob(weight))
    return tape.gradient(energy, weight)
