"""Defines variational einsum layers."""

import string
from collections.abc import Sequence
from typing import Any

from tfpbnn.base import registry
from tfpbnn.base.types import Config, Identifier, Shape
from tfpbnn.layers.linear import estimators, ops
from tfpbnn.layers.linear.base import VariationalLayer
from tfpbnn.layers.linear.weights import weights_of


class BaseEinsumDense(VariationalLayer):
    """`activation(einsum(equation, x, kernel) + bias)`.

    Input shape:
        As the equation says; its first letter, or the ellipsis, is the batch.

    Output shape:
        As the equation says.
    """

    _arguments = ("equation", "activation", "bias_axes")

    def __init__(
        self,
        equation: str,
        output_shape: int | Sequence[int | None],
        activation: Identifier = None,
        bias_axes: str | None = None,
        kernel_initializer: Identifier = None,
        bias_initializer: Identifier = "zeros",
        kernel_regularizer: Identifier = None,
        bias_regularizer: Identifier = None,
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
        """Makes the layer; Keras's arguments are those of `EinsumDense`.

        Arguments that are not listed mean what they do in `DenseFlipout`.

        Args:
            equation: the equation, such as `"abc,cd->abd"`, possibly with an
                ellipsis.
            output_shape: the outputs' shape without the batch and without the
                axes of an ellipsis; None for sizes that the inputs have.
            bias_axes: the letters of the output that are axes of the bias,
                such as `"d"`; None for no bias.

        Raises:
            ValueError: if the equation can't be read, or the estimator does
                not hold for it, or for the family; when built, if sizes don't
                fit the inputs.
        """
        self._specs = _read(equation)
        _check(self._estimator, equation, *self._specs)
        super().__init__(
            weights_of(locals(), "kernel", "bias"),
            activation=activation,
            use_bias=bias_axes is not None,
            kl_weight=kl_weight,
            seed=seed,
            **kwargs,
        )
        self.equation = equation
        self.partial_output_shape = (
            (output_shape,)
            if isinstance(output_shape, int)
            else tuple(output_shape)
        )
        self.bias_axes = bias_axes
        outputs = self._specs[2]
        if unknown := set(bias_axes or "") - set(outputs):
            raise ValueError(
                "`bias_axes` must be letters of the equation's output. "
                f"Received: bias_axes={bias_axes!r}, equation={equation!r}, "
                f"which has no {sorted(unknown)} there"
            )

    def _expanded(self, rank: int) -> tuple[str, str, str]:
        """Puts letters in place of the ellipsis."""
        inputs, kernel, outputs = self._specs
        elided = rank - len(inputs.replace("...", ""))
        if elided < 0 or (elided > 0 and "..." not in inputs):
            raise ValueError(
                f"`equation` {self.equation!r} does not fit inputs of rank "
                f"{rank}."
            )
        spare = [c for c in string.ascii_letters if c not in self.equation]
        letters = "".join(spare[:elided])
        return (
            inputs.replace("...", letters),
            kernel,
            outputs.replace("...", letters),
        )

    def _sizes(self, input_shape: Shape) -> dict[str, int | None]:
        """Finds the size that each letter stands for."""
        inputs, _, outputs = self._expanded(len(input_shape))
        sizes = dict(zip(inputs, input_shape, strict=True))
        named = [c for c in outputs if c in self.equation]
        # The batch is the first letter, or the first that is elided.
        given = named[1:] if outputs[0] in self.equation else named
        if len(given) != len(self.partial_output_shape):
            raise ValueError(
                f"`output_shape` must have {len(given)} entries, for "
                f"{given} of equation={self.equation!r}. Received: "
                f"output_shape={self.partial_output_shape}"
            )
        for letter, size in zip(given, self.partial_output_shape, strict=True):
            known = sizes.get(letter)
            if size is not None and known is not None and size != known:
                raise ValueError(
                    f"`output_shape` must agree with the inputs at "
                    f"{letter!r} of equation={self.equation!r}. Received: "
                    f"{size}, where the inputs have {known}"
                )
            sizes[letter] = known if size is None else size
        return sizes

    def _weight_shapes(self, input_shape: Shape) -> dict[str, Any]:
        sizes = self._sizes(input_shape)
        _, kernel, outputs = self._expanded(len(input_shape))
        bias_axes = self.bias_axes or ""
        for letter in (*kernel, *bias_axes):
            if sizes.get(letter) is None:
                raise ValueError(
                    f"The size of {letter!r} in equation={self.equation!r} "
                    "must be known, from the inputs or from `output_shape`. "
                    f"Received: input_shape={input_shape}, "
                    f"output_shape={self.partial_output_shape}"
                )
        shapes = {"kernel": tuple(sizes[c] for c in kernel)}
        if bias_axes:
            first = min(outputs.index(c) for c in bias_axes)
            shapes["bias"] = tuple(
                sizes[c] if c in bias_axes else 1 for c in outputs[first:]
            )
        return shapes

    def build(self, input_shape: Any) -> None:
        self._op = ops.einsum(*self._expanded(len(input_shape)))
        super().build(input_shape)

    def _ops(self) -> dict[str, ops.LinearOp]:
        return {"kernel": self._op}

    def _bias_axes(self) -> tuple[int, ...]:
        return tuple(range(-len(self._posterior("bias").loc.shape), 0))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        sizes = self._sizes(tuple(input_shape))
        return tuple(sizes[c] for c in self._expanded(len(input_shape))[2])

    def get_config(self) -> Config:
        # Keras's layers have another `output_shape`.
        shape = {"output_shape": self.partial_output_shape}
        return super().get_config() | shape


def _read(equation: str) -> tuple[str, str, str]:
    """Reads the letters of inputs, kernel and outputs."""
    left, arrow, outputs = str(equation).replace(" ", "").partition("->")
    inputs, comma, kernel = left.partition(",")
    specs = (inputs, kernel, outputs)
    letters = [spec.replace("...", "") for spec in specs]
    fits = (
        arrow
        and comma
        and all(word.isalpha() for word in letters)
        and all(len(set(word)) == len(word) for word in letters)
        and ("..." in inputs) == ("..." in outputs)
        and "..." not in kernel
        and set(letters[2]) <= set(letters[0] + letters[1])
        and all(not s.strip(".").count(".") for s in specs)
    )
    if not fits:
        raise ValueError(
            '`equation` must read like "abc,cd->abd", with no letter twice in '
            "one term, and an ellipsis at the start or the end of both inputs "
            f"and outputs or nowhere. Received: equation={equation!r}"
        )
    return specs


def _check(
    estimator: estimators.Estimator,
    equation: str,
    inputs: str,
    kernel: str,
    outputs: str,
) -> None:
    """Raises if an estimator does not hold for the equation."""
    if not estimator.is_by_row:
        return
    reason = ""
    summed = set(inputs) - set(kernel) - set(outputs)
    is_batch_kept = inputs[0] == outputs[0] and inputs[0] not in kernel
    if not is_batch_kept:
        reason = f"the batch, {inputs[0]!r}, is not the output's first axis"
    elif summed and estimator.is_of_outputs:
        reason = f"it sums {sorted(summed)} of the inputs before the kernel, "
        reason += "so that positions with one kernel element share its noise"
    if reason:
        raise ValueError(
            f"The estimator `{estimator.name}` does not hold for "
            f"equation={equation!r}: {reason}. Use "
            + ("EinsumDenseFlipout or " if is_batch_kept else "")
            + "EinsumDenseReparameterization."
        )


@registry.register("layers")
class EinsumDenseReparameterization(BaseEinsumDense):
    """An einsum layer with one kernel draw per call.

    It holds for any equation and any family. See `EinsumDenseFlipout`.
    """

    _estimator = estimators.REPARAMETERIZATION


@registry.register("layers")
class EinsumDenseLocalReparameterization(BaseEinsumDense):
    """An einsum layer with noise on its outputs.

    The positions of an example get independent noise, although they may share
    kernel elements; `EinsumDenseFlipout` is exact there. It takes no
    equations that sum over an index of the inputs which the kernel lacks. See
    `EinsumDenseFlipout`.
    """

    _estimator = estimators.LOCAL_REPARAMETERIZATION


@registry.register("layers")
class EinsumDenseFlipout(BaseEinsumDense):
    """An einsum layer with signs of the noise flipped for each example.

    Signs belong to the axes whose letters the kernel has, and to the batch.

    Example:
    ```python
    layer = tfpbnn.layers.EinsumDenseFlipout(
        "abc,cd->abd", output_shape=(None, 8), bias_axes="d"
    )
    y = layer(keras.random.normal((32, 5, 4)))
    ```

    Reference:
        [Wen et al., 2018](https://arxiv.org/abs/1803.04386)
    """

    _estimator = estimators.FLIPOUT
