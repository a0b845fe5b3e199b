"""Defines the mixture of several SWAG posteriors."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base import registry
from tfpbnn.base.masks import mean_of
from tfpbnn.base.types import Config, Tensor
from tfpbnn.ensembles.deep.networks import are_alike, check_meaning
from tfpbnn.networks.copying import compile_like
from tfpbnn.posteriors.network_posterior import NetworkPosterior, Untrainable


@registry.register("ensembles")
class MultiSWAG(Untrainable):
    """A mixture of the posteriors of several trainings, equally weighted.

    They are of SWAG, or of any method that gives a posterior of one network's
    weights, such as `laplace`, IVON or `CollectSamples`: for these it has the
    name `PosteriorMixture` too.

    Draw s comes from component s modulo M. A call of the model, as by
    Keras's `predict` and `evaluate`, gives the mean of the components'
    outputs. It is compiled with the loss and metrics of the first component.

    Args:
        components: the M posteriors. Of `SWAGPosterior`s whose networks have
            BatchNorm, the results of `SWAGPosterior.materialize`.

    Raises:
        ValueError: if there is no component, one is there twice, or their
            outputs have different shapes.
        TypeError: if a component is no posterior of a network's weights.

    Example:
    ```python
    components = []
    for seed in range(2):
        keras.utils.set_random_seed(seed)
        network = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(8, "relu"),
             keras.layers.Dense(2)]
        )
        network.compile("sgd", loss=tfpbnn.likelihoods.Normal())
        swag = tfpbnn.ensembles.SWAG(start_epoch=1)
        network.fit(x, y, epochs=4, callbacks=[swag], verbose=0)
        components.append(swag.posterior)
    posterior = tfpbnn.ensembles.MultiSWAG(components)
    tfpbnn.predict(posterior, x, num_samples=30)
    ```

    Reference:
        [Wilson and Izmailov, 2020](https://arxiv.org/abs/2002.08791), and
        [Eschenhagen et al., 2021](https://arxiv.org/abs/2111.03577) for
        mixtures of Laplace approximations
    """

    has_mean = False

    def __init__(self, components: Sequence[NetworkPosterior], **kwargs: Any):
        _check(components)
        first = components[0]
        super().__init__(**({"dtype": first.dtype_policy} | kwargs))
        self.components = list(components)
        counts = [component.num_draws or 0 for component in components]
        if all(counts):
            self.num_draws = len(counts) * math.lcm(*counts)
        means = [component.num_means for component in components]
        self.num_means = len(means) * math.lcm(*means)
        # Of these one network stands for all, at the weights of any.
        self._are_networks_at_weights = are_alike(
            [component.network for component in components]
        ) and all(component.draws_weights for component in components)
        compile_like(self, first, "sgd")
        self.built = True

    def draw(self, x: Any, number: Tensor, key: Tensor | None) -> Any:
        size, first = len(self.components), self.components[0]
        number = tf.cast(number, tf.int64)
        component, number = tf.cast(number % size, tf.int32), number // size
        if key is None or not self._are_networks_at_weights:
            draws = [
                functools.partial(one.draw, x, number, key)
                for one in self.components
            ]
            return tf.switch_case(component, draws)
        # Weights that don't depend on x can be drawn once and kept.
        weights = [
            functools.partial(one.drawn_weights, number, key)
            for one in self.components
        ]
        values = tf.switch_case(component, weights)
        return first.run(x, first.network.weights, values)

    def template(self) -> keras.Model:
        return self.components[0].network

    def templates(self) -> list[keras.Model]:
        return [component.network for component in self.components]

    def average(self, inputs: Any, training: bool = False) -> Any:
        return mean_of([component(inputs) for component in self.components])

    def get_config(self) -> Config:
        return {
            "components": [
                keras.saving.serialize_keras_object(component)
                for component in self.components
            ],
            "name": self.name,
        }

    @classmethod
    def from_config(
        cls, config: Config, custom_objects: Any = None
    ) -> "MultiSWAG":
        components = [
            keras.saving.deserialize_keras_object(
                component, custom_objects=custom_objects
            )
            for component in config["components"]
        ]
        return cls(**(config | {"components": components}))


def _check(components: Any) -> None:
    if not isinstance(components, list | tuple) or not components:
        raise ValueError(
            "`components` must be a list of one posterior or more. "
            f"Received: components={components!r}"
        )
    for component in components:
        if not isinstance(component, NetworkPosterior):
            raise TypeError(
                "`components` must be posteriors around one network each, such "
                "as `swag.posterior`, WeightSamples or what `tfpbnn.laplace` "
                f"gives. Received: {type(component).__name__}"
            )
    if len({id(component) for component in components}) < len(components):
        raise ValueError(
            "`components` must be different objects. Received: one of them "
            "twice"
        )
    shapes = [
        [output.shape for output in getattr(component.network, "outputs", [])]
        for component in components
    ]
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError(
            "`components` must have outputs of the same shapes. Received: "
            f"{shapes}"
        )
    check_meaning(components)
