"""A density of weights, from a model, data, a likelihood and priors."""

from typing import Any

import keras
import numpy as np

from tfpbnn.base import data, gradients
from tfpbnn.base.by_output import names_of
from tfpbnn.base.keras_private import mask_of
from tfpbnn.base.types import Config
from tfpbnn.densities import choosing, variational
from tfpbnn.densities.checks import (
    check_is_one,
    check_layers,
    warn_of_penalties,
)
from tfpbnn.densities.log_density import (
    LogDensity,
    Network,
    tensors,
)
from tfpbnn.densities.rows import gathered, targets_and_weights
from tfpbnn.densities.shared_rows import SharedRows
from tfpbnn.distribute.devices import Devices
from tfpbnn.layers.random_layer import is_variational
from tfpbnn.networks import copying, missing, reading
from tfpbnn.networks.masks import OutputMasks
from tfpbnn.prediction.collect import resolve

_ANYWHERE = Devices()


class Problem:
    """What is to be drawn: a network, its random weights, likelihood, data."""

    def __init__(
        self,
        model: Any,
        x: Any,
        y: Any,
        likelihood: Any,
        prior: Any,
        trainable_only: bool,
        sample_weight: Any,
        devices: Devices = _ANYWHERE,
        row_shards: int | None = None,
    ):
        reading.check_built(model)
        check_is_one(model)
        gradients.release()  # of densities that were there before
        self.model = model
        loss = likelihood or reading.compiled_loss(model)
        self.known: dict[int, Any] = {}
        if is_variational(model):
            self.network, self.known = variational.plain(model)
        else:
            self.network = copying.clone(model, compiled=False)
        check_layers(self.network, trainable_only)
        self.parameters = choosing.parameters(
            self.network,
            prior,
            trainable_only,
            {k: known.prior for k, known in self.known.items()},
        )
        rows = gathered(x, y, sample_weight, reading.input_names(self.network))
        self.x = reading.by_input(self.network, rows.x)
        missing.check_inputs(self.network, self.x)
        few = keras.tree.map_structure(lambda a: a[:2], self.x)
        moves = bool(row_shards) or devices.are_given
        network = Network(self.network, self.parameters, few, moves)
        outputs = self.network(tensors(few), training=False)
        warn_of_penalties(self.network)
        names = names_of(outputs, reading.output_names(self.network))
        self.loss = loss
        outputs = keras.tree.flatten(outputs)
        sizes = [output.shape[-1] for output in outputs]
        self.likelihoods = resolve(loss, names, sizes)
        targets, weights = targets_and_weights(
            rows,
            names,
            outputs,
            self._masks(outputs),
            self.likelihoods,
            self.parameters.dtype,
        )
        rows_of = network.features(self.x), targets, weights
        parts = network, self.parameters, self.likelihoods, rows_of
        self.density = (
            SharedRows(*parts, devices, row_shards)
            if row_shards
            else LogDensity(*parts)
        )

    def _masks(self, outputs: list[Any]) -> list[Any]:
        """The masks of outputs in all rows; None for those without."""
        if all(mask_of(output) is None for output in outputs):
            return [None] * len(outputs)
        return OutputMasks(self.network).of_rows(self.x)

    def some_rows(self) -> Any:
        """Inputs to look at predictions for."""
        return keras.tree.map_structure(lambda a: a[:20], self.x)

    def fingerprint(self) -> Config:
        """What chains depend on beside the arguments, as plain data.

        Not the names of layers: a model that is made once more in a notebook
        is the same, and Keras counts its layers on.
        """
        random = {id(v) for v in self.parameters.variables}
        constants = [
            keras.ops.convert_to_numpy(v)
            for v in self.network.weights
            if id(v) not in random and not reading.is_noise(v)
        ]
        return {
            "weights": [
                ["/".join(name.split("/")[-2:]), list(shape)]
                for name, shape in self.parameters.names()
            ],
            "data": data.digest(keras.tree.flatten(self.density.rows)),
            "constants": data.digest(constants),
            "likelihood": repr(self.likelihoods),
            "terms": self._terms(),
        }

    def _terms(self) -> list[str]:
        """The terms of the density at one vector: other priors or layers tell.

        To four digits, since sums are rounded otherwise on other machines.
        """
        dtype = self.parameters.dtype
        vector = np.linspace(-0.2, 0.3, self.parameters.size, dtype=dtype)
        terms = self.density.terms(vector)
        return [f"{value:.4g}" for value in terms.values()]
