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
    """Computes the weight decay that stands for a Normal prior under dropout.

    Give the result to `kernel_regularizer=keras.regularizers.L2(...)` of a
    layer with dropout before it. The prior of the kernel's elements is a
    Normal with mean 0 and standard deviation `1 / length_scale`; a larger
    length scale stands for functions that vary more slowly.

    Args:
        num_examples: the number of training examples.
        rate: the rate of the dropout before the layer.
        length_scale: the inverse of the prior's standard deviation.
        precision: None for a loss that is a negative log-likelihood: any of
            `tfpbnn.likelihoods`, or a cross entropy. For the loss "mse", the
            precision of the targets' noise, 1 / variance.
        num_outputs: the number of targets that "mse" averages over.

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
    """Computes the precision of the noise that dropout and weight decay imply.

    This is the inverse of `weight_decay`, for a model that was trained with
    dropout, weight decay of its kernels and the loss "mse". The aleatoric
    variance of the model's predictions is `1 / precision`.

    Args:
        num_examples: the number of training examples.
        rate: the rate of the dropout before the layer.
        weight_decay: the number in `keras.regularizers.L2`.
        length_scale: the inverse of the standard deviation of the prior.
        num_outputs: the number of targets that "mse" averages over.

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
    """Computes `length_scale**2 / (2 (1 - rate) N)`; see `ConcreteDropout`."""
    checks.positive_number("num_examples", num_examples)
    checks.positive_number("length_scale", length_scale)
    kept = 1 - checks.rate("rate", rate)
    return length_scale**2 / (2 * kept * num_examples)
