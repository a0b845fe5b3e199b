"""Which variational layers stand for which Keras layer, and their weights.

How to add one: an entry in `_WEIGHTS`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn import layers
from tfpbnn.base import positive
from tfpbnn.base.types import Array, Tensor
from tfpbnn.families import Family, MeanFieldNormal
from tfpbnn.networks import reading, states

SUFFIXES = {
    "flipout": "Flipout",
    "local_reparameterization": "LocalReparameterization",
    "reparameterization": "Reparameterization",
}
_KERNEL = {"kernel": "kernel", "bias": "bias"}
_DEPTHWISE = {"depthwise": "kernel", "bias": "bias"}
_SEPARABLE = {
    "depthwise": "depthwise_kernel",
    "pointwise": "pointwise_kernel",
    "bias": "bias",
}
_RECURRENT = {
    "kernel": "kernel",
    "recurrent": "recurrent_kernel",
    "bias": "bias",
}
_ATTENTION = {
    f"{ours}_dense.{weight}": f"{keras_name}/{weight}"
    for ours, keras_name in (
        ("query", "query"),
        ("key", "key"),
        ("value", "value"),
        ("gate", "gate"),
        ("output", "attention_output"),
    )
    for weight in ("kernel", "bias")
}
# The name of a Keras layer: our names of its weights, and how Keras's paths of
# them end. Ours has the arguments `kernel_posterior` and so on.
_WEIGHTS: dict[str, dict[str, str]] = {
    "Conv1D": _KERNEL,
    "Conv1DTranspose": _KERNEL,
    "Conv2D": _KERNEL,
    "Conv2DTranspose": _KERNEL,
    "Conv3D": _KERNEL,
    "Conv3DTranspose": _KERNEL,
    "Dense": _KERNEL,
    "DepthwiseConv1D": _DEPTHWISE,
    "DepthwiseConv2D": _DEPTHWISE,
    "EinsumDense": _KERNEL,
    "Embedding": {"embeddings": "embeddings"},
    "GRU": _RECURRENT,
    "GroupQueryAttention": _ATTENTION,
    "LSTM": _RECURRENT,
    "MultiHeadAttention": _ATTENTION,
    "SeparableConv1D": _SEPARABLE,
    "SeparableConv2D": _SEPARABLE,
    "SimpleRNN": _RECURRENT,
}


@dataclasses.dataclass(frozen=True)
class Counterpart:
    """A Keras layer and the variational layers that stand for it.

    Attributes:
        plain: the Keras class.
        variational: our classes, by estimator; some layers lack some of them.
        weights: the ending of Keras's path of each weight, by our name.
    """

    plain: type[keras.layers.Layer]
    variational: Mapping[str, type[keras.layers.Layer]]
    weights: Mapping[str, str]

    def cls(self, estimator: str) -> type[keras.layers.Layer]:
        """Returns our class with this estimator, or else the general one."""
        return self.variational.get(
            estimator, self.variational["reparameterization"]
        )

    def variables(self, layer: keras.layers.Layer) -> dict[str, keras.Variable]:
        """Finds the variables of a built Keras layer, by our names."""
        return {
            name: variable
            for name, end in self.weights.items()
            for variable in layer.weights
            if variable.path.endswith(f"/{end}")
        }

    def read(self, layer: keras.layers.Layer) -> dict[str, Tensor]:
        """Reads the values of a built Keras layer's weights, by our names."""
        # The attribute, if there is one, has LoRA's part in it.
        return {
            name: getattr(layer, self.weights[name], variable)
            for name, variable in self.variables(layer).items()
        }

    def locs(self, layer: keras.layers.Layer) -> dict[str, keras.Variable]:
        """Finds the locations of a built variational layer's weights."""
        # Points of a layer that is a Keras layer too are variables of that.
        locs = self.variables(layer) if isinstance(layer, self.plain) else {}
        posteriors = self.distributions(layer)
        return locs | {name: q.loc for name, (q, _) in posteriors.items()}

    def distributions(
        self, layer: keras.layers.Layer
    ) -> dict[str, tuple[Any, Any]]:
        """Finds (posterior, prior) of each weight that has a posterior."""
        found = {}
        for name in self.weights:
            inner, _, weight = name.rpartition(".")
            owner = getattr(layer, inner, None) if inner else layer
            posterior = getattr(owner, f"{weight}_posterior", None)
            if posterior is not None:
                found[name] = posterior, getattr(owner, f"{weight}_prior")
        return found


def _counterpart(name: str, weights: Mapping[str, str]) -> Counterpart:
    variational = {
        estimator: getattr(layers, name + suffix)
        for estimator, suffix in SUFFIXES.items()
        if hasattr(layers, name + suffix)
    }
    return Counterpart(getattr(keras.layers, name), variational, weights)


_COUNTERPARTS = [_counterpart(*item) for item in _WEIGHTS.items()]
# By class and not by `isinstance`: a subclass may compute something else.
_BY_PLAIN = {c.plain: c for c in _COUNTERPARTS}
_BY_VARIATIONAL = {
    cls: c for c in _COUNTERPARTS for cls in c.variational.values()
}


def of_plain(layer: Any) -> Counterpart | None:
    """Finds the counterpart of a Keras layer; None if it has none."""
    return _BY_PLAIN.get(type(layer))


def of_variational(layer: Any) -> Counterpart | None:
    """Finds the counterpart of one of our layers; None if it has none."""
    return _BY_VARIATIONAL.get(type(layer))


def distributions(layer: Any) -> list[tuple[Any, Any]]:
    """Lists (posterior, prior) for each weight of a built variational layer."""
    counterpart = of_variational(layer)
    if counterpart is not None:
        return list(counterpart.distributions(layer).values())
    return [
        (posterior, getattr(layer, name.removesuffix("posterior") + "prior"))
        for name, posterior in reading.attributes(layer, Family).items()
    ]


def set_locs(plain: keras.layers.Layer, variational: Any) -> None:
    """Copies the weights of a layer to its built variational counterpart."""
    counterpart = of_plain(plain)
    if counterpart is None or isinstance(variational, layers.Variational):
        variational.layer.set_weights(plain.get_weights())
        states.copy_own(plain, variational.layer)
        return
    locs = counterpart.locs(variational)
    for name, value in counterpart.read(plain).items():
        locs[name].assign(value)


def set_scale(posterior: MeanFieldNormal, scale: Array) -> None:
    """Sets the standard deviations of a mean-field Normal to given values."""
    above = np.maximum(
        np.asarray(scale, "float64") - positive.SCALE_FLOOR, 1e-30
    )
    raw = tf.cast(positive.untransformed(above), "float32")
    posterior.untransformed_scale.assign(raw)
