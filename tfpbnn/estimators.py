"""How the noise of the weights enters a layer's output.

Each estimator is one function of (op, x, posterior, key) that returns a random
`op(x, kernel)`, of the same distribution for each example, differentiable in
the posterior's variables. They differ in how the examples of a batch, or the
positions of an example, depend on each other, and so in the variance of the
gradient.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfpbnn import fused, fused_draws, random
from tfpbnn.families import Family
from tfpbnn.linear_ops import LinearOp
from tfpbnn.types import Tensor


def mean(op: LinearOp, x: Tensor, posterior: Family) -> Tensor:
    """The output at the posterior's location: no noise."""
    return op(x, tf.convert_to_tensor(posterior.loc))


def reparameterization(
    op: LinearOp, x: Tensor, posterior: Family, key: Tensor
) -> Tensor:
    """One kernel for the whole batch: `op(x, loc + scale * eps)`.

    Examples are fully correlated: the batch goes through one function.

    Reference:
        [Kingma and Welling, 2014](https://arxiv.org/abs/1312.6114)
    """
    return op(x, posterior.sample(key))


def local_reparameterization(
    op: LinearOp, x: Tensor, posterior: Family, key: Tensor
) -> Tensor:
    """Noise on the outputs: `op(x, loc) + sqrt(op(x^2, scale^2)) * eps`.

    Each example is independent of the others. So is each position within an
    example (the time steps of a rank-3 input), although they share a kernel:
    their joint distribution is not the layer's.

    Reference:
        [Kingma et al., 2015](https://arxiv.org/abs/1506.02557)
    """
    if not posterior.is_random:
        return mean(op, x, posterior)
    y, variance = moments(op, x, posterior)
    if fused.perturbs(y, variance):
        return fused.perturbed(y, variance, key)
    standard = random.normal(key, tf.shape(variance), variance.dtype)
    scale = tf.sqrt(variance + fused.VARIANCE_FLOOR)
    return y + tf.cast(scale * standard, y.dtype)


def flipout(op: LinearOp, x: Tensor, posterior: Family, key: Tensor) -> Tensor:
    """One draw of noise, its signs flipped at random for each example.

    `op(x, loc) + s * op(r * x, noise)`, with signs r and s. Examples are
    uncorrelated; the positions of an example share their kernel.

    Reference:
        [Wen et al., 2018](https://arxiv.org/abs/1803.04386)
    """
    if not posterior.is_random:
        return mean(op, x, posterior)
    loc, noise = posterior.loc_and_noise(random.fold(key, 0))
    y = op(x, loc)
    if op.x_axes:
        x = _signs(random.fold(key, 1), x, op.x_axes) * x
    return y + _signs(random.fold(key, 2), y, op.y_axes) * op(x, noise)


def coherent(op: LinearOp, x: Tensor, posterior: Family, key: Tensor) -> Tensor:
    """For prediction: one draw of the kernel for all rows."""
    if not posterior.is_random:
        return mean(op, x, posterior)
    return op(x, scope_draw(posterior, key))


def scope_draw(posterior: Family, key: Tensor) -> Tensor:
    """One draw of the weights, with the sign of the current scope."""
    return posterior.draws(key[tf.newaxis], scope_signs())[0]


def stacked(op: LinearOp, x: Tensor, posterior: Family, keys: Tensor) -> Tensor:
    """`coherent` for S draws at once.

    Args:
        op: the operation.
        x: `[S, B, ...]`, or `[1, B, ...]` if it is the same for all draws.
        posterior: the kernel's.
        keys: `[S, 2]`.

    Returns:
        `[S, B, ...]`, or what broadcasts to it.
    """
    if not posterior.is_random:
        return _over_rows(lambda flat: mean(op, flat, posterior), x)
    return op.stacked(x, posterior.draws(keys, scope_signs()))


def by_row(op: LinearOp, x: Tensor, posterior: Family, keys: Tensor) -> Tensor:
    """`stacked` of one x for all draws, `[B, I]`, to `[B, S, O]`."""
    if not posterior.is_random:
        return mean(op, x, posterior)[:, tf.newaxis]
    return op.wide(x, posterior.draws(keys, scope_signs()))


def marginal(
    op: LinearOp, x: Tensor, posterior: Family, keys: Tensor
) -> Tensor:
    """S draws at once, rows drawn apart: noise on the outputs.

    Of the same distribution as `stacked` for each row, if the row meets each
    element of the kernel once. Arguments are those of `stacked`; the rows'
    numbers are those of the scope.
    """
    if not posterior.is_random:
        return _over_rows(lambda flat: mean(op, flat, posterior), x)
    scope = random.current_scope()
    assert scope is not None
    y, variance = _over_rows(lambda flat: moments(op, flat, posterior), x)
    return with_noise(y, tf.sqrt(variance), keys, scope.rows)


def moments(
    op: LinearOp, x: Tensor, posterior: Family
) -> tuple[Tensor, Tensor]:
    """Mean and variance of the outputs, for independent Normals."""
    if not posterior.is_random:
        y = mean(op, x, posterior)
        return y, tf.zeros(
            [], tf.float64 if y.dtype == "float64" else "float32"
        )
    loc, variance = posterior.loc_and_variance()
    return op(x, loc), op.squared(x, variance)


def with_noise(y: Tensor, scale: Tensor, keys: Tensor, rows: Tensor) -> Tensor:
    """`y + scale * eps`, with noise for each of `keys [S, 2]` and each row.

    Args:
        y: means, `[S or 1, B, ...]`.
        scale: standard deviations, of that shape or a number.
        keys: as above.
        rows: their numbers `[B]`; `[1]` for noise that all rows share.
    """
    noisy = fused_draws.perturbed(
        _flat(y), _flat(scale), keys, rows, scope_signs()
    )
    return tf.reshape(noisy, [*_leads(noisy), *y.shape[2:]])


def _flat(x: Tensor) -> Tensor:
    """`[S, B, ...]` to `[S, B, size]`, and a number to `[1, 1, 1]`."""
    if not x.shape.rank:
        return tf.reshape(x, [1, 1, 1])
    return tf.reshape(x, [*_leads(x), x.shape[2:].num_elements()])


def _leads(x: Tensor) -> list[Any]:
    """The first two sizes: a number where one is known, else a tensor."""
    sizes = tf.shape(x)
    return [x.shape[axis] or sizes[axis] for axis in (0, 1)]


def scope_signs() -> Tensor | None:
    """Those of the noise of the current scope's draws, `[S]`; None for 1."""
    scope = random.current_scope()
    if scope is None or scope.signs is None:
        return None
    return tf.reshape(scope.signs, [-1])


def _over_rows(function: Callable[[Tensor], Any], x: Tensor) -> Any:
    """`[S, B, ...]` through a function of `[S * B, ...]`, to tensors of it."""
    sizes = tf.shape(x)

    def unflatten(flat: Tensor) -> Tensor:
        y = tf.reshape(flat, tf.concat([sizes[:2], tf.shape(flat)[1:]], 0))
        y.set_shape([x.shape[0], x.shape[1], *flat.shape[1:]])
        return y

    flat = function(tf.reshape(x, tf.concat([[-1], sizes[2:]], 0)))
    return keras.tree.map_structure(unflatten, flat)


def _signs(key: Tensor, like: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Signs for each example and each index of `axes`; 1 on other axes."""
    rank = len(like.shape)
    drawn = {0, *(axis % rank for axis in axes)}
    sizes = tf.shape(like)
    shape = [sizes[axis] if axis in drawn else 1 for axis in range(rank)]
    return random.signs(key, shape, like.dtype)


def check(name: str, posterior: Family, argument: str) -> None:
    """Raises if the estimator `name` does not hold for the family.

    Raises:
        ValueError: names the layer's argument, the reason and what to use.
    """
    needs = {
        "local_reparameterization": (
            posterior.independent_normal,
            "weights that are independent Normals",
        ),
        "flipout": (
            posterior.sign_symmetric,
            "noise whose distribution stays the same if signs are flipped",
        ),
    }
    holds, need = needs.get(name, (True, ""))
    if not holds:
        raise ValueError(
            f"The estimator `{name}` needs {need}. Received: "
            f"{argument}={type(posterior).__name__}. Use "
            '"mean_field_normal", or a Reparameterization layer, which '
            "takes any family."
        )
