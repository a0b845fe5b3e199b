"""Defines how the noise of the weights enters a layer's outputs.

Each estimator is one function of (op, x, weight, key) that returns a random
`op(x, kernel)`, of the same distribution for each example, differentiable in
the variables of the weight's posterior. They differ in how the examples of a
batch, or the positions of an example, depend on each other, and so in the
variance of the gradient.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from tfpbnn import fused, random
from tfpbnn.base.types import Tensor
from tfpbnn.families import Family
from tfpbnn.layers.kl import TrainedWeight
from tfpbnn.layers.linear.ops import LinearOp


def in_training(
    estimate: Callable[[LinearOp, Tensor, TrainedWeight, Tensor], Tensor],
) -> Callable[[LinearOp, Tensor, Family, Tensor], Tensor]:
    """Makes an estimator that trains posteriors: see `TrainedWeight`."""
    return lambda op, x, posterior, key: estimate(
        op, x, TrainedWeight(posterior), key
    )


def mean(op: LinearOp, x: Tensor, weight: Family | TrainedWeight) -> Tensor:
    """Computes the output at the posterior's location, without noise."""
    return op(x, tf.convert_to_tensor(weight.loc))


def reparameterization(
    op: LinearOp, x: Tensor, weight: TrainedWeight, key: Tensor
) -> Tensor:
    """Draws one kernel for the whole batch: `op(x, loc + scale * eps)`.

    Examples are fully correlated, since the batch goes through one function.

    Reference:
        [Kingma and Welling, 2014](https://arxiv.org/abs/1312.6114)
    """
    return op(x, weight.sample(key))


def local_reparameterization(
    op: LinearOp, x: Tensor, weight: TrainedWeight, key: Tensor
) -> Tensor:
    """Draws noise of the outputs: `op(x, loc) + sqrt(op(x^2, scale^2)) eps`.

    Each example is independent of the others. So is each position within an
    example (the time steps of a rank-3 input), although they share a kernel:
    their joint distribution is not the layer's.

    Reference:
        [Kingma et al., 2015](https://arxiv.org/abs/1506.02557)
    """
    if not weight.is_random:
        return mean(op, x, weight)
    y, variance = moments(op, x, weight)
    if fused.perturbs(y, variance):
        return fused.add_noise(y, variance, key)
    standard = random.normal(key, tf.shape(variance), variance.dtype)
    scale = tf.sqrt(variance + fused.VARIANCE_FLOOR)
    return y + tf.cast(scale * standard, y.dtype)


def flipout(
    op: LinearOp, x: Tensor, weight: TrainedWeight, key: Tensor
) -> Tensor:
    """Draws noise of the kernel once, with signs flipped for each example.

    The output is `op(x, loc) + s * op(r * x, noise)`, with signs r and s.
    Examples are uncorrelated; the positions of an example share their kernel.

    Reference:
        [Wen et al., 2018](https://arxiv.org/abs/1803.04386)
    """
    if not weight.is_random:
        return mean(op, x, weight)
    loc, noise = weight.loc_and_noise(random.fold(key, 0))
    y = op(x, loc)
    if op.x_axes:
        x = _signs(random.fold(key, 1), x, op.x_axes) * x
    return y + _signs(random.fold(key, 2), y, op.y_axes) * op(x, noise)


def moments(
    op: LinearOp, x: Tensor, weight: Family | TrainedWeight
) -> tuple[Tensor, Tensor]:
    """Computes mean and variance of the outputs, for independent Normals."""
    if not weight.is_random:
        y = mean(op, x, weight)
        return y, tf.zeros(
            [], tf.float64 if y.dtype == "float64" else "float32"
        )
    loc, variance = weight.loc_and_variance()
    return op(x, loc), op.squared(x, variance)


def _signs(key: Tensor, like: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Draws signs for each example and each index of `axes`; 1 elsewhere."""
    rank = len(like.shape)
    drawn = {0, *(axis % rank for axis in axes)}
    sizes = tf.shape(like)
    shape = [sizes[axis] if axis in drawn else 1 for axis in range(rank)]
    return random.signs(key, shape, like.dtype)


# Properties of families, and what is said of a family that lacks one.
_NEEDS = {
    "independent_normal": "weights that are independent Normals",
    "sign_symmetric": (
        "noise whose distribution stays the same if signs are flipped"
    ),
}


@dataclasses.dataclass(frozen=True)
class Estimator:
    """A way to draw a layer's outputs in training.

    Attributes:
        name: the name for errors.
        apply: the function of (op, x, weight, key).
        needs: the property that a family must have, if any.
        is_by_row: whether rows differ in their draws, so that the batch must
            be an axis of the outputs.
        is_of_outputs: whether outputs have noise, in place of weights.
    """

    name: str
    apply: Callable[[LinearOp, Tensor, TrainedWeight, Tensor], Tensor]
    needs: str = ""
    is_by_row: bool = True
    is_of_outputs: bool = False

    def check(self, posterior: Family, argument: str) -> None:
        """Raises if the estimator does not hold for the family.

        Raises:
            ValueError: if it does not hold; the message names the layer's
                argument, the reason and what to use.
        """
        if self.needs and not getattr(posterior, self.needs):
            raise ValueError(
                f"The estimator `{self.name}` needs {_NEEDS[self.needs]}. "
                f"Received: {argument}={type(posterior).__name__}. Use "
                '"mean_field_normal", or a Reparameterization layer, which '
                "takes any family."
            )


REPARAMETERIZATION = Estimator(
    "reparameterization", reparameterization, is_by_row=False
)
LOCAL_REPARAMETERIZATION = Estimator(
    "local_reparameterization",
    local_reparameterization,
    needs="independent_normal",
    is_of_outputs=True,
)
FLIPOUT = Estimator("flipout", flipout, needs="sign_symmetric")
# Rows are of members, which have factors of their own: see `FastWeights`.
FAST_WEIGHTS = Estimator("fast_weights", reparameterization)
