"""Defines what estimators share: how they make a network and fit it."""

import abc
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import keras
import numpy as np
from sklearn.base import BaseEstimator, is_regressor
from sklearn.utils import (
    check_array,
    check_consistent_length,
    check_random_state,
)
from sklearn.utils.validation import check_is_fitted, validate_data

from tfpbnn.base import forms
from tfpbnn.base.types import Array
from tfpbnn.callbacks.kl_weight import with_kl_weight
from tfpbnn.likelihoods import Likelihood
from tfpbnn.networks.copying import clone
from tfpbnn.prediction import predict
from tfpbnn.sklearn.networks import dense_network
from tfpbnn.sklearn.seeds import seeded

EstimatorT = TypeVar("EstimatorT", bound="BayesianEstimator")
_ARGUMENT = "model__"


class BayesianEstimator(BaseEstimator, abc.ABC):
    """A network with a posterior, as an estimator.

    The constructor keeps its arguments as they are, and its subclasses have the
    same ones: scikit-learn copies an estimator by them.
    """

    def __init__(
        self,
        model: Any = None,
        *,
        model_kwargs: Mapping[str, Any] | None = None,
        optimizer: Any = None,
        epochs: int = 100,
        batch_size: int = 32,
        fit_kwargs: Mapping[str, Any] | None = None,
        num_samples: int = 100,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: Any = 0,
    ):
        self.model = model
        self.model_kwargs = model_kwargs
        self.optimizer = optimizer
        self.epochs = epochs
        self.batch_size = batch_size
        self.fit_kwargs = fit_kwargs
        self.num_samples = num_samples
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    @classmethod
    def from_posterior(
        cls: type[EstimatorT], posterior: keras.Model, **kwargs: Any
    ) -> EstimatorT:
        """Makes a fitted estimator of a posterior that is trained already.

        Use it for scikit-learn's tools of inspection, such as permutation
        importances, with any posterior: chains, SWAG, an ensemble.

        Args:
            posterior: a built model that `tfpbnn.predict` takes.
            **kwargs: arguments of the constructor; those of predictions count.

        Example:
        ```python
        estimator = BayesianRegressor.from_posterior(posterior)
        sklearn.inspection.permutation_importance(estimator, X, y)
        ```
        """
        self = cls(posterior, **kwargs)
        self.model_ = posterior
        self._seed = self._new_seed()
        self._read_posterior(posterior)
        return self

    @abc.abstractmethod
    def _encoded(self, y: Array) -> Array:
        """Turns checked targets into those that networks take."""

    @abc.abstractmethod
    def _likelihood(self, y: Array) -> Likelihood:
        """Returns the likelihood of targets, for a model without a loss."""

    def _targets(self, y: Array) -> Array:
        """Turns encoded targets into the form that the model's loss takes."""
        return y

    def _read_posterior(self, posterior: keras.Model) -> None:
        """Learns what `fit` would have learned of the targets."""

    # Arguments of `model` can be searched over by names such as
    # `model__hidden_units`.

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Returns the constructor's arguments, by name.

        Args:
            deep: whether to add those of `model_kwargs`, as "model__name".
        """
        found = super().get_params(deep=False)
        # Anything may have been set, and is refused by `fit` only.
        given = self.model_kwargs if deep else None
        own = given if isinstance(given, Mapping) else {}
        return found | {_ARGUMENT + name: value for name, value in own.items()}

    def set_params(self: EstimatorT, **params: Any) -> EstimatorT:
        """Sets arguments of the constructor, by name.

        Args:
            **params: the arguments; "model__name" sets one of `model_kwargs`.
        """
        is_of_model = {name: name.startswith(_ARGUMENT) for name in params}
        super().set_params(
            **{k: value for k, value in params.items() if not is_of_model[k]}
        )
        own = {
            name.removeprefix(_ARGUMENT): value
            for name, value in params.items()
            if is_of_model[name]
        }
        if own:
            self.model_kwargs = dict(self.model_kwargs or {}) | own
        return self

    def fit(
        self: EstimatorT,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        **fit_kwargs: Any,
    ) -> EstimatorT:
        """Makes a network of `model`, and fits it.

        Args:
            X: the inputs, `[N, D]`, or `[N, ...]` for images and the like.
            y: the targets, `[N]`.
            sample_weight: the weights of the rows, `[N]`, 0 or more.
            **fit_kwargs: more arguments of `keras.Model.fit`, which go before
                those of the constructor.

        Returns:
            The estimator itself.
        """
        X, y = self._checked(X, y)
        encoded = self._encoded(y)
        self._seed = self._new_seed()
        with seeded(self._seed):
            if not (self.warm_start and hasattr(self, "model_")):
                self.model_ = self._made(X, encoded)
            arguments = {
                "x": X,
                "y": self._targets(encoded),
                "sample_weight": _weights(sample_weight, X),
                "epochs": self.epochs,
                "batch_size": self.batch_size,
                "verbose": self.verbose,
            }
            arguments |= dict(self.fit_kwargs or {}) | fit_kwargs
            # Keras's own `fit` does not know what a KL is to be divided by.
            if type(self.model_).fit is keras.Model.fit:
                arguments["callbacks"] = with_kl_weight(arguments)
            self.history_ = self.model_.fit(**arguments).history
        return self

    def predictive(self, X: Any) -> Any:
        """Predicts distributions of the targets.

        The draws are functions and the same in each call, so a row's numbers
        don't depend on the others.

        Args:
            X: the inputs, `[N, D]`.

        Returns:
            The `tfpbnn.Predictive` of the N rows, with its split of the
            uncertainty, scores and plots.
        """
        check_is_fitted(self, "model_")
        forms.check_unmasked("`X`", X)
        X = validate_data(self, X, **self._form(), reset=False)
        return predict(
            self.model_,
            X,
            self.num_samples,
            seed=self._seed,
            verbose=self.verbose,
            draws="coherent",
        )

    def _form(self) -> dict[str, Any]:
        """Returns what inputs may be, for scikit-learn's checks."""
        return {"dtype": "numeric", "allow_nd": True}

    def _checked(self, X: Any, y: Any) -> tuple[Array, Array]:
        # Which scikit-learn would take for their values.
        forms.check_unmasked("`X`", X)
        forms.check_unmasked("`y`", y)
        return validate_data(
            self,
            X,
            y,
            multi_output=True,
            y_numeric=is_regressor(self),
            **self._form(),
        )

    def _new_seed(self) -> int:
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _made(self, X: Array, y: Array) -> keras.Model:
        """Makes a network that is compiled."""
        if isinstance(self.model, keras.Model):
            model = clone(self.model)
        else:
            make: Callable[..., Any] = self.model or dense_network
            model = make(X, y, **dict(self.model_kwargs or {}))
        if not isinstance(model, keras.Model):
            raise TypeError(
                "`model` must be a Keras model, a function of (X, y) that "
                f"makes one, or None. Received: model={self.model!r}, which "
                f"gave {type(model).__name__}"
            )
        if not model.compiled:
            model.compile(self._new_optimizer(), loss=self._likelihood(y))
        return model

    def _new_optimizer(self) -> Any:
        """Returns an optimizer of this fit's own."""
        given = self.optimizer
        if given is None:
            return keras.optimizers.Adam(0.01)
        if isinstance(given, keras.optimizers.Optimizer):
            return type(given).from_config(given.get_config())
        return given


def _weights(sample_weight: Any, X: Array) -> Array | None:
    """Checks weights of rows, and makes an array of them."""
    if sample_weight is None:
        return None
    forms.check_unmasked("`sample_weight`", sample_weight)
    weights = check_array(
        sample_weight, ensure_2d=False, input_name="sample_weight"
    )
    check_consistent_length(X, weights)
    if np.ndim(weights) != 1:
        raise ValueError(
            "Sample weights must be 1D array or scalar: `sample_weight` must "
            "have one weight for each row. Received: weights of shape "
            f"{weights.shape}"
        )
    if np.min(weights) < 0 or not np.any(weights):
        raise ValueError(
            "`sample_weight` must be 0 or more, and not all zero. Received: "
            f"weights from {np.min(weights)} to {np.max(weights)}"
        )
    return weights
