"""Which weights of a network are random, and what their priors are."""

import fnmatch
from collections.abc import Mapping
from typing import Any

import keras

from tfpbnn import priors
from tfpbnn.densities.checks import check_unconstrained
from tfpbnn.densities.parameters import Parameters, RandomWeight, with_prior
from tfpbnn.layers import HomoscedasticScale
from tfpbnn.networks import reading
from tfpbnn.networks.reading import is_noise

# Of weights that a dict of priors does not name.
_DEFAULT = "normal"


def parameters(
    network: keras.Model,
    prior: Any,
    trainable_only: bool,
    own: Mapping[int, priors.Prior | None],
) -> Parameters:
    """The random weights of a network, each with its own prior.

    Args:
        network: a built network, which is the sampler's own copy.
        prior: one for all weights; or a dict of them by a layer's name or a
            pattern of paths. See `tfpbnn.mcmc.sample`.
        trainable_only: whether frozen weights stay as they are.
        own: priors that variables have of their own, by their ids.

    Raises:
        ValueError: if nothing is random, a pattern matches nothing, or the
            weights are of several types.
    """
    variables = _candidates(network, trainable_only)
    known = _Priors(network, prior, [v.path for v in variables])
    made = [
        with_prior(v, built) if (built := own.get(id(v))) else known.weight(v)
        for v in variables
    ]
    found = [weight for weight in made if weight is not None]
    known.check_used()
    if not found:
        raise ValueError(
            "`model` must have trainable weights with a prior. Received: "
            f"{len(network.weights)} weights, of which none is random with "
            f"prior={prior!r}, trainable_only={trainable_only}"
        )
    check_unconstrained([weight.variable for weight in found])
    types = {weight.variable.dtype for weight in found}
    if len(types) > 1 or not types <= {"float32", "float64"}:
        raise ValueError(
            "`model` must have random weights of one type, float32 or "
            f"float64. Received: {sorted(types)}. Make it under another dtype "
            "policy; `prior={name: None}` leaves a weight out"
        )
    return Parameters(found)


def _candidates(
    network: keras.Model, trainable_only: bool
) -> list[keras.Variable]:
    trained = network.trainable_variables
    if not trainable_only:
        frozen = [v for v in network.weights if not is_noise(v)]
        network.trainable = True
        trained = network.trainable_variables
        trained = [v for v in trained if any(v is w for w in frozen)]
    return [v for v in trained if keras.backend.is_float_dtype(v.dtype)]


class _Priors:
    """Priors by path; remembers which patterns were of use."""

    def __init__(self, network: keras.Model, prior: Any, paths: list[str]):
        is_config = isinstance(prior, Mapping) and "class_name" in prior
        is_many = isinstance(prior, Mapping) and not is_config
        self._by_pattern: dict[str, Any] = dict(prior) if is_many else {}
        self._default = _DEFAULT if is_many else prior
        self._paths = paths
        self._unused = set(self._by_pattern)
        self._noises = {
            id(layer.raw_scale): layer
            for layer in reading.layers_of(network)
            if isinstance(layer, HomoscedasticScale)
        }

    def weight(self, variable: keras.Variable) -> RandomWeight | None:
        """The random weight of a variable; None if it stays as it is."""
        patterns = [p for p in self._by_pattern if matches(p, variable.path)]
        self._unused -= set(patterns)
        given = self._by_pattern[patterns[0]] if patterns else self._default
        noise = self._noises.get(id(variable))
        if noise is not None and not patterns:
            given = priors.HalfCauchy(noise.initial_scale)
        if isinstance(given, priors.Hyperprior):
            if noise is None:
                raise ValueError(
                    "`prior` must be one of weights, which have signs. "
                    f"Received: {given!r} for {variable.path}. Priors of "
                    "scales are for HomoscedasticScale, or part of "
                    "priors.HierarchicalNormal"
                )
            return with_prior(variable, given)
        return self._with_prior(variable, given)

    def _with_prior(
        self, variable: keras.Variable, given: Any
    ) -> RandomWeight | None:
        template = priors.get(given)
        if template is None:
            return None
        prior = template.copy(name="prior", dtype=variable.dtype)
        return with_prior(variable, prior)

    def check_used(self) -> None:
        if self._unused:
            raise ValueError(
                "`prior` must name layers, or patterns of paths, of random "
                f"weights. Received: {sorted(self._unused)}, which match "
                f"none of {self._paths}"
            )


def matches(pattern: str, path: str) -> bool:
    """Whether a pattern is of a path, or of a layer that the path is in."""
    inside = [path, *_parents(path)]
    return any(fnmatch.fnmatchcase(part, pattern) for part in inside)


def _parents(path: str) -> list[str]:
    names = path.split("/")
    return ["/".join(names[:stop]) for stop in range(1, len(names))] + names[
        :-1
    ]
