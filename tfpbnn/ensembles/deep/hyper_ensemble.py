"""Defines ensembles whose members have their own hyperparameters."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from tfpbnn import random
from tfpbnn.base import checks, registry
from tfpbnn.base.types import Config
from tfpbnn.ensembles.deep import networks
from tfpbnn.ensembles.deep.base import StackedEnsemble
from tfpbnn.ensembles.deep.fitting import Options
from tfpbnn.networks import copying

_RATE = "learning_rate"


@registry.register("ensembles")
class HyperEnsemble(StackedEnsemble):
    """A `DeepEnsemble` whose members differ in hyperparameters too.

    These are hyperparameters that don't change the shapes of the weights, such
    as dropout rates, L2 penalties, activations, initializers and learning
    rates.

    Args:
        build_model: a function that builds a network from hyperparameters,
            given as keyword arguments. It is not given `learning_rate`.
        hyperparameters: a list with a dict for each member; or a dict to draw
            each member's from, whose values are lists to choose from, or
            functions of a NumPy generator. "learning_rate" is the learning
            rate of the member: the optimizer's steps are scaled to it, so
            callbacks that change the optimizer's rate change the members'
            rates in proportion.
        num_members: the number of members M, if hyperparameters are drawn;
            None if they are listed.
        bootstrap, shuffle, adversarial_epsilon: as in `DeepEnsemble`.
        seed: the seed of `DeepEnsemble`, and of the hyperparameters drawn.
        name: the name of the model.
        **kwargs: the `dtype` of any Keras model.

    Attributes:
        hyperparameters: a list with a dict for each member.

    Call arguments:
        inputs: the inputs of a member.
        training: whether members run in training mode.

    Input shape:
        That of a member.

    Output shape:
        That of a member.

    Raises:
        TypeError: if `build_model` is no function.
        ValueError: if `hyperparameters` is neither such a list nor such a dict;
            if members have variables of different shapes; in `fit`, if members
            have learning rates and the optimizer's step is not in proportion
            to its own.

    Example:
    ```python
    def build(rate, l2):
        return keras.Sequential([
            keras.Input((4,)),
            keras.layers.Dense(16, activation="relu", kernel_regularizer=(
                keras.regularizers.L2(l2))),
            keras.layers.Dropout(rate),
            keras.layers.Dense(2),
        ])

    ensemble = tfpbnn.ensembles.HyperEnsemble(build, {
        "rate": [0.0, 0.1, 0.2],
        "l2": lambda generator: 10 ** generator.uniform(-6, -3),
        "learning_rate": [1e-3, 3e-3],
    }, num_members=4)
    ensemble.compile("adam", loss=tfpbnn.likelihoods.Normal())
    ensemble.fit(x, y, epochs=2, verbose=0)
    ensemble.hyperparameters[0]                 # {"rate": .., "l2": .., ..}
    ```

    Reference:
        [Wenzel et al., 2020](https://arxiv.org/abs/2006.13570)
    """

    def __init__(
        self,
        build_model: Callable[..., keras.Model],
        hyperparameters: Sequence[Mapping[str, Any]] | Mapping[str, Any],
        num_members: int | None = None,
        *,
        bootstrap: str | None = None,
        shuffle: str = "shared",
        adversarial_epsilon: float = 0.0,
        seed: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ):
        if not callable(build_model) or isinstance(build_model, keras.Model):
            raise TypeError(
                "`build_model` must be a function of hyperparameters. "
                f"Received: build_model={build_model!r}"
            )
        chosen = _choose(hyperparameters, num_members, seed)
        members = networks.check_distinct(
            [
                build_model(**{k: v for k, v in one.items() if k != _RATE})
                for one in chosen
            ]
        )
        networks.check_stacks(members)
        options = Options(bootstrap, shuffle, "auto", adversarial_epsilon, seed)
        super().__init__(
            members, alike=False, options=options, name=name, **kwargs
        )
        # Keras would wrap it if it were public, and then not serialize it.
        self._chosen = tuple(chosen)
        rates = [one.get(_RATE) for one in chosen]
        if any(rate is not None for rate in rates):
            self._learning.use_rates(rates)

    def member(self, number: int) -> keras.Model:
        """Makes one of `members`, with its own learning rate."""
        network = super().member(number)
        rate = self._chosen[number].get(_RATE)
        if self.compiled and rate is not None:
            network.optimizer.learning_rate = rate
        return network

    @property
    def hyperparameters(self) -> list[dict[str, Any]]:
        return [dict(one) for one in self._chosen]

    def get_config(self) -> Config:
        config = super().get_config() | {
            "hyperparameters": self.hyperparameters
        }
        del config["num_members"], config["member_batch"]
        return config

    @classmethod
    def from_config(cls, config: Config, custom_objects: Any = None) -> Any:
        del custom_objects
        config = dict(config)
        members = iter(config.pop("members"))
        return cls(lambda **_: copying.from_config(next(members)), **config)


def _choose(
    hyperparameters: Any, num_members: int | None, seed: int | None
) -> list[dict[str, Any]]:
    """Returns the hyperparameters of each member, listed or drawn."""
    if isinstance(hyperparameters, Mapping):
        count = checks.positive_integer("num_members", num_members)
        generator = random.generator(seed)
        return [
            {
                name: _draw(name, source, generator)
                for name, source in hyperparameters.items()
            }
            for _ in range(count)
        ]
    listed = list(hyperparameters)
    if not listed or not all(isinstance(one, Mapping) for one in listed):
        raise ValueError(
            "`hyperparameters` must be a list with a dict for each member, or "
            "a dict of lists and functions to draw from. Received: "
            f"hyperparameters={hyperparameters!r}"
        )
    if num_members not in (None, len(listed)):
        raise ValueError(
            "`num_members` must be left out if hyperparameters are listed. "
            f"Received: num_members={num_members}, and {len(listed)} of them"
        )
    return [dict(one) for one in listed]


def _draw(name: str, source: Any, generator: Any) -> Any:
    if callable(source):
        value = source(generator)
        return value.item() if hasattr(value, "item") else value
    if (
        not isinstance(source, Sequence)
        or isinstance(source, str)
        or not source
    ):
        raise ValueError(
            f"`hyperparameters[{name!r}]` must be a list to choose from, or a "
            f"function of a NumPy generator. Received: {source!r}"
        )
    return source[generator.integers(len(source))]
