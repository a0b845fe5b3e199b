"""Brings a KL into the loss: its term, its weight, the sum over a model.

The KL is a weight regularizer of the posterior's `loc`: Keras evaluates it
once per step, however often the layer is called, and drops it when the layer
is frozen.
"""

import threading
import warnings
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import keras
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base import checks
from tfpbnn.base.types import Tensor
from tfpbnn.families import Family
from tfpbnn.priors import Prior
from tfpbnn.priors.kl import kl_by_weight, kl_divergence

_KL_KEY = 0x4B4C
# Graphs and KL terms that the warning was given for: once per training run,
# although a run has many layers and may trace its step twice.
_warned: "weakref.WeakSet[Any]" = weakref.WeakSet()


class Manager(Protocol):
    """An object that sets the KL weights of a model while it is trained."""

    model: Any

    def weigh(self, weight: keras.Variable) -> None:
        """Sets a weight that a training step is about to use.

        A step of a model that Keras builds as it is called meets layers that
        were not there when training began.
        """


# The managers of the trainings that are under way.
_in_charge: "weakref.WeakSet[Manager]" = weakref.WeakSet()


def take_charge(manager: Manager) -> None:
    """Makes a manager set the weights of layers that a step makes.

    Another manager of the same model was left behind by a training that was
    interrupted, and is replaced.
    """
    for other in list(_in_charge):
        if other.model is manager.model:
            _in_charge.discard(other)
    _in_charge.add(manager)


def give_up_charge(manager: Manager) -> None:
    """Ends what `take_charge` began."""
    _in_charge.discard(manager)


_UNSET = (
    "The KL weight was not set and is 1.0, but Keras averages the loss over "
    "examples: the prior counts as often as there are examples in the data. "
    "Mend it with `model.fit(..., callbacks=[tfpbnn.callbacks.KLWeight("
    "num_examples=len(x))])`, use `tfpbnn.Sequential` or `tfpbnn.Model`, or "
    "give the layers `kl_weight=`."
)


def check_weight(value: float | None, argument: str = "kl_weight") -> None:
    """Raises unless `value` is None, or a number >= 0 and finite."""
    if callable(value):
        raise ValueError(
            f"`{argument}` must be None or a finite number >= 0. Received: "
            f"{argument}={value!r}. A schedule, with or without a floor, is an "
            "argument of `tfpbnn.callbacks.KLWeight`: layers don't know epochs"
        )
    checks.non_negative.optional(argument, value)


def add_weight(layer: Any, value: float | None) -> keras.Variable:
    """Adds the variable that a layer's KL is multiplied with.

    A layer makes it in `__init__`, not in `build`, so that a callback can set
    it before the first training step builds and runs the model at once. Where
    the layer itself is made in such a step, the variable is lifted out of the
    step's graph, so that it has its value at once.

    The factor of a schedule is a separate variable, which is no weight of the
    layer. So nothing that saves and restores weights in the middle of a
    training can bring back an epoch of a warm-up.

    Args:
        layer: the layer that owns the variable.
        value: the user's number, or None to leave it to callbacks, which find
            the variable by its `is_managed`.
    """
    check_weight(value)
    with tf.init_scope():
        weight = layer.add_weight(
            name="kl_weight",
            shape=(),
            dtype="float32",
            initializer=keras.initializers.Constant(
                1.0 if value is None else value
            ),
            trainable=False,
            autocast=False,
        )
        weight.is_managed = value is None
        if weight.is_managed:
            weight.factor = tf.Variable(1.0, trainable=False)
    return weight


def is_weight(variable: keras.Variable) -> bool:
    """Says whether a variable is one that a KL is multiplied with."""
    return hasattr(variable, "is_managed")


def managed_weights(model: keras.layers.Layer) -> list[keras.Variable]:
    """Lists the KL weights in a model, built or not, that callbacks set."""
    return [
        variable
        for variable in model.non_trainable_variables
        if getattr(variable, "is_managed", False)
    ]


class KLTerm(keras.regularizers.Regularizer):
    """The loss `weight * divergence`, attached to a variable.

    It depends on this variable. Layers make it in `build`, also when they are
    loaded, so it is never serialized.

    Attributes:
        weight: the variable that the KL is multiplied with, from `add_weight`.
        free_nats: the KL below which it counts as this number, and so is not
            pushed down.
    """

    def __init__(
        self, variable: keras.Variable, weight: keras.Variable, free_nats: float
    ):
        self.weight = weight
        self.free_nats = free_nats
        self._extra = variable.regularizer
        variable.regularizer = self

    def divergence(self) -> Tensor:
        """Computes the KL without its weight, in nats."""
        raise NotImplementedError

    def __call__(self, x: Any) -> Tensor:
        weight = self._current_weight()
        kl = self.divergence()
        if self.free_nats:
            kl = tf.maximum(kl, self.free_nats)
        loss = weight * kl
        if self.weight.is_managed:
            loss = _warn_when_trained(loss, self)
        if self._extra is not None:
            loss += tf.cast(self._extra(x), tf.float32)
        # Keras adds it to losses, all of which are of this type.
        return tf.cast(loss, keras.config.floatx())

    def _current_weight(self) -> Tensor:
        """Returns the weight times its schedule's factor; sets new ones."""
        if not self.weight.is_managed:
            return tf.cast(tf.convert_to_tensor(self.weight), tf.float32)
        for manager in list(_in_charge):
            manager.weigh(self.weight)
        weight = tf.cast(tf.convert_to_tensor(self.weight), tf.float32)
        return weight * self.weight.factor


class Offer:
    """A tensor that one part of a graph offers to a later part.

    It can be taken once, and only in the graph and the replica that it was made
    in; whoever gets None computes it anew.
    """

    def __init__(self) -> None:
        # Replicas of a MirroredStrategy trace in threads, into one graph.
        self._of_threads: dict[int, Tensor] = {}

    def put(self, tensor: Tensor) -> None:
        """Offers a tensor of the current graph; eager ones are not kept."""
        if not tf.executing_eagerly():
            self._of_threads[threading.get_ident()] = tensor

    def take(self) -> Tensor | None:
        """Takes the tensor offered last, if it is of the current graph."""
        tensor = self._of_threads.pop(threading.get_ident(), None)
        if tensor is None or tf.executing_eagerly():
            return None
        here = tf.compat.v1.get_default_graph()
        return tensor if tensor.graph is here else None


class KLRegularizer(KLTerm):
    """The loss `weight * KL(posterior || prior)`, attached to `loc`.

    Attributes:
        offer: the KL of the weights from an estimator's pass, computed in a
            call of the layer, for when Keras adds up the losses of that call.
    """

    def __init__(
        self,
        posterior: Family,
        prior: Prior,
        weight: keras.Variable,
        noise_state: keras.Variable,
        free_nats: float = 0.0,
    ):
        super().__init__(posterior.loc, weight, free_nats)
        self.posterior = posterior
        self.prior = prior
        self.noise_state = noise_state
        self.offer = Offer()

    def divergence(self) -> Tensor:
        state = random.fold_replica(tf.convert_to_tensor(self.noise_state))
        key = random.fold(state, _KL_KEY)
        return kl_divergence(
            self.posterior, self.prior, key, of_weights=self.offer.take()
        )

    def by_weight(self, integrate: bool = True) -> Tensor | None:
        """Computes what each weight adds, as `kl_by_weight` does."""
        return kl_by_weight(self.posterior, self.prior, integrate=integrate)


class TrainedWeight:
    """A weight as an estimator uses it in training.

    It has the methods of a posterior that estimators call. A KL that the same
    pass over the weights computes goes to the term that adds it to the loss.
    """

    def __init__(self, posterior: Family):
        """Finds the KL term of a built posterior, if a layer gave it one."""
        self.posterior = posterior
        self._term: KLRegularizer | None = None
        self._scale: float | None = None
        term = posterior.loc.regularizer
        if isinstance(term, KLRegularizer):
            self._term, self._scale = term, term.prior.scale_about_zero()

    @property
    def is_random(self) -> bool:
        return self.posterior.is_random

    @property
    def loc(self) -> keras.Variable:
        return self.posterior.loc

    def sample(self, key: Tensor) -> Tensor:
        """Draws the weights once."""
        draw, kl = self.posterior.sample_and_kl(key, self._scale)
        self._offer(kl)
        return draw

    def loc_and_noise(self, key: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the location, and draws the noise about it."""
        loc, noise, kl = self.posterior.noise_and_kl(key, self._scale)
        self._offer(kl)
        return loc, noise

    def loc_and_variance(self) -> tuple[Tensor, Tensor]:
        """Computes the mean and the variance of each weight."""
        loc, variance, kl = self.posterior.variance_and_kl(self._scale)
        self._offer(kl)
        return loc, variance

    def _offer(self, kl: Tensor | None) -> None:
        if kl is not None and self._term is not None:
            self._term.offer.put(kl)


class ClosedFormKL(KLTerm):
    """The loss `weight * function()`, for layers without random weights."""

    def __init__(
        self,
        variable: keras.Variable,
        weight: keras.Variable,
        function: Callable[[], Tensor],
    ):
        super().__init__(variable, weight, 0.0)
        self._function = function

    def divergence(self) -> Tensor:
        return self._function()


def kl_terms(model: Any) -> list[Any]:
    """Lists the KL terms of all trainable layers of a built model.

    Each has a `divergence()`. A model whose variables are not those of its
    layers, such as an ensemble, has its own method `kl_terms`.
    """
    if hasattr(model, "kl_terms"):
        return model.kl_terms()
    found = (variable.regularizer for variable in model.trainable_variables)
    return [term for term in found if isinstance(term, KLTerm)]


def total_kl(terms: Iterable[Any]) -> Tensor:
    """Sums the divergences, without their weights, in nats."""
    return tf.add_n([tf.zeros([]), *(term.divergence() for term in terms)])


def _warn_when_trained(loss: Tensor, term: KLTerm) -> Tensor:
    """Warns when the gradient is taken, which only training does."""

    @tf.custom_gradient
    def identity(x: Tensor) -> Any:
        def grad(upstream: Tensor) -> Tensor:
            _warn_unset(term)
            return upstream

        return tf.identity(x), grad

    return identity(loss)


def _warn_unset(term: KLTerm) -> None:
    with tf.init_scope():
        untouched = float(keras.ops.convert_to_numpy(term.weight)) == 1.0
    if not untouched or _in_charge:  # or it was set, and 1 is right
        return
    seen = {tf.compat.v1.get_default_graph(), term}
    first = not any(item in _warned for item in seen)
    _warned.update(seen)
    if first:
        warnings.warn(_UNSET, stacklevel=2)
