"""Defines variational dense layers."""

from typing import Any

from tfpbnn.base import checks, registry
from tfpbnn.base.types import Identifier, Shape
from tfpbnn.layers.linear import estimators, ops
from tfpbnn.layers.linear.base import VariationalLayer
from tfpbnn.layers.linear.weights import weights_of


class BaseDense(VariationalLayer):
    """`activation(x @ kernel + bias)` with a distribution over the kernel.

    Input shape:
        `(batch, ..., input_dim)`.

    Output shape:
        `(batch, ..., units)`.
    """

    _arguments = ("units", "activation", "use_bias")

    def __init__(
        self,
        units: int,
        activation: Identifier = None,
        use_bias: bool = True,
        kernel_initializer: Identifier = None,
        bias_initializer: Identifier = "zeros",
        kernel_regularizer: Identifier = None,
        bias_regularizer: Identifier = None,
        activity_regularizer: Identifier = None,
        kernel_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        *,
        kernel_posterior: Identifier = "mean_field_normal",
        kernel_prior: Identifier = "normal",
        bias_posterior: Identifier = None,
        bias_prior: Identifier = None,
        kl_weight: float | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        """Makes the layer; Keras's arguments mean what they do in `Dense`.

        Args:
            units: the number of outputs, a positive integer.
            activation: a Keras activation.
            use_bias: whether to add a bias.
            kernel_initializer: the initializer of the kernel posterior's
                `loc`; None for the posterior's own
                (`RandomNormal(stddev=0.1)`, as in TFP).
            bias_initializer: the initializer of the bias posterior's `loc`.
            kernel_regularizer: a regularizer of the kernel's `loc`, in
                addition to the KL.
            bias_regularizer: a regularizer of the bias's `loc`.
            activity_regularizer: a regularizer of the outputs.
            kernel_constraint: a constraint of the kernel's `loc`.
            bias_constraint: a constraint of the bias's `loc`.
            kernel_posterior: the family of the kernel's distribution: a name,
                a config or a `tfpbnn.families.Family`; None for a point.
            kernel_prior: the kernel's prior: a name, a config or a
                `tfpbnn.priors.Prior`; None for no KL.
            bias_posterior: the family of the bias's distribution; None, the
                default, for a point, as in TFP.
            bias_prior: the bias's prior; None, the default, for no KL. A bias
                with a distribution needs a prior, or its scales shrink to 0.
            kl_weight: the factor of the KL in the loss, normally 1 / (number
                of training examples). None leaves it to
                `tfpbnn.callbacks.KLWeight` or `tfpbnn.Sequential`.
            seed: the seed of the layer's noise. None takes one from Python's
                `random`, which `keras.utils.set_random_seed` seeds.
            **kwargs: the `name`, `dtype` and `trainable` of any Keras layer,
                and `free_bits`: the KL of each weight, in bits, below which it
                is not pushed down further (Kingma et al., 2016).

        Raises:
            ValueError: if `units` is not positive, a name is unknown (the
                message lists the known ones), `kl_weight` is negative or not
                finite, or the estimator does not hold for the family.
        """
        units = checks.positive_integer("units", units)
        super().__init__(
            weights_of(locals(), "kernel", "bias"),
            activation=activation,
            use_bias=use_bias,
            activity_regularizer=activity_regularizer,
            kl_weight=kl_weight,
            seed=seed,
            **kwargs,
        )
        self.units = units
        self.supports_masking = True

    def _weight_shapes(self, input_shape: Shape) -> dict[str, Any]:
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise ValueError(
                "Inputs must have rank 2 or more and a known last axis. "
                f"Received: input_shape={input_shape}"
            )
        return {"kernel": (input_shape[-1], self.units), "bias": (self.units,)}

    def _ops(self) -> dict[str, ops.LinearOp]:
        return {"kernel": ops.dense()}


@registry.register("layers")
class DenseReparameterization(BaseDense):
    """A dense layer with one kernel draw per call (the estimator of VAEs).

    All rows of a batch go through the same kernel, so a call is one function
    drawn from the posterior. The gradient's noise does not fall with the batch
    size; `DenseFlipout` and `DenseLocalReparameterization` are less noisy.

    Call arguments:
        inputs: a tensor of rank 2 or more.
        training: decides nothing but which compiled kernels are used.

    Example:
    ```python
    layer = tfpbnn.layers.DenseReparameterization(8, activation="relu")
    y = layer(keras.random.normal((32, 4)))         # one random draw
    ```

    Reference:
        [Kingma and Welling, 2014](https://arxiv.org/abs/1312.6114);
        [Blundell et al., 2015](https://arxiv.org/abs/1505.05424)
    """

    _estimator = estimators.REPARAMETERIZATION


@registry.register("layers")
class DenseLocalReparameterization(BaseDense):
    """A dense layer with noise on its outputs, independent for each row.

    The noise is drawn for `batch x units` outputs and not for the kernel. This
    is the cheapest estimator, with the least noisy gradient. The positions of
    an input of rank 3 or more get independent noise, although they share a
    kernel; for those `DenseFlipout` is exact. The posterior must be of
    independent Normals.

    Call arguments:
        inputs: a tensor of rank 2 or more.
        training: decides nothing but which compiled kernels are used.

    Example:
    ```python
    layer = tfpbnn.layers.DenseLocalReparameterization(8, activation="relu")
    y = layer(keras.random.normal((32, 4)))         # each row its own draw
    ```

    Reference:
        [Kingma et al., 2015](https://arxiv.org/abs/1506.02557)
    """

    _estimator = estimators.LOCAL_REPARAMETERIZATION


@registry.register("layers")
class DenseFlipout(BaseDense):
    """A dense layer with one kernel draw, its signs flipped for each row.

    The rows of a batch are uncorrelated, so the gradient's noise falls with
    the batch size. It takes twice the products of a plain layer. The
    distribution of the weights' noise must stay the same if signs are flipped.

    Call arguments:
        inputs: a tensor of rank 2 or more.
        training: decides nothing but which compiled kernels are used.

    Example:
    ```python
    model = keras.Sequential([
        tfpbnn.layers.DenseFlipout(50, activation="relu"),
        tfpbnn.layers.DenseFlipout(2),
    ])
    y = model(keras.random.normal((32, 4)))         # each row its own draw
    ```

    Reference:
        [Wen et al., 2018](https://arxiv.org/abs/1803.04386)
    """

    _estimator = estimators.FLIPOUT
