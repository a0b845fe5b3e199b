"""The prior that dropout with weight decay implies."""

from tfpbnn.base import checks


def weight_decay(
    num_examples: int,
    rate: float,
    *,
    length_scale: float = 1.0,
    precision: float | None = None,
    num_outputs: int = 1,
) -> float:
    """The decay of a kernel that goes with a Normal prior, under dropout.

    For `kernel_regularizer=keras.regularizers.L2(...)` of a layer with dropout
    before it. The prior of the kernel's elements is Normal(0, 1 /
    `length_scale`); a larger length scale is for slower functions.

    Args:
        num_examples: how many examples the training data has.
        rate: of the dropout before the layer.
        length_scale: see above.
        precision: None for a loss that is a negative log-likelihood: any of
            `tfpbnn.likelihoods`, or a cross entropy. For the loss "mse", the
            precision of the targets' noise, 1 / variance.
        num_outputs: how many targets "mse" averages over.

    Raises:
        ValueError: if a number is out of its range.

    Example:
    ```python
    decay = tfpbnn.dropout.weight_decay(num_examples=len(x), rate=0.2)
    keras.layers.Dense(8, kernel_regularizer=keras.regularizers.L2(decay))
    ```

    Reference:
        [Gal and Ghahramani, 2016](https://arxiv.org/abs/1506.02142), equation
        7; in Keras a kernel is `1 - rate` times the one meant there
    """
    per_nat = _prior_decay(num_examples, rate, length_scale)
    if precision is None:
        return per_nat
    checks.positive_number("precision", precision)
    checks.positive_number("num_outputs", num_outputs)
    return 2 * per_nat / (precision * num_outputs)


def precision(
    num_examples: int,
    rate: float,
    weight_decay: float,
    *,
    length_scale: float = 1.0,
    num_outputs: int = 1,
) -> float:
    """The precision of the noise that a decay and a prior imply, for "mse".

    The inverse of `weight_decay`: for a model that was trained with dropout, a
    decay of its kernels and the loss "mse". 1 / `precision` is the aleatoric
    variance of its predictions.

    Args:
        num_examples: how many examples the training data had.
        rate: of the dropout before the layer.
        weight_decay: the number in `keras.regularizers.L2`.
        length_scale: 1 / (standard deviation of the kernel's prior).
        num_outputs: how many targets "mse" averages over.

    Raises:
        ValueError: if a number is out of its range.

    Example:
    ```python
    tau = tfpbnn.dropout.precision(len(x), rate=0.2, weight_decay=1e-4)
    likelihood = tfpbnn.likelihoods.Normal(scale=tau**-0.5)
    ```

    Reference:
        [Gal and Ghahramani, 2016](https://arxiv.org/abs/1506.02142), equation 7
    """
    checks.positive_number("weight_decay", weight_decay)
    checks.positive_number("num_outputs", num_outputs)
    per_nat = _prior_decay(num_examples, rate, length_scale)
    return 2 * per_nat / (weight_decay * num_outputs)


def _prior_decay(num_examples: int, rate: float, length_scale: float) -> float:
    """As `ConcreteDropout` has it: length_scale^2 / (2 (1 - rate)), over N."""
    checks.positive_number("num_examples", num_examples)
    checks.positive_number("length_scale", length_scale)
    kept = 1 - checks.rate("rate", rate)
    return length_scale**2 / (2 * kept * num_examples)
