"""Defines the estimator of labels."""

from typing import Any

import keras
import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from tfpbnn.base.types import Array
from tfpbnn.likelihoods import Categorical, Likelihood
from tfpbnn.likelihoods.from_loss import name_of
from tfpbnn.networks.reading import compiled_loss
from tfpbnn.sklearn.base import BayesianEstimator


class BayesianClassifier(ClassifierMixin, BayesianEstimator):
    """A Bayesian network that predicts labels, as scikit-learn's classifiers.

    Labels may be of any kind; the network gets integers from 0 to K - 1. It has
    K outputs, or one if it is compiled with a binary cross-entropy.

    Args:
        model: a function of (X, y) and `model_kwargs` that makes a Keras model;
            or a model, of which each fit trains a copy, from the weights that
            it has; or None for `tfpbnn.sklearn.dense_network`. If it is not
            compiled it gets the likelihood `Categorical`, whose outputs are
            logits.
        model_kwargs, optimizer, epochs, batch_size, fit_kwargs, num_samples,
        warm_start, random_state, verbose: as in `BayesianRegressor`.

    Attributes:
        classes_: the K labels, sorted.
        model_: the fitted network.
        history_: what `fit` logged of each epoch, by name.
        n_features_in_: the number of features D.

    Example:
    ```python
    from sklearn import datasets, pipeline, preprocessing

    from tfpbnn.sklearn import BayesianClassifier

    X, y = datasets.load_wine(return_X_y=True)
    classifier = pipeline.make_pipeline(
        preprocessing.StandardScaler(), BayesianClassifier(epochs=20)
    )
    classifier.fit(X, y).predict_proba(X)           # [178, 3]
    classifier[-1].predictive(classifier[:-1].transform(X)).mutual_information
    ```
    """

    classes_: Array

    def predict(self, X: Any) -> Array:
        """Predicts the most probable labels, `[N]`.

        Args:
            X: the inputs, `[N, D]`.
        """
        # Of the class probabilities, since a yes-or-no model has one output.
        indices = np.argmax(self.predict_proba(X), axis=-1)
        return self.classes_[indices]

    def predict_proba(self, X: Any) -> Array:
        """Predicts the probabilities of the classes, averaged over draws.

        Args:
            X: the inputs, `[N, D]`.

        Returns:
            The probabilities, `[N, K]`, in the order of `classes_`.

        Raises:
            ValueError: if the network has other than K outputs.
        """
        check_is_fitted(self, "model_")
        p = self.predictive(X).probabilities
        if len(self.classes_) == 2 and p.shape[-1] == 1:
            p = np.concatenate([1 - p, p], axis=-1)
        if p.shape[-1] != len(self.classes_):
            raise ValueError(
                "`model` must have an output for each class. Received: "
                f"{p.shape[-1]} outputs for {len(self.classes_)} classes"
            )
        # To float64's last digit, by which scikit-learn's scores check sums.
        return p / np.sum(p, axis=-1, keepdims=True)

    def predict_log_proba(self, X: Any) -> Array:
        """Predicts the logarithms of `predict_proba`, `[N, K]`.

        Args:
            X: the inputs, `[N, D]`.
        """
        return np.log(self.predict_proba(X))

    def _encoded(self, y: Array) -> Array:
        check_classification_targets(y)
        classes, labels = np.unique(
            column_or_1d(y, warn=True), return_inverse=True
        )
        if len(classes) < 2:
            raise ValueError(
                "`y` must have labels of 2 or more classes. Received: only 1 "
                f"class, {classes[0]!r}"
            )
        goes_on = self.warm_start and hasattr(self, "model_")
        if goes_on and not np.array_equal(classes, self.classes_):
            raise ValueError(
                "`y` must have the classes of the first fit, "
                f"{self.classes_.tolist()}, where warm_start=True goes on with "
                f"its network. Received: {classes.tolist()}"
            )
        self.classes_ = classes
        return labels

    def _likelihood(self, y: Array) -> Likelihood:
        return Categorical()

    def _targets(self, y: Array) -> Array:
        loss = compiled_loss(self.model_)
        if name_of(loss) == "categorical_crossentropy":
            return np.eye(len(self.classes_), dtype="float32")[y]
        return y

    def _read_posterior(self, posterior: keras.Model) -> None:
        outputs = posterior.output_shape[-1]
        self.classes_ = np.arange(max(outputs, 2))
