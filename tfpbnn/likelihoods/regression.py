"""Defines likelihoods of real-valued targets."""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from tfpbnn.base import checks, registry
from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Config, Tensor
from tfpbnn.likelihoods import closed_crps, standard
from tfpbnn.likelihoods.base import Likelihood
from tfpbnn.likelihoods.parameters import check_fixed, positive
from tfpbnn.likelihoods.standard import Standard

_LocScaleT = TypeVar("_LocScaleT", bound="_LocScale")


class _LocScale(Likelihood):
    """A likelihood with a location, and a scale that is an output or fixed."""

    is_location_scale = True

    def __init__(
        self, scale: float | Sequence[float] | None = None, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.scale = _checked_scale(scale)

    @property
    def parameters(self) -> tuple[str, ...]:
        return ("loc",) if self.scale is not None else ("loc", "raw scale")

    def _scale_of(self, loc: Tensor, raw: tuple[Tensor, ...]) -> Tensor:
        if self.scale is None:
            return positive(raw[0])
        scale = tf.constant(self.scale, loc.dtype)
        # What is known is known in the units of the targets.
        return scale if self.units is None else scale / self.units.stddevs(loc)

    def event_size(self, num_outputs: int) -> int:
        size = super().event_size(num_outputs)
        if np.size(self.scale) not in (1, size):
            raise ValueError(
                "`scale` must be one number, or one for each of the "
                f"{size} targets. Received: scale={self.scale}"
            )
        return size

    def rescale(self: _LocScaleT, scale: Any, offset: Any = 0.0) -> _LocScaleT:
        other = super().rescale(scale, offset)
        if self.scale is not None:
            known = np.asarray(self.scale) * np.asarray(scale, np.float64)
            other.scale = _checked_scale(known.tolist())
        return other

    def _crps(self, distribution: Any, y: Tensor) -> Tensor:
        if self.standard is None:
            return super()._crps(distribution, y)
        return closed_crps.location_scale(self.standard, distribution, y)

    def get_config(self) -> Config:
        return super().get_config() | {"scale": self.scale}


def _checked_scale(scale: Any) -> Any:
    """Checks a scale: a number, a list of one for each target, or None."""
    if isinstance(scale, list | tuple | np.ndarray) and np.size(scale):
        return [checks.positive_number("scale", one) for one in scale]
    return check_fixed("scale", scale)


@registry.register("likelihoods")
class Normal(_LocScale):
    """The Normal distribution of each target, by its location and scale.

    If the noise depends on the input (heteroscedastic), the model gives loc and
    a raw scale, with `scale = 1e-6 + softplus(raw scale)`. If it is the same
    everywhere (homoscedastic), give `scale` if it is known. To learn it, end
    the model with `tfpbnn.layers.HomoscedasticScale()` and leave `scale` unset.
    Networks learn fast if targets are roughly standardized; for others use
    `Normal().adapt(y_train)`.

    Args:
        scale: the known standard deviation of the noise, in the units of y
            (also if the likelihood is adapted), or a list of one for each
            target; None if the model gives it.
        reduction, name, dtype: as in any Keras loss.

    Raises:
        ValueError: if `scale` is not positive; in use, if the number of
            outputs is odd, or doesn't fit the targets.

    Example:
    ```python
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    model.compile("adam", loss=tfpbnn.likelihoods.Normal())
    ```
    """

    @property
    def standard(self) -> Standard:
        return standard.NORMAL

    def _marginals(self, *parameters: Tensor) -> Any:
        loc, *raw = parameters
        return tfp.distributions.Normal(loc, self._scale_of(loc, tuple(raw)))


@registry.register("likelihoods")
class Laplace(_LocScale):
    """The Laplace distribution: heavier tails than a Normal's.

    The location is the median of the targets.

    Args:
        scale: the known scale in the units of y, or a list of one for each
            target; None if the model gives it, as `1e-6 + softplus(raw scale)`.
        reduction, name, dtype: as in any Keras loss.

    Example:
    ```python
    robust = tfpbnn.likelihoods.Laplace()
    robust.params_size(3)                           # 6 outputs for 3 targets
    ```
    """

    @property
    def standard(self) -> Standard:
        return standard.LAPLACE

    def _marginals(self, *parameters: Tensor) -> Any:
        loc, *raw = parameters
        return tfp.distributions.Laplace(loc, self._scale_of(loc, tuple(raw)))


@registry.register("likelihoods")
class StudentT(_LocScale):
    """Student's t distribution: outliers hardly pull the mean.

    Args:
        df: the degrees of freedom, above 0; up to 2 the variance is infinite.
            None if the model gives them, as `2 + softplus(raw df)`, in the
            last outputs.
        scale: the known scale in the units of y, or a list of one for each
            target; None if the model gives it, as `1e-6 + softplus(raw scale)`.
        reduction, name, dtype: as in any Keras loss.

    Raises:
        ValueError: if `df` or `scale` is not positive and finite.

    Example:
    ```python
    robust = tfpbnn.likelihoods.StudentT(df=4.0)
    ```
    """

    def __init__(
        self,
        df: float | None = 5.0,
        scale: float | Sequence[float] | None = None,
        **kwargs: Any,
    ):
        super().__init__(scale=scale, **kwargs)
        self.df = check_fixed("df", df)

    @property
    def parameters(self) -> tuple[str, ...]:
        return super().parameters + (() if self.df is not None else ("raw df",))

    @property
    def standard(self) -> Standard | None:
        # Others have no variance, or are Normal but for a percent.
        if self.df is None or not 2 < self.df <= 100:
            return None
        return standard.student_t(self.df)

    def _marginals(self, *parameters: Tensor) -> Any:
        loc, *raw = parameters
        scale = self._scale_of(loc, tuple(raw))
        if self.df is None:
            df = 2 + positive(raw[-1])
        else:
            df = tf.constant(self.df, loc.dtype)
        return tfp.distributions.StudentT(df, loc, scale)

    def _crps(self, distribution: Any, y: Tensor) -> Tensor:
        if self.standard is not None or (self.df is not None and self.df <= 1):
            return super()._crps(distribution, y)
        return closed_crps.student_t(distribution, y)

    def get_config(self) -> Config:
        return super().get_config() | {"df": self.df}


@registry.register("likelihoods")
class MixtureNormal(Likelihood):
    """A mixture of Normals for each target: several values may be likely.

    The outputs are, for each target and component, first all logits, then all
    locs, then all raw scales; targets are independent given the outputs.

    Args:
        num_components: the number of Normals, a positive integer.
        reduction, name, dtype: as in any Keras loss.

    Raises:
        ValueError: if `num_components` is not a positive integer.

    Example:
    ```python
    likelihood = tfpbnn.likelihoods.MixtureNormal(num_components=3)
    likelihood.params_size(1)                       # 9 outputs
    ```

    Reference:
        Bishop, 1994, [Mixture density
        networks](https://publications.aston.ac.uk/id/eprint/373/)
    """

    is_location_scale = True

    def __init__(self, num_components: int = 2, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_components = checks.positive_integer(
            "num_components", num_components
        )

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(
            f"{kind} {i}"
            for kind in ("logit", "loc", "raw scale")
            for i in range(self.num_components)
        )

    @property
    def standard(self) -> Standard:
        return standard.NORMAL

    def _marginals(self, *parameters: Tensor) -> Any:
        n = self.num_components
        logits, locs, raws = (
            tf.stack(parameters[i * n : (i + 1) * n], axis=-1) for i in range(3)
        )
        return tfp.distributions.MixtureSameFamily(
            tfp.distributions.Categorical(logits=logits),
            tfp.distributions.Normal(locs, positive(raws)),
        )

    def _crps(self, distribution: Any, y: Tensor) -> Tensor:
        return closed_crps.mixture_normal(distribution, y)

    def get_config(self) -> Config:
        return super().get_config() | {"num_components": self.num_components}
