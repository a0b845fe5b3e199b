"""From plain Keras layers to variational ones."""

import dataclasses
from typing import Any

import keras
import numpy as np

from tfpbnn import families, priors
from tfpbnn.base import checks
from tfpbnn.base.types import Config, Identifier
from tfpbnn.convert import counterparts
from tfpbnn.layers import Variational
from tfpbnn.layers.random_layer import is_variational
from tfpbnn.networks import choosing, copying, reading, rewriting
from tfpbnn.training import models

# A weight of zero would have a scale of zero, whose logarithm is in the KL.
_LEAST_SCALE = 1e-5


def to_variational(
    model: keras.Model,
    layers: Any = "all",
    estimator: str = "flipout",
    *,
    posterior: Identifier = None,
    prior: Identifier = "normal",
    bias_posterior: Identifier = None,
    bias_prior: Identifier = None,
    moped: bool = False,
    delta: float = 0.1,
    kl_weight: float | None = None,
    copy: bool = True,
) -> keras.Model:
    """A copy of a model with distributions over weights of chosen layers.

    The weights of `model` are the posteriors' `loc`. `Dense` becomes
    `DenseFlipout`, and so on; layers without such a counterpart are put into
    `tfpbnn.layers.Variational`. The graph stays: nested models, shared layers,
    several inputs and outputs, names. A compiled model's copy is compiled
    likewise, with a fresh optimizer.

    Args:
        model: a built Functional or Sequential model, which is not changed.
        layers: which ones: "all" that have kernels (or embeddings) and are not
            frozen; "last"; a name (of an inner model: all in it), a class, a
            layer, a function of a layer that says whether it is chosen, or a
            list of these. Layers that are variational already stay.
        estimator: "flipout", "local_reparameterization" or
            "reparameterization". Layers that don't have it, and those in
            `Variational`, get the last.
        posterior: of kernels and embeddings: a name, a config or a
            `tfpbnn.families.Family`, with its own initial scales. None, the
            default, for independent Normals with scales that are small beside
            the weights: `delta` times the root mean square of each kernel. So
            the result begins near `model`.
        prior: a name, a config or a `tfpbnn.priors.Prior`; None for no KL.
        bias_posterior: of biases and other vectors: as `posterior`, but None,
            the default, is for points.
        bias_prior: of the same; None, the default, for no KL.
        moped: whether to take scales and prior from the weights (Krishnan et
            al., 2020): a scale is `delta` times its weight's size, and the
            prior, which must be Normal, is moved to the weights.
        delta: the relative size of the initial scales, a positive number.
        kl_weight: as in `DenseFlipout`. None leaves it to `fit` of the result,
            which is a `tfpbnn.Sequential` or `tfpbnn.Model`.
        copy: whether the other layers are copied with their weights; False to
            share them with `model`.

    Returns:
        A `tfpbnn.Sequential` or a `tfpbnn.Model`; of an inner model of a
        class of its own, such as a KerasHub backbone, in which layers were
        chosen, a plain Keras one.

    Raises:
        TypeError: if `model` is subclassed, or `layers` of no known type.
        ValueError: if `model` is not built, a name is not in it (those that
            are are listed), no layer is chosen, an estimator does not hold for
            a layer, or `moped` does not go with the posterior or the prior.

    Example:
    ```python
    plain = keras.Sequential([
        keras.Input((4,)),
        keras.layers.Dense(50, activation="relu"),
        keras.layers.Dense(1),
    ])
    plain.compile("adam", loss="mse")
    plain.fit(x, y, verbose=0)
    bayes = tfpbnn.to_variational(plain, moped=True)
    bayes.fit(x, y, verbose=0)
    ```

    Reference:
        [Krishnan et al., 2020](https://arxiv.org/abs/1906.05323)
    """
    reading.check_readable(model)
    _check(estimator, delta, moped, (posterior, bias_posterior))
    chosen = choosing.choose(
        model, layers, bias_posterior is not None, is_variational
    )
    ids = {id(layer) for layer in chosen}
    distributions = {
        "posterior": "mean_field_normal" if posterior is None else posterior,
        "prior": _moved(prior, "prior") if moped else prior,
        "bias_posterior": bias_posterior,
        "bias_prior": _moved(bias_prior, "bias_prior") if moped else bias_prior,
    }
    copier = copying.Copier()
    tied = reading.tied(model)
    make = _Maker(estimator, distributions, kl_weight, copier, tied)

    is_list = isinstance(model, keras.Sequential)
    bayes, pairs = rewriting.replace(
        model,
        models.Sequential if is_list else models.Model,
        lambda layer: id(layer) in ids,
        make,
        copier,
        shares=not copy,
    )
    for plain, variational in pairs:
        counterparts.set_locs(plain, variational)
        _set_scales(variational, posterior is None, moped, delta)
    copying.copy_compiled(model, bayes)
    return bayes


@dataclasses.dataclass(frozen=True)
class _Maker:
    """Makes variational layers of plain ones, without their weights.

    Attributes:
        estimator: the user's.
        distributions: posteriors and priors, by the names of `Variational`.
        kl_weight: the user's.
        copier: makes the layers in `Variational`.
        tied: the ids of layers that share weights with others. These stay
            what they are, in `Variational`: others look into them.
    """

    estimator: str
    distributions: dict[str, Identifier]
    kl_weight: float | None
    copier: copying.Copier
    tied: set[int]

    def __call__(self, layer: keras.layers.Layer) -> keras.layers.Layer:
        make, arguments = self._class_and_arguments(layer)
        try:
            return make(kl_weight=self.kl_weight, **arguments)
        except ValueError as error:
            raise ValueError(
                f"The layer {layer.name!r} of `model`: {error}"
            ) from error

    def _class_and_arguments(self, layer: Any) -> tuple[Any, Config]:
        if getattr(layer, "quantization_mode", None) is not None:
            raise ValueError(
                f"The layer {layer.name!r} of `model` is quantized: its "
                "weights can't have a distribution. Received: "
                f"quantization_mode={layer.quantization_mode!r}"
            )
        counterpart = counterparts.of_plain(layer)
        if counterpart is not None and id(layer) not in self.tied:
            cls = counterpart.cls(self.estimator)
            arguments = copying.arguments(layer.get_config(), cls)
            for path in counterpart.weights:
                name = path.rpartition(".")[2]
                prefix = "bias_" if name == "bias" else ""
                for kind in ("posterior", "prior"):
                    value = self.distributions[prefix + kind]
                    arguments[f"{name}_{kind}"] = value
            return cls, arguments
        inner = self.copier(layer)
        own = {"layer": inner, "name": layer.name}
        return Variational, own | self.distributions


def _moved(prior: Identifier, argument: str) -> Identifier:
    """A prior as wide, but about the weights that are yet to come."""
    resolved = priors.get(prior, argument)
    if resolved is None or isinstance(resolved, priors.MOPED):
        return resolved
    if not isinstance(resolved, priors.Normal) or resolved.learnable_scale:
        raise ValueError(
            "`moped=True` moves a Normal prior, of a fixed scale, to the "
            f"weights. Received: {argument}={prior!r}"
        )
    return priors.MOPED(scale=resolved.initial_scale)


def _set_scales(
    layer: keras.layers.Layer, relative: bool, moped: bool, delta: float
) -> None:
    """Sets what is known only when the locs are: initial scales, priors."""
    for posterior, prior in counterparts.distributions(layer):
        loc = keras.ops.convert_to_numpy(posterior.loc).astype("float64")
        if isinstance(prior, priors.MOPED):
            prior.loc.assign(loc)
        if not posterior.is_random:
            continue
        if moped:
            scale = delta * np.abs(loc)
        elif relative and loc.ndim >= 2:
            scale = np.full_like(loc, delta * np.sqrt(np.mean(loc**2)))
        else:
            continue
        counterparts.set_scale(posterior, np.maximum(scale, _LEAST_SCALE))


def _check(
    estimator: str, delta: float, moped: bool, posteriors: tuple[Any, Any]
) -> None:
    checks.one_of("estimator", estimator, sorted(counterparts.SUFFIXES))
    checks.positive_number("delta", delta)
    for posterior in posteriors if moped else ():
        family = families.get(posterior)
        if not isinstance(family, families.MeanFieldNormal | None):
            raise ValueError(
                "`moped=True` sets the scales of independent Normals. Received "
                f"a posterior of type {type(family).__name__}"
            )
