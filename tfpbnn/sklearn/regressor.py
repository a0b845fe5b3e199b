"""Defines the estimator of numbers."""

from typing import Any

import keras
import numpy as np
from sklearn.base import RegressorMixin

from tfpbnn.base.types import Array
from tfpbnn.likelihoods import Likelihood, Normal
from tfpbnn.sklearn.base import BayesianEstimator


class BayesianRegressor(RegressorMixin, BayesianEstimator):
    """A Bayesian network that predicts numbers, as scikit-learn's regressors.

    Args:
        model: a function of (X, y) and `model_kwargs` that makes a Keras model;
            or a model, of which each fit trains a copy, from the weights that
            it has; or None for `tfpbnn.sklearn.dense_network`. If it is not
            compiled it gets the likelihood `Normal`, in units learned from y.
        model_kwargs: more arguments of that function, by name. A search sets
            one of them by "model__" and its name.
        optimizer: Keras's optimizer, or its name, for a model that is not
            compiled; None for Adam with a learning rate of 0.01.
        epochs: the number of passes over the data.
        batch_size: the number of rows of a step.
        fit_kwargs: more arguments of `keras.Model.fit`, such as `callbacks`.
        num_samples: the number of draws of the weights in a prediction.
        warm_start: whether a second `fit` goes on with the network of the
            first.
        random_state: an integer, with which fits and predictions are the same
            each time; a numpy.random.RandomState; or None.
        verbose: Keras's `verbose`.

    Attributes:
        model_: the fitted network.
        history_: what `fit` logged of each epoch, by name.
        n_features_in_: the number of features D.

    Example:
    ```python
    from sklearn import datasets, model_selection

    from tfpbnn.sklearn import BayesianRegressor

    X, y = datasets.load_diabetes(return_X_y=True)
    regressor = BayesianRegressor(epochs=20, random_state=0)
    model_selection.cross_val_score(regressor, X, y, cv=3)      # R^2
    mean, stddev = regressor.fit(X, y).predict(X, return_std=True)
    lower, upper = regressor.predict_interval(X, level=0.9)
    ```
    """

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Predicts the means of the targets.

        Args:
            X: the inputs, `[N, D]`.
            return_std: whether to return standard deviations too, of the whole
                predictive distribution: of what the network does not know, and
                of the noise.

        Returns:
            The means, `[N]`, or `[N, k]` if y had k columns; with
            `return_std`, a pair of means and standard deviations.
        """
        p = self.predictive(X)
        mean = self._shaped(p.mean)
        return (mean, self._shaped(p.stddev)) if return_std else mean

    def predict_interval(
        self, X: Any, level: float = 0.9
    ) -> tuple[Array, Array]:
        """Predicts central intervals of the targets.

        Args:
            X: the inputs, `[N, D]`.
            level: the probability inside of an interval.

        Returns:
            The lower and the upper ends, each of the shape of `predict`.
        """
        lower, upper = self.predictive(X).interval(level)
        return self._shaped(lower), self._shaped(upper)

    def predict_quantiles(self, X: Any, quantiles: Any) -> Array:
        """Predicts quantiles of the targets.

        Args:
            X: the inputs, `[N, D]`.
            quantiles: Q levels between 0 and 1.

        Returns:
            The quantiles, `[Q, N]`, or `[Q, N, k]`.
        """
        levels = np.atleast_1d(quantiles)
        return self._shaped(self.predictive(X).quantile(levels))

    def sample_y(
        self, X: Any, n_samples: int = 1, random_state: int | None = 0
    ) -> Array:
        """Draws targets, each set of them by one draw of the weights.

        Args:
            X: the inputs, `[N, D]`.
            n_samples: the number of samples.
            random_state: an integer, or None for other samples each time.

        Returns:
            The samples, `[N, n_samples]` or `[N, k, n_samples]`, as
            scikit-learn's Gaussian processes give them.
        """
        samples = self.predictive(X).sample(n_samples, random_state)
        return np.moveaxis(self._shaped(samples), 0, -1)

    def _encoded(self, y: Array) -> Array:
        y = np.asarray(y, np.float64)
        self._is_flat = y.ndim == 1
        return y

    def _likelihood(self, y: Array) -> Likelihood:
        return Normal().adapt(y)

    def _read_posterior(self, posterior: keras.Model) -> None:
        self._is_flat = True

    def _shaped(self, values: Array) -> Array:
        """Leaves the axis of a single target `[.., N, 1]` out, as y did."""
        is_single = self._is_flat and values.shape[-1] == 1
        return values[..., 0] if is_single else values

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.single_output = True
        tags.target_tags.multi_output = True
        return tags
