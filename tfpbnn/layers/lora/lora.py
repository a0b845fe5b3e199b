"""A frozen layer of Keras's with low-rank adapters on kernels in it."""

import functools
import inspect
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import keras
import tensorflow as tf

from tfpbnn import fused, priors, random
from tfpbnn.base import checks, registry
from tfpbnn.base.keras_private import (
    held_layers,
    mask_of,
    tell_apart,
    with_mask,
)
from tfpbnn.base.types import Config, Identifier, Tensor
from tfpbnn.layers.dropout.mc_wrapper import with_signature
from tfpbnn.layers.lora import factors
from tfpbnn.layers.lora.adapter import Adapter
from tfpbnn.layers.lora.linear_part import linear_part
from tfpbnn.layers.lora.methods import METHODS
from tfpbnn.layers.noise import Noise
from tfpbnn.layers.random_layer import RandomLayer
from tfpbnn.layers.random_weights import RandomWeights
from tfpbnn.networks.stand_ins import Attributes, StandIns, callee

# Written out, it is `Normal(scale=0.2)`.
DEFAULT_PRIOR = "default"


@registry.register("layers")
class LoRA(RandomLayer, keras.layers.Wrapper):
    """A frozen layer with trainable low-rank adapters on kernels in it.

    Each adapted kernel `W [I, O]` counts as `W + alpha / rank * A @ B`, with
    `A [I, rank]` and `B [rank, O]`, of which neither `A @ B` nor the sum is
    computed: `x @ A @ B` is added to the outputs, before their activation. `B`
    begins at zero, and so the layer begins as it was. Axes of a kernel that
    are summed with the inputs make up I, all others O.

    The layer may be one with a kernel (Dense, EinsumDense, Embedding,
    convolutions), or any layer that holds such: attention, or an encoder. The
    layer's own code runs, also if it is quantized to int8.

    Methods:
    - "blob": A has independent Normals, B is a point (Wang et al., 2024).
      In training, the noise of A has signs of its own for each example, which
      the positions of an example share (Flipout).
    - "mean_field": A and B have independent Normals.
    - "mc_dropout": the adapter's inputs are dropped, in prediction too.
    - "tfb": A has Normals whose scales `tfpbnn.lora.tfb` sets.
    - "deterministic": neither.

    Call arguments:
        *args: those of the layer.
        **kwargs: those of the layer.

    Input shape:
        That of the layer.

    Output shape:
        That of the layer.

    Example:
    ```python
    layer = tfpbnn.layers.LoRA(keras.layers.Dense(8), rank=2)
    y = layer(keras.random.normal((32, 5)))
    len(layer.trainable_variables)                  # A's two and B
    ```

    Reference:
        [Hu et al., 2022](https://arxiv.org/abs/2106.09685);
        [Wang et al., 2024](https://arxiv.org/abs/2406.11675)
    """

    noise: Noise | None

    def __init__(
        self,
        layer: keras.layers.Layer,
        rank: int = 8,
        alpha: float | None = None,
        method: str = "blob",
        *,
        targets: Sequence[int] = (0,),
        prior: Identifier = DEFAULT_PRIOR,
        rate: float = 0.1,
        kl_weight: float | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        """Makes the layer, and freezes `layer`.

        Args:
            layer: a Keras layer, built or not.
            rank: of what is added to each kernel, a positive integer.
            alpha: `alpha / rank` multiplies it; None, the default, for `rank`.
            method: "blob", "mean_field", "mc_dropout", "tfb" or
                "deterministic".
            targets: which layers have adapters: 0 is `layer`, and the others
                are those that it holds, in Keras's order.
            prior: of factors with a distribution, for the methods "blob" and
                "mean_field": a name, a config or a `tfpbnn.priors.Prior`; None
                for no KL. The default is `Normal(scale=0.2)`.
            rate: of "mc_dropout", from 0 to below 1.
            kl_weight: what the KL is multiplied with, as in `DenseFlipout`.
            seed: of the draws.
            **kwargs: `name` of any Keras layer.

        Raises:
            TypeError: if `layer` is not a Keras layer.
            ValueError: if an argument is not of these kinds; when built, if
                `rank` is above that of a kernel, or a target takes none.
        """
        _check_layer(layer)
        # Keras reads off the signature which tensors, masks and modes to pass.
        self.call = with_signature(layer.call, self._call)
        # The layer casts its inputs itself, or not, as an Embedding's indices.
        kwargs |= {"dtype": layer.compute_dtype, "autocast": False}
        kwargs.setdefault("name", layer.name)
        super().__init__(layer, **kwargs)
        self.rank = checks.integer("rank", rank, least=1)
        self.alpha = checks.positive_number.optional("alpha", alpha, "`rank`")
        self.method = checks.one_of("method", method, sorted(METHODS))
        self.targets = _check_targets(targets)
        self.rate = checks.rate("rate", rate)
        self.supports_masking = layer.supports_masking
        self._set_randomness(prior, kl_weight, seed)
        scaling = (self.alpha or self.rank) / self.rank
        self.adapters = [
            Adapter(self.rank, scaling, method, self.rate, self.prior)
            for _ in targets
        ]
        self._has_adapters = False
        set_trainable(layer, False)

    def _set_randomness(
        self, prior: Identifier, kl_weight: float | None, seed: int | None
    ) -> None:
        kind = METHODS[self.method]
        if isinstance(prior, str) and prior == DEFAULT_PRIOR:
            prior = priors.Normal(scale=0.2)
        self.prior = priors.get(prior, "prior") if kind.has_prior else None
        self.seed, self.initial_kl_weight = seed, kl_weight
        if self.prior is not None:
            self.noise = RandomWeights(self, kl_weight, 0.0, seed)
        elif kind.is_random:
            self.noise = Noise(self, seed)

    @property
    def trainable(self) -> bool:
        """Whether the adapters are trained; the layer never is."""
        return keras.layers.Layer.trainable.fget(self)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        keras.layers.Layer.trainable.fset(self, value)
        set_trainable(self.layer, False)

    def build(self, input_shape: Any = None) -> None:
        # The layer and the adapters are built when it is called.
        if self.noise is not None:
            self.noise.build(self)

    def adapted(self) -> list[tuple[Any, Adapter]]:
        """The pairs of a layer with a kernel and its adapter."""
        return self.adapted_in(self.layer)

    def adapted_in(self, layer: Any) -> list[tuple[Any, Adapter]]:
        """The same pairs for another layer like the adapted one."""
        parts = parts_of(layer)
        if max(self.targets) >= len(parts):
            raise ValueError(
                f"`targets` must be below {len(parts)}, for {self.name!r} and "
                f"what it holds. Received: targets={self.targets}"
            )
        chosen = [parts[index] for index in self.targets]
        return list(zip(chosen, self.adapters, strict=True))

    def _build_adapters(self) -> None:
        for part, adapter in self.adapted():
            if reason := factors.obstacle(part):
                raise ValueError(
                    f"The layer {part.name!r} in {self.layer.name!r} can't "
                    f"have an adapter: it {reason}."
                )
            is_inner = part is not self.layer
            with keras.name_scope(part.name) if is_inner else nullcontext():
                adapter.build_for(factors.factors_of(part))
            for posterior, prior in adapter.distributions():
                if isinstance(self.noise, RandomWeights):
                    self.noise.add_kl(posterior, prior)
        self._has_adapters = True

    def drawing(self, input_shape: Any = None) -> random.Drawing:
        return random.Drawing(is_random=METHODS[self.method].is_random)

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        if not self.layer.built:
            self.layer(*args, **kwargs)  # Only then it has all its parts.
            set_trainable(self.layer, False)
        is_first = not self._has_adapters
        if is_first:
            self._build_adapters()
        layer, key = callee(self.layer), self._draw_key()
        pairs = self.adapted_in(layer)
        calls = {
            id(part): functools.partial(self._adapted_call, adapter, index, key)
            for index, (part, adapter) in enumerate(pairs)
        }
        called: set[int] = set()

        def methods(part: Any) -> Attributes:
            if id(part) not in calls:
                return {}

            def call(stand_in: Any, *args: Any, **kwargs: Any) -> Any:
                called.add(id(part))
                return calls[id(part)](stand_in, *args, **kwargs)

            return {"call": call, "quantized_call": call}

        in_scope = random.current_scope() is not None
        with fused.enabled(in_scope or bool(kwargs.get("training"))):
            outputs = StandIns(methods).of(layer)(*args, **kwargs)
        if is_first:
            self._check_called([p for p, _ in pairs if id(p) not in called])
        return outputs

    def _check_called(self, left_out: list[Any]) -> None:
        """Raises if parts were not called, so that adapters do nothing."""
        if left_out:
            raise ValueError(
                "`targets` must be layers that are called. Received: "
                f"{[part.name for part in left_out]} in {self.layer.name!r}, "
                "whose code takes their weights itself, or leaves them out. "
                "Call them there, or leave them out of `targets`."
            )

    def _adapted_call(
        self,
        adapter: Adapter,
        index: int,
        key: Tensor | None,
        part: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """The call of a layer with a kernel, with its adapter."""
        if key is not None:
            key = random.fold(key, index)
        first, last = linear_part(part)
        outputs = first(*args, **kwargs)
        call = inspect.signature(type(part).call)
        arguments = call.bind(part, *args, **kwargs).arguments
        is_reverse = bool(arguments.get("reverse"))
        if not is_reverse:
            more = adapter(arguments["inputs"], key)
        elif part.tie_weights:
            more = adapter.reverse(arguments["inputs"], key)
        else:
            return last(outputs, is_reverse)
        adapted = last(outputs + tf.cast(more, outputs.dtype), is_reverse)
        return with_mask(adapted, mask_of(outputs))

    def compute_mask(self, *args: Any, **kwargs: Any) -> Any:
        return self.layer.compute_mask(*args, **kwargs)

    def get_config(self) -> Config:
        check_config(self.layer)
        tell_apart(parts_of(self.layer))
        return super().get_config() | self.arguments()

    def arguments(self) -> Config:
        """Gives what the adapters are made from, without the layer."""
        return {
            "rank": self.rank,
            "alpha": self.alpha,
            "method": self.method,
            "targets": list(self.targets),
            "prior": self.prior and self.prior.serialize(),
            "rate": self.rate,
            "kl_weight": self.initial_kl_weight,
            "seed": self.seed,
        }


def _check_targets(targets: Sequence[int]) -> tuple[int, ...]:
    found = tuple(targets)
    if not found or len(set(found)) < len(found):
        raise ValueError(
            "`targets` must be one or more different integers. Received: "
            f"targets={targets!r}"
        )
    return tuple(checks.integer("targets", index, least=0) for index in found)


def parts_of(layer: Any) -> list[Any]:
    """A built layer and all that it holds, as `targets` counts them."""
    return [layer, *held_layers(layer)]


def check_config(layer: Any) -> None:
    """Raises if a config doesn't make a layer again, with all that it holds.

    Raises:
        ValueError: if what a layer makes itself is quantized, of which its
            config does not tell.
    """
    own = getattr(layer, "quantization_mode", None)
    for part in held_layers(layer) if layer.built else ():
        if getattr(part, "quantization_mode", None) != own and part.weights:
            raise ValueError(
                f"The layer {layer.name!r} holds {part.name!r}, which is "
                "quantized: its config would make it anew without that. Use "
                "`add_lora(..., in_place=True)`, and `save_adapters` in place "
                f"of `save`. Received: quantization_mode="
                f"{getattr(part, 'quantization_mode', None)!r}"
            )


def set_trainable(layer: Any, value: bool) -> None:
    """Freezes a layer with all that it holds, or lets all of it be trained.

    Keras does nothing where the layer has that value already, although what it
    has made since may not.
    """
    layer.trainable = not value
    layer.trainable = value


def _check_layer(layer: Any) -> None:
    if not isinstance(layer, keras.layers.Layer):
        raise TypeError(
            "`layer` must be a Keras layer, such as keras.layers.Dense(8). "
            f"Received: layer={layer!r} of type {type(layer).__name__}"
        )
    if any(isinstance(part, RandomLayer) for part in parts_of(layer)):
        raise ValueError(
            "`layer` must be a plain Keras layer, with no layer in it that "
            f"draws or has adapters. Received: layer={layer}"
        )
