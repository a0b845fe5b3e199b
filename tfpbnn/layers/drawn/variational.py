"""Any Keras layer with a distribution over its weights."""

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

import keras

from tfpbnn import families, priors
from tfpbnn.base import registry, template
from tfpbnn.base.keras_private import held_layers, tell_apart
from tfpbnn.base.types import Config, Identifier, Tensor
from tfpbnn.families import Family
from tfpbnn.layers.drawn.base import DrawnLayer, drawn_by
from tfpbnn.layers.kl import is_weight
from tfpbnn.layers.linear.weights import Weight
from tfpbnn.layers.random_weights import RandomWeights

_NAMELESS = re.compile(r"^variable(_\d+)?$")


@registry.register("layers")
class Variational(DrawnLayer):
    """Any Keras layer with a distribution over its weights.

    One draw of all weights per call, with which the layer's own code is run:
    the reparameterization estimator. A recurrent layer meets the same draw at
    all time steps. The layer's variables are the locs of the posteriors, with
    the initializers, regularizers and constraints that it was made with; a
    trained layer keeps what it has learnt. The posteriors, which add the
    scales, are named after the variables: `variational.kernel_posterior`,
    `kernel_prior` and so on, with `kernel_1_posterior` for a second `kernel`.
    A weight that several such layers hold, as a tied embedding, has one
    posterior, that of the first which is built, and one draw in a prediction.
    What a layer has beside weights, such as the statistics of
    BatchNormalization and the states of an RNN, is kept as ever.

    What it can't do:

    - Flipout or local reparameterization: all rows of a batch share the draw.
      `DenseFlipout` and the like have less noisy gradients.
    - Take the place of a layer that another one looks into: the cell of an RNN,
      the layer of a Bidirectional. Wrap the outer one.
    - Wrap a layer that has variational layers in it, which draw on their own,
      one that another `Variational` wraps, or a quantized one.
    - Wrap a layer that assigns to its own trainable weights, as
      SpectralNormalization does.
    - Give frozen parts a distribution: weights that are frozen when the layer
      is built, within one that is not, stay as they are. (A layer that is
      frozen as a whole has one, and is frozen.)
    - Pure half precision ("float16"); "mixed_float16" works.

    Call arguments:
        *args: those of the layer.
        **kwargs: those of the layer, such as `training`, `mask` or
            `initial_state`.

    Input shape:
        The layer's.

    Output shape:
        The layer's.

    Example:
    ```python
    lstm = keras.layers.LSTM(4, return_sequences=True)
    layer = tfpbnn.layers.Variational(lstm)
    y = layer(keras.random.normal((32, 5, 3)))      # one random draw
    stddev = layer.recurrent_kernel_posterior.scale
    ```

    Reference:
        [Blundell et al., 2015](https://arxiv.org/abs/1505.05424)
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        *,
        posterior: Identifier = "mean_field_normal",
        prior: Identifier = "normal",
        bias_posterior: Identifier = None,
        bias_prior: Identifier = None,
        kl_weight: float | None = None,
        free_bits: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        """Makes the layer.

        Args:
            layer: a Keras layer, built or not, with trainable weights.
            posterior: the family of the kernels, embeddings and the like: a
                name, a config or a `tfpbnn.families.Family`; None for points.
                Each weight gets a copy, whose loc is the layer's variable:
                what the family says of its loc (`loc_initializer` and so on)
                is not used.
            prior: of the same weights: a name, a config or a
                `tfpbnn.priors.Prior`; None for no KL.
            bias_posterior: as `posterior`, of the biases and all other
                weights of rank below 2 (the gains of normalizations); None,
                the default, for points.
            bias_prior: of the same weights; None, the default, for no KL. With
                a prior, points are maximum-a-posteriori estimates.
            kl_weight: what the KL is multiplied with, as in `DenseFlipout`.
            free_bits: the KL of each weight that is not pushed down further.
            seed: of the draws, not of the layer's own dropout.
            **kwargs: `name`, `trainable` of any Keras layer.

        Raises:
            TypeError: if `layer` is not a Keras layer.
            ValueError: if it is variational already, or quantized; when built,
                also if it has no trainable weights.
        """
        _check_layer(layer)
        # Keras reads off the signatures which arguments to fill in and which
        # shapes to build with: they are to be the layer's.
        self.call = functools.update_wrapper(
            functools.partial(self._call_layer), layer.call
        )
        functools.update_wrapper(self.build, layer.build, updated=())
        # The layer casts its inputs itself, or not, as an Embedding's indices.
        kwargs.setdefault("dtype", layer.dtype_policy)
        kwargs.setdefault("trainable", layer.trainable)
        super().__init__(autocast=False, **kwargs)
        self.layer = layer
        self.supports_masking = layer.supports_masking
        self.noise = RandomWeights(self, kl_weight, free_bits, seed)
        self._kernel = Weight(
            families.get(posterior, "posterior"), priors.get(prior, "prior")
        )
        self._bias = Weight(
            families.get(bias_posterior, "bias_posterior"),
            priors.get(bias_prior, "bias_prior"),
        )
        self._shapes: Config = {}
        self._borrowed: frozenset[str] = frozenset()

    def build(self, *args: Any, **kwargs: Any) -> None:
        bound = inspect.signature(self.layer.build).bind(*args, **kwargs)
        self._shapes = dict(bound.arguments)
        weights = _built_weights(self.layer, self._shapes)
        _check_layer(self.layer)
        if not weights:
            raise ValueError(
                "`layer` must have trainable weights for a distribution over "
                f"them. Received: layer={self.layer}"
            )
        self.noise.build(self)
        for name, variable in weights.items():
            if drawn_by(variable) not in (None, self):
                self._borrowed |= {name}
            if name in self._borrowed:
                continue  # one that holds it too has its posterior
            # GRU and MultiHeadAttention have biases of rank 2.
            is_bias = len(variable.shape) < 2 or "bias" in variable.name
            weight = self._bias if is_bias else self._kernel
            self._own_weight(name, weight.posterior, weight.prior)
            self._build_weight(name, variable)

    def _call_layer(self, *args: Any, **kwargs: Any) -> Any:
        call = functools.partial(self.layer, *args, **kwargs)
        return self._call_drawn(call, kwargs.get("training"))

    def _draw(
        self, draw: Callable[[Family, Tensor], Tensor], key: Tensor
    ) -> list[tuple[keras.Variable, Tensor]]:
        drawn = super()._draw(draw, key)
        held = {id(v): drawn_by(v) for v in self.layer.weights}
        others = {id(x): x for x in held.values() if x not in (None, self)}
        for other in others.values():
            # In the scope of a draw this is the other's own draw.
            own_key = other._draw_key()
            if own_key is not None:
                found = DrawnLayer._draw(other, draw, own_key)
                drawn += [pair for pair in found if id(pair[0]) in held]
        return drawn

    def compute_output_shape(self, *args: Any, **kwargs: Any) -> Any:
        return self.layer.compute_output_shape(*args, **kwargs)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        return self.layer.compute_output_spec(*args, **kwargs)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        return self.layer.compute_mask(inputs, previous_mask)

    def get_build_config(self) -> Config | None:
        if not self.built:
            return None
        # A loaded model may be built in another order.
        borrowed = (
            {"borrowed": sorted(self._borrowed)} if self._borrowed else {}
        )
        return {"shapes": dict(self._shapes), **borrowed}

    def build_from_config(self, config: Config) -> None:
        self._borrowed = frozenset(config.get("borrowed", ()))
        self.build(**config["shapes"])

    def get_config(self) -> Config:
        tell_apart([self.layer, *held_layers(self.layer)])
        templates: dict[str, Any] = {
            "posterior": self._kernel.posterior,
            "prior": self._kernel.prior,
            "bias_posterior": self._bias.posterior,
            "bias_prior": self._bias.prior,
        }
        return (
            super().get_config()
            | self.noise.config()
            | {"layer": keras.saving.serialize_keras_object(self.layer)}
            | {
                name: template and template.serialize()
                for name, template in templates.items()
            }
        )

    @classmethod
    def from_config(cls, config: Config) -> "Variational":
        layer = keras.saving.deserialize_keras_object(config["layer"])
        return cls(**(config | {"layer": layer}))


def _check_layer(layer: Any) -> None:
    is_layer = isinstance(layer, keras.layers.Layer)
    if not is_layer or isinstance(layer, template.Template):
        raise TypeError(
            "`layer` must be a Keras layer, such as keras.layers.LSTM(8). "
            f"Received: layer={layer!r} of type {type(layer).__name__}"
        )
    # Every variational layer has a KL weight, built or not.
    if any(
        is_weight(v) or getattr(drawn_by(v), "layer", None) is layer
        for v in layer.variables
    ):
        raise ValueError(
            "`layer` must be a plain Keras layer, not wrapped already and "
            "without variational layers in it: these draw on their own. "
            f"Received: layer={layer}"
        )
    if getattr(layer, "quantization_mode", None) is not None:
        raise ValueError(
            "`layer` must not be quantized: integers have no mean-field "
            f"Normal. Received: layer={layer}, with "
            f"quantization_mode={layer.quantization_mode!r}"
        )


def _built_weights(
    layer: keras.layers.Layer, shapes: Config
) -> dict[str, keras.Variable]:
    """The layer's trainable variables by name, numbered where one recurs."""
    is_frozen = not layer.trainable
    if is_frozen:  # what is frozen as a whole may be trained later
        layer.trainable = True
    _build(layer, shapes)
    named: dict[str, keras.Variable] = {}
    for variable in layer.trainable_variables:
        # Keras counts those without a name over all that a process makes.
        own = _NAMELESS.sub("variable", variable.name)
        name, number = own, 0
        while name in named:
            number += 1
            name = f"{own}_{number}"
        named[name] = variable
    layer.trainable = not is_frozen
    return named


def _build(layer: keras.layers.Layer, shapes: Config) -> None:
    """Builds the layer for inputs of these shapes, if it isn't yet."""
    if layer.built and layer.variables:
        return
    if type(layer).build is not keras.layers.Layer.build:
        layer.build(**shapes)
        return
    # A layer that builds its sub-layers as it is called.
    (shape,) = shapes.values()
    is_one = all(size is None or isinstance(size, int) for size in shape)
    inputs = [
        keras.KerasTensor(tuple(s), layer.compute_dtype)
        for s in ([shape] if is_one else shape)
    ]
    layer(inputs[0] if is_one else inputs)
