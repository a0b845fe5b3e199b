"""Defines the network of estimators that were given none."""

from collections.abc import Sequence

import keras
import numpy as np

from tfpbnn.base.types import Array
from tfpbnn.layers import DenseFlipout
from tfpbnn.training import Sequential


def dense_network(
    X: Array,
    y: Array,
    *,
    hidden_units: Sequence[int] = (50,),
    activation: str = "relu",
) -> Sequential:
    """Makes a network of Bayesian dense layers, which standardizes its inputs.

    Args:
        X: the inputs of training, `[N, D]`, from which the network learns their
            means and standard deviations.
        y: the targets: labels `[N]`, integers from 0 to K - 1, or numbers `[N]`
            or `[N, k]`.
        hidden_units: the numbers of units of the hidden layers.
        activation: the activation of the hidden layers.

    Returns:
        A model that is not compiled. It has K outputs for labels; for numbers
        2k, the mean and the raw scale of each target.

    Example:
    ```python
    from tfpbnn.sklearn import BayesianRegressor, dense_network

    BayesianRegressor(dense_network, model_kwargs={"hidden_units": (50, 50)})
    ```
    """
    inputs = keras.layers.Normalization()
    inputs.adapt(np.asarray(X))
    return Sequential(
        [
            keras.Input(np.shape(X)[1:]),
            inputs,
            *(DenseFlipout(units, activation) for units in hidden_units),
            DenseFlipout(_num_outputs(y)),
        ]
    )


def _num_outputs(y: Array) -> int:
    if np.issubdtype(y.dtype, np.integer):
        return int(np.max(y)) + 1
    return 2 * (y.shape[1] if y.ndim > 1 else 1)
