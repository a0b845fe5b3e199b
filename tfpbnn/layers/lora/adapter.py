"""Holds the two factors that are added to one kernel."""

from typing import Any

import keras
import tensorflow as tf

from tfpbnn import priors, random
from tfpbnn.base import registry
from tfpbnn.base.types import Config, Identifier, Shape, Tensor
from tfpbnn.families import Family
from tfpbnn.layers.dropout.mc_noise import MCDropout
from tfpbnn.layers.linear import drawing, estimators
from tfpbnn.layers.linear.ops import LinearOp
from tfpbnn.layers.lora.factors import Factors
from tfpbnn.layers.lora.methods import METHODS
from tfpbnn.priors import Prior


@registry.register("layers")
class Adapter(keras.layers.Layer):
    """Holds the factors of what is added to one kernel.

    A part of a `LoRA`, which makes it, and has its KL and its random numbers.

    Attributes:
        a_posterior: of the factor that meets the inputs.
        b_posterior: of the other factor.
        factors: how the two are applied, of a built one.
    """

    factors: Factors

    def __init__(
        self,
        rank: int,
        scaling: float,
        method: str,
        rate: float,
        prior: Identifier,
    ):
        super().__init__(name="adapter", dtype="float32", autocast=False)
        self.rank = rank
        self.scaling = scaling
        self.method_name = method
        self.method = METHODS[method]
        self.rate = rate
        a, b = self.method.factors()
        self.a_posterior = a.copy(name="a_posterior", dtype="float32")
        self.b_posterior = b.copy(name="b_posterior", dtype="float32")
        # A template, of which both have copies: not a part of the layer.
        self.prior = template = priors.get(prior, "prior")
        self.a_prior, self.b_prior = (
            template.copy(name=f"{name}_prior", dtype="float32")
            if template is not None and family.is_random
            else None
            for name, family in (("a", a), ("b", b))
        )

    def distributions(self) -> list[tuple[Family, Prior | None]]:
        """Gives the posterior and the prior of each factor."""
        return [
            (self.a_posterior, self.a_prior),
            (self.b_posterior, self.b_prior),
        ]

    def build_for(self, factors: Factors) -> None:
        """Makes the variables for a kernel with such factors."""
        self.factors = factors
        if self.rank > factors.highest_rank:
            raise ValueError(
                "`rank` must be at most that of the kernel. Received: "
                f"rank={self.rank}, for a kernel of rank "
                f"{factors.highest_rank}, from {factors.a_sizes} to "
                f"{factors.b_sizes}"
            )
        self.a_posterior.build((*factors.a_sizes, self.rank))
        self.b_posterior.build((self.rank, *factors.b_sizes))
        self.built = True

    def call(self, inputs: Tensor, key: Tensor | None) -> Tensor:
        """Computes what is added to the outputs of the kernel.

        Args:
            inputs: those of the kernel.
            key: of the draw; None for the means.
        """
        factors = self.factors
        x = inputs if factors.takes_indices else self._dropped(inputs, key)
        y = self._applied(factors.a, x, self.a_posterior, key, 0)
        if factors.takes_indices:  # these can't be dropped
            y = self._dropped(y, key)
        return self.scaling * self._applied(
            factors.b, y, self.b_posterior, key, 1
        )

    def reverse(self, inputs: Tensor, key: Tensor | None) -> Tensor:
        """Computes the same for the kernel's transpose, as a tied embedding."""
        y = self._dropped(inputs, key)
        y = self._applied(_TRANSPOSED, y, self.b_posterior, key, 1)
        return self.scaling * self._applied(
            _TRANSPOSED, y, self.a_posterior, key, 0
        )

    def kernel(self) -> Tensor:
        """Computes what is added to the kernel at the means."""
        a, b = self.a_posterior.loc, self.b_posterior.loc
        return self.scaling * self.factors.kernel(
            tf.convert_to_tensor(a), tf.convert_to_tensor(b)
        )

    def _applied(
        self,
        op: LinearOp,
        x: Tensor,
        posterior: Family,
        key: Tensor | None,
        index: int,
    ) -> Tensor:
        if key is None or not posterior.is_random:
            return estimators.mean(op, x, posterior)
        key = random.fold(key, index)
        if random.current_scope() is not None:
            return drawing.coherent(op, x, posterior, key)
        estimator = (
            estimators.FLIPOUT
            if self.factors.is_by_row
            else estimators.REPARAMETERIZATION
        )
        return estimators.in_training(estimator.apply)(op, x, posterior, key)

    def _dropped(self, inputs: Tensor, key: Tensor | None) -> Tensor:
        if not self.method.drops or key is None:
            return inputs
        dropout = MCDropout(self.rate, dtype=inputs.dtype.name)
        return dropout.with_key(inputs, random.fold(key, 2))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        raise NotImplementedError  # only the layer around it is called

    def get_config(self) -> Config:
        return {
            "rank": self.rank,
            "scaling": self.scaling,
            "method": self.method_name,
            "rate": self.rate,
            "prior": self.prior and self.prior.serialize(),
        }


_TRANSPOSED = LinearOp(
    lambda x, kernel: keras.ops.matmul(x, tf.transpose(kernel)),
    x_axes=(-1,),
    y_axes=(-1,),
)
