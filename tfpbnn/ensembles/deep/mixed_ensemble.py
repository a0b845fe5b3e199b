"""Ensembles of networks of different architectures."""

import functools
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base import registry
from tfpbnn.base.masks import mean_of
from tfpbnn.base.types import Config, Tensor
from tfpbnn.ensembles.deep import networks
from tfpbnn.ensembles.deep.fitting import Options, check_compiled, weight_kl
from tfpbnn.ensembles.jobs import executors
from tfpbnn.networks import copying
from tfpbnn.networks.copying import compile_like
from tfpbnn.particles import Posterior
from tfpbnn.particles.state import MemberValues
from tfpbnn.training import data_checks, units


@registry.register("ensembles")
class MixedEnsemble(Posterior, data_checks.CheckedEvaluate, keras.Model):
    """Networks that may differ in all but their inputs and outputs.

    What `DeepEnsemble.from_models` makes of such. `fit` trains the members one
    after the other, or as jobs of an `executor`; `tfpbnn.predict` averages
    over them.

    Args:
        models: built networks whose outputs have the same shapes. They are
            the members themselves, not copies.
        name: of the model.
        **kwargs: `dtype` of any Keras model.

    Call arguments:
        inputs: as of a member.

    Input shape:
        That of a member.

    Output shape:
        That of a member.

    Raises:
        TypeError: if `models` is no list of networks.
        ValueError: if there is no model, two share what is trained, or inputs
            or outputs have different shapes.

    Example:
    ```python
    def build(width):
        return keras.Sequential([
            keras.Input((4,)),
            keras.layers.Dense(width, activation="relu"),
            keras.layers.Dense(2),
        ])

    ensemble = tfpbnn.ensembles.MixedEnsemble([build(8), build(16)])
    ensemble.compile("adam", loss=tfpbnn.likelihoods.Normal())
    ensemble.fit(x, y, epochs=2, verbose=0)
    tfpbnn.predict(ensemble, x).epistemic_variance
    ```
    """

    has_mean = False

    def __init__(
        self,
        models: Sequence[keras.Model],
        name: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        self.members = networks.check_given(models)
        self.num_members = self.num_means = len(self.members)
        self.num_draws = networks.num_draws(self.members)
        self.options = Options()
        self.member_history: dict[str, list[Any]] = {}
        self.built = True
        compile_like(self, self.members[0])

    def member(self, number: int) -> keras.Model:
        """One of `members`, compiled as the ensemble is."""
        network = self.members[number]
        compile_like(network, self)
        return network

    def set_member(self, number: int, network: keras.Model) -> None:
        """Replaces a member's weights by those of a network like it.

        What it has beside weights, such as a vocabulary, is replaced too.

        Raises:
            ValueError: if the network has another config.
        """
        if not networks.are_alike([self.members[number], network]):
            raise ValueError(
                "`network` must be one of the member's architecture. Received: "
                f"{network.name}, with another config than member {number}. "
                "Make an ensemble of other networks by their list."
            )
        copying.copy_state(network, self.members[number])

    def load_members(self, directory: Any) -> list[int]:
        """As `DeepEnsemble.load_members`."""
        return executors.load_members(self, directory)

    def average(self, inputs: Any, training: bool = False) -> Any:
        """The mean of the members' outputs."""
        return mean_of([m(inputs, training=training) for m in self.members])

    def draw(self, x: Any, number: Tensor, key: Tensor | None) -> Any:
        def run(member: keras.Model) -> Any:
            with MemberValues([]):
                return member(x, training=False)

        branches = [functools.partial(run, m) for m in self.members]
        index = tf.cast(number % self.num_members, tf.int32)
        return tf.switch_case(index, branches)

    def template(self) -> keras.Model:
        return self.members[0]

    def templates(self) -> list[keras.Model]:
        return list(self.members)

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        *,
        executor: Any = None,
        directory: Any = None,
        members: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Fits each member; see `DeepEnsemble.fit`."""
        given = kwargs | {"x": x, "y": y}
        check_compiled(self)
        data_checks.check_data(self, given)
        units.warn(self, given)
        weight_kl(self, given)
        if not self.optimizer.built:  # It stays unused, but Keras saves it.
            self.optimizer.build(self.trainable_variables)
        return executors.fit_in_jobs(self, given, executor, directory, members)

    def get_config(self) -> Config:
        return {
            "name": self.name,
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
            "models": [copying.config_of(member) for member in self.members],
        }

    @classmethod
    def from_config(cls, config: Config, custom_objects: Any = None) -> Any:
        del custom_objects
        config = dict(config)
        models = [copying.from_config(one) for one in config.pop("models")]
        return cls(models, **config)
