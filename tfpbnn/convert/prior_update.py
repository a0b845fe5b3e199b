"""Makes today's posterior the prior of tomorrow's data."""

from typing import Any

import keras

from tfpbnn import priors
from tfpbnn.base import checks
from tfpbnn.base.types import Config
from tfpbnn.layers.kl import KLRegularizer
from tfpbnn.layers.kl_parts import Part, parts_of
from tfpbnn.networks import copying, reading
from tfpbnn.priors import PreviousPosterior, Prior
from tfpbnn.priors.previous_posterior import anchor_of

_check_forgetting = checks.number(
    "a number above 0 and up to 1", lambda v: 0 < v <= 1
)


def update_prior(model: keras.Model, forgetting: float = 1.0) -> keras.Model:
    """Copies a model, with its posteriors as the priors of what comes next.

    `fit` of the copy on new data, alone, then learns from these beside what is
    known already: the posterior of all data, as exact as the posteriors are. So
    a model can follow a stream without keeping it. Training goes on from the
    posterior that was reached; the optimizer is a new one.

    With `forgetting` below 1 the prior is `q^forgetting p^(1 - forgetting)`, of
    the posterior q and the prior p before any data. Data that are n updates old
    then count `forgetting^n` as much, and what is not seen again fades to p:
    for worlds that drift. (Of Normals, the precisions are averaged.)

    Weights of which the KL is in the loss are remembered: those with a
    posterior and a prior. Points, such as biases by default, are trained on
    without a memory; give them `bias_posterior="mean_field_normal"` and
    `bias_prior="normal"` to change that. `BatchNormalization` has no prior
    either, and follows the newest data.

    Args:
        model: a built model with variational layers, left as it is. It may be
            of a class of its own that has a `get_config`.
        forgetting: the share of what is known that stays, above 0 and up to 1.
            Below 1 it is for independent Normals and `FullCovarianceNormal`,
            and for first priors that are Normals of given scales.

    Returns:
        A new model of the same class, compiled likewise, whose priors are
        `tfpbnn.priors.PreviousPosterior`. It can be saved, loaded and updated
        again.

    Raises:
        TypeError: if the model is no Keras model, such as an ensemble.
        ValueError: if `forgetting` is out of range or not for these posteriors
            and priors; if the model is not built, has no KL, or has weights
            whose posteriors can be no prior, such as points with a prior; or
            if it can't be copied.

    Example:
    ```python
    model.fit(x[:16], y[:16], verbose=0)    # Monday
    model = tfpbnn.update_prior(model)
    model.fit(x[16:], y[16:], verbose=0)    # Tuesday
    ```

    Reference:
        [Nguyen et al., 2018](https://arxiv.org/abs/1710.10628); for forgetting
        [Kulhavy and Zarrop, 1993](https://doi.org/10.1080/00207179308923034)
    """
    _check_forgetting("forgetting", forgetting)
    parts = _checked_parts(model)
    new = copying.clone(model, change=_with_priors, without=Prior)
    for part, copied in zip(parts, parts_of(new), strict=True):
        old, prior = part.term, copied.term.prior
        if not isinstance(prior, PreviousPosterior):
            raise ValueError(
                "`model` must have its layers, with their priors, in its "
                f"config. Received: a {type(model).__name__}, which makes "
                f"those of {part.name!r} itself. Give its constructor the "
                "layers or priors, and put them into its `get_config`"
            )
        try:
            prior.remember(old.posterior, old.prior, forgetting)
        except ValueError as error:
            raise ValueError(f"The weight {part.name!r}: {error}") from error
    return new


def _checked_parts(model: Any) -> list[Part]:
    """Lists the KL of each weight tensor, all of posteriors and priors."""
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`model` must be a Keras model with variational layers. Received: "
            f"{type(model).__name__}. Update each member of an ensemble, and "
            "make a posterior that is fitted after training anew"
        )
    reading.check_built(model)
    parts = parts_of(model)
    others = [p.name for p in parts if not isinstance(p.term, KLRegularizer)]
    if others or not parts:
        received = f"a KL of the noise in {others}" if others else "no KL"
        raise ValueError(
            "`model` must have distributions over weights, with a KL to their "
            f"priors. Received: {model.name}, with {received}. "
            "`tfpbnn.to_variational` gives a plain model such distributions"
        )
    return parts


def _with_priors(config: Any) -> Any:
    """Puts a `PreviousPosterior` in the place of all priors of a config."""
    if isinstance(config, list | tuple):
        return type(config)(map(_with_priors, config))
    if not isinstance(config, dict):
        return config
    return {
        name: _previous(value)
        if name == "prior" or name.endswith("_prior")
        else _with_priors(value)
        for name, value in config.items()
    }


def _previous(value: Any) -> Config | None:
    """Makes the config of the prior that comes after one."""
    prior = priors.get(value)
    if prior is None:
        return None
    anchor = anchor_of(prior)
    return PreviousPosterior(anchor=anchor, name=prior.name).serialize()
