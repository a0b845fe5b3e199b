"""Defines variational recurrent layers, with one draw per call."""

import functools
import inspect
from typing import Any

import keras

from tfpbnn.base import checks, registry
from tfpbnn.base.types import Config, Identifier, Tensor
from tfpbnn.layers.drawn.base import DrawnLayer
from tfpbnn.layers.random_weights import RandomWeights


class BaseRecurrent(DrawnLayer, keras.layers.RNN):
    """A base with what the layers add to Keras's, which are bases too.

    Input shape:
        `(batch, timesteps, features)`.

    Output shape:
        `(batch, units)`, or `(batch, timesteps, units)` with
        `return_sequences`; with `return_state` the states follow.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # For `help`: the arguments of Keras's layer, and then ours.
        theirs = inspect.signature(super().__init__).parameters
        ours = inspect.signature(cls.__init__).parameters
        _, *arguments, keywords = theirs.values()
        arguments += [p for p in ours.values() if p.kind is p.KEYWORD_ONLY]
        cls.__signature__ = inspect.Signature([*arguments, keywords])

    def __init__(
        self,
        *args: Any,
        kernel_posterior: Identifier = "mean_field_normal",
        kernel_prior: Identifier = "normal",
        recurrent_posterior: Identifier = "mean_field_normal",
        recurrent_prior: Identifier = "normal",
        bias_posterior: Identifier = None,
        bias_prior: Identifier = None,
        kl_weight: float | None = None,
        free_bits: float = 0.0,
        **kwargs: Any,
    ):
        """Makes the layer.

        Args:
            *args: the arguments of the Keras layer, in its order: `units`,
                `activation` and so on. Initializers, regularizers and
                constraints are those of the posteriors' `loc`, with Keras's
                defaults.
            kernel_posterior: the family of the kernel's distribution: a name,
                a config or a `tfpbnn.families.Family`; None for a point. Its
                `loc_initializer` and so on are not used.
            kernel_prior: the kernel's prior: a name, a config or a
                `tfpbnn.priors.Prior`; None for no KL.
            recurrent_posterior: the recurrent kernel's family, given like
                `kernel_posterior`.
            recurrent_prior: the recurrent kernel's prior.
            bias_posterior: the bias's family; None, the default, for a point.
            bias_prior: the bias's prior; None, the default, for no KL.
            kl_weight: the factor of the KL in the loss, as in `DenseFlipout`.
            free_bits: the KL of each weight, in bits, below which it is not
                pushed down further.
            **kwargs: the arguments of the Keras layer. `seed` is the seed of
                the draws and of Keras's dropout; None takes one from Python's
                `random`.

        Raises:
            ValueError: for the reasons of `DenseFlipout`; when built, if
                variables are of half precision (`dtype="mixed_float16"`
                works); when called, if the shape of a mask does not fit.
        """
        super().__init__(*args, **kwargs)
        # Bidirectional gives both directions one seed: draws must still differ.
        self.noise = RandomWeights(
            self,
            kl_weight,
            free_bits,
            self.cell.seed,
            stream=int(self.go_backwards),
        )
        self._own_weight("kernel", kernel_posterior, kernel_prior)
        self._own_weight("recurrent", recurrent_posterior, recurrent_prior)
        if self.cell.use_bias:
            self._own_weight("bias", bias_posterior, bias_prior)

    def build(
        self, sequences_shape: Any, initial_state_shape: Any = None
    ) -> None:
        super().build(sequences_shape, initial_state_shape)
        self.noise.build(self)
        self._build_weight("kernel", self.cell.kernel)
        self._build_weight("recurrent", self.cell.recurrent_kernel)
        if self.cell.use_bias:
            self._build_weight("bias", self.cell.bias)

    def call(
        self,
        sequences: Tensor,
        initial_state: Any = None,
        mask: Tensor | None = None,
        training: bool | None = False,
    ) -> Any:
        if mask is not None:
            _check_mask(mask, sequences)
        unroll = functools.partial(
            super().call,
            sequences,
            initial_state=initial_state,
            mask=mask,
            training=training,
        )
        return self._call_drawn(unroll, training)

    def get_config(self) -> Config:
        config = super().get_config() | self.noise.config()
        for name in self._weight_names:
            config |= self._weight_config(name)
        return config


def _check_mask(mask: Tensor, sequences: Tensor) -> None:
    """Raises an error about masks that TensorFlow would not give as clearly."""
    steps = sequences.shape[:2]
    if not checks.broadcasts(mask.shape[:2], steps):
        raise ValueError(
            "`mask` must have the shape of the sequences without the "
            f"features, {tuple(steps)}. Received: shape {tuple(mask.shape)}"
        )


@registry.register("layers")
class SimpleRNNReparameterization(BaseRecurrent, keras.layers.SimpleRNN):
    """`SimpleRNN` with one draw per call; see `LSTMReparameterization`."""


@registry.register("layers")
class GRUReparameterization(BaseRecurrent, keras.layers.GRU):
    """`GRU` with one draw per call; see `LSTMReparameterization`."""


@registry.register("layers")
class LSTMReparameterization(BaseRecurrent, keras.layers.LSTM):
    """Long short-term memory with one draw of its weights per call.

    All time steps, and all rows of a batch, go through the same draw of the
    kernels: a call is one recurrent network from the posterior. A draw for
    each step would be another model, whose noise averages out over time. So
    there is no local reparameterization of a recurrent layer; nor is there
    Flipout here, as the cells that run are Keras's.

    It is a `keras.layers.LSTM` in all else: `return_sequences`,
    `return_state`, masks, `stateful` (states are kept from call to call, each
    with its own draw), dropout, and in `keras.layers.Bidirectional`, whose
    directions draw independently.
    `kernel_posterior.loc` and `recurrent_posterior.loc` are the variables of
    Keras's cell.

    Call arguments:
        sequences: a tensor `(batch, timesteps, features)`.
        initial_state: a list of two tensors; None for zeros.
        mask: booleans `(batch, timesteps)`; False skips a step.
        training: whether to apply dropout.

    Example:
    ```python
    lstm = tfpbnn.layers.LSTMReparameterization(8)
    model = keras.Sequential([
        keras.layers.Bidirectional(lstm),
        tfpbnn.layers.DenseFlipout(2),
    ])
    y = model(keras.random.normal((32, 10, 4)))     # (32, 2)
    ```

    Reference:
        [Fortunato et al., 2017](https://arxiv.org/abs/1704.02798)
    """
