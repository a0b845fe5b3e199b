"""Plans layers for those of tf_keras and tfp.layers, by their distributions.

Nothing here imports these packages: objects are looked at, not classes. A
callable such as `kernel_posterior_fn` is mapped if the distribution that it has
made is one of ours, whoever wrote it.
"""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn import layers, priors
from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Array, Config
from tfpbnn.convert import counterparts
from tfpbnn.networks import copying

# Deterministic points, in standard deviations, that two densities of
# independent Normals are compared at.
_PROBES = (-1.5, 0.3, 2.0)


class Unmappable(Exception):
    """Says what of a layer has no equal here, and why."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """A new layer, and the function that sets its weights once it is built."""

    layer: keras.layers.Layer
    set_weights: Callable[[], None]


@dataclasses.dataclass(frozen=True)
class _Normals:
    """Independent Normals; points if the scale is None."""

    loc: Array
    scale: Array | None

    @classmethod
    def read(cls, distribution: Any, argument: str) -> "_Normals":
        try:
            loc, scale = _numpy(distribution.mean(), distribution.stddev())
        except (AttributeError, NotImplementedError) as error:
            raise Unmappable(
                f"`{argument}`: it made {distribution}, without a mean and a "
                "standard deviation"
            ) from error
        if loc.shape != tuple(distribution.event_shape):
            raise Unmappable(
                f"`{argument}`: it made {distribution}, of which a draw is not "
                "one value for each weight"
            )
        if not np.any(scale):
            return cls(loc, None)
        normals = tfp.distributions.Normal(loc, np.maximum(scale, 1e-30))
        for probe in _PROBES:
            shift = probe * np.sin(1.0 + np.arange(loc.size))
            x = loc + scale * shift.reshape(loc.shape).astype(loc.dtype)
            density = distribution.log_prob(x)
            expected = tf.reduce_sum(normals.log_prob(x))
            if not np.allclose(density, expected, rtol=1e-3, atol=1e-2):
                raise Unmappable(
                    f"`{argument}`: it made {distribution}, which is not "
                    "independent Normals"
                )
        return cls(loc, scale)


def _numpy(*tensors: Any) -> list[Array]:
    return [np.asarray(tf.convert_to_tensor(t)) for t in tensors]


def _sizes(variables: Any) -> list[int]:
    return [int(np.prod(v.shape)) for v in variables]


def read_posterior(
    distribution: Any, variables: Any, argument: str
) -> _Normals:
    """Reads a posterior whose parameters are all variables."""
    normals = _Normals.read(distribution, argument)
    parameters = 1 if normals.scale is None else 2
    if sum(_sizes(variables)) != parameters * normals.loc.size:
        raise Unmappable(
            f"`{argument}`: it made {distribution} with variables of sizes "
            f"{_sizes(variables)}, where each of {normals.loc.size} weights "
            f"has {parameters} of its own here"
        )
    if any(getattr(v, "constraint", None) is not None for v in variables):
        raise Unmappable(f"`{argument}`: it has made constrained variables")
    return normals


def read_prior(
    distribution: Any, variables: Any, argument: str
) -> tuple[priors.Prior, Array | None]:
    """Reads a prior: ours, and the locations to give it (None for none)."""
    normals = _Normals.read(distribution, argument)
    loc, scale = normals.loc, normals.scale
    trained = _sizes(v for v in variables if v.trainable)
    if scale is None or np.ptp(scale) > 1e-6 * np.max(scale):
        raise Unmappable(f"`{argument}`: its Normals have several scales")
    width = float(scale.flat[0])
    if trained not in ([], [1], [loc.size]) or loc.size == 1 == len(trained):
        raise Unmappable(
            f"`{argument}`: of a prior either the scale or the locations can "
            f"be learned. It has variables of sizes {trained}"
        )
    if trained == [loc.size]:
        return priors.MOPED(width, learnable_loc=True), loc
    if np.ptp(loc) == 0:
        is_learned = bool(trained)
        return priors.Normal(float(loc.flat[0]), width, is_learned), None
    if trained:
        raise Unmappable(f"`{argument}`: its Normals have several locations")
    return priors.MOPED(width), loc


def _read_divergence(function: Any, q: Any, p: Any, argument: str) -> float:
    """Reads the number that a divergence function multiplies the KL with."""
    other = tfp.distributions.Independent(
        tfp.distributions.Normal(q.mean() + 1.0, tf.ones_like(q.mean()) * 0.7),
        len(q.event_shape),
    )
    try:
        ratios = [
            float(function(a, p, tf.convert_to_tensor(a.mean())))
            / float(tfp.distributions.kl_divergence(a, p))
            for a in (q, other)
        ]
    except Exception as error:
        raise Unmappable(f"`{argument}`: {error}") from error
    if not np.allclose(ratios, ratios[0], rtol=1e-4) or ratios[0] < 0:
        raise Unmappable(
            f"`{argument}`: it is not a multiple of the KL divergence of "
            "posterior and prior"
        )
    return ratios[0]


class _Sampled:
    """A stand-in for a distribution, which can only be sampled."""

    def sample(self, *args: Any, **kwargs: Any) -> "_Sampled":
        return self


def _check_tensor_fn(function: Any, argument: str) -> None:
    stand_in = _Sampled()
    if function is tfp.distributions.Distribution.sample:
        return
    try:
        is_draw = function(stand_in) is stand_in
    except Exception:
        is_draw = False
    if not is_draw:
        raise Unmappable(f"`{argument}`: it does more than `d.sample()`")


class _Parts:
    """The arguments and values of our layer, gathered from kernel and bias."""

    def __init__(self) -> None:
        self.arguments: Config = {}
        self.kl_weights: dict[str, float] = {}
        self._posteriors: dict[str, _Normals] = {}
        self._prior_locs: dict[str, Array] = {}

    def add_posterior(self, part: str, normals: _Normals) -> None:
        self._posteriors[part] = normals
        is_random = normals.scale is not None
        self.arguments[f"{part}_posterior"] = (
            "mean_field_normal" if is_random else None
        )

    def add_prior(
        self, part: str, prior: priors.Prior | None, loc: Array | None
    ) -> None:
        self.arguments[f"{part}_prior"] = prior
        if loc is not None:
            self._prior_locs[part] = loc

    def kl_weight(self) -> float | None:
        """Returns the KL's weight; None, for a callback to set, if it is 1."""
        found = sorted(self.kl_weights.values())
        if not found or np.allclose(found, 1.0, rtol=1e-4):
            return None
        if not np.allclose(found, found[0], rtol=1e-4):
            names = " and ".join(f"`{x}`" for x in self.kl_weights)
            raise Unmappable(f"{names}: they weight the KL differently")
        return found[0]

    def set_weights(self, layer: Any) -> None:
        for part, normals in self._posteriors.items():
            posterior = getattr(layer, f"{part}_posterior")
            posterior.loc.assign(normals.loc)
            if normals.scale is not None:
                counterparts.set_scale(posterior, normals.scale)
        for part, loc in self._prior_locs.items():
            getattr(layer, f"{part}_prior").loc.assign(loc)


def plan_tfp(layer: Any) -> Plan:
    """Plans our layer for one of tfp's Dense or Convolution layers.

    Raises:
        Unmappable: if a callable can't be mapped; the message names it.
    """
    cls = getattr(layers, type(layer).__name__)
    if getattr(layer, "_callable_losses", None):
        raise Unmappable("a regularizer on the posterior's variables")
    parts = _Parts()
    for part in ("kernel", "bias"):
        _read_part(layer, part, parts)
    names = set(inspect.signature(cls.__init__).parameters)
    names -= {"activation", "activity_regularizer", "kwargs", "self"}
    own = {n: getattr(layer, n) for n in names if hasattr(layer, n)}
    own = {n: v for n, v in own.items() if isinstance(v, int | str | tuple)}
    has_bias = layer.bias_posterior is not None
    new = cls(
        **own,
        **_common(layer),
        **parts.arguments,
        use_bias=has_bias,
        kl_weight=parts.kl_weight(),
    )
    return Plan(new, lambda: parts.set_weights(new))


def _read_part(layer: Any, part: str, parts: _Parts) -> None:
    posterior = getattr(layer, f"{part}_posterior")
    if posterior is None:
        return
    argument = f"{part}_posterior_fn"
    normals = read_posterior(posterior, posterior.variables, argument)
    parts.add_posterior(part, normals)
    tensor_fn = f"{part}_posterior_tensor_fn"
    _check_tensor_fn(getattr(layer, tensor_fn), tensor_fn)
    prior = getattr(layer, f"{part}_prior")
    divergence = f"{part}_divergence_fn"
    function = getattr(layer, divergence)
    if prior is None or function is None:
        parts.add_prior(part, None, None)
        return
    ours = read_prior(prior, prior.variables, f"{part}_prior_fn")
    parts.add_prior(part, *ours)
    weight = _read_divergence(function, posterior, prior, divergence)
    parts.kl_weights[divergence] = weight


def plan_dense_variational(layer: Any) -> Plan:
    """Plans our layer for a `DenseVariational` with independent Normals.

    The distribution there is one over the kernel and the bias, end to end.
    """
    inputs = tf.zeros([1, layer.input_spec.axes[-1]], layer.dtype)
    shapes: dict[str, Any] = {"kernel": (inputs.shape[-1], layer.units)}
    if layer.use_bias:
        shapes["bias"] = (layer.units,)
    q, p = layer._posterior(inputs), layer._prior(inputs)
    normals = read_posterior(
        q, _variables(layer._posterior, q), "make_posterior_fn"
    )
    prior, loc = read_prior(p, _variables(layer._prior, p), "make_prior_fn")
    if isinstance(prior, priors.Normal) and prior.learnable_scale:
        raise Unmappable(
            "`make_prior_fn`: kernel and bias have scales of their own here"
        )
    weight = inspect.getclosurevars(layer._kl_divergence_fn).nonlocals["weight"]
    parts, start = _Parts(), 0
    for part, shape in shapes.items():
        here = slice(start, start + int(np.prod(shape)))
        start = here.stop
        scale = None if normals.scale is None else normals.scale[here]
        loc_here = None if loc is None else loc[here].reshape(shape)
        parts.add_posterior(
            part,
            _Normals(
                normals.loc[here].reshape(shape),
                None if scale is None else scale.reshape(shape),
            ),
        )
        parts.add_prior(part, prior, loc_here)
    new = layers.DenseReparameterization(
        layer.units,
        use_bias=layer.use_bias,
        **_common(layer),
        **parts.arguments,
        kl_weight=None if weight is None else float(weight),
    )
    return Plan(new, lambda: parts.set_weights(new))


def _variables(maker: Any, distribution: Any) -> Any:
    """Finds the variables of a distribution, or of the model that makes it."""
    return getattr(maker, "variables", distribution.variables)


def plan_plain(layer: Any) -> Plan:
    """Plans the Keras 3 layer of the same name and config, with its weights."""
    name = type(layer).__name__
    cls = getattr(keras.layers, name, None)
    if cls is None or not type(layer).__module__.startswith(_KERAS_2):
        raise Unmappable(f"{name} is not a layer of Keras 3")
    config = copying.arguments(layer.get_config(), cls) | _common(layer)
    axis = config.get("axis")
    if not isinstance(axis, int | None) and len(axis) == 1:
        config["axis"] = axis[0]  # as Keras 2 writes that of normalizations
    try:
        new = cls.from_config(config)
    except Exception as error:
        raise Unmappable(f"its config: {error}") from error
    return Plan(new, lambda: new.set_weights(layer.get_weights()))


_KERAS_2 = ("tf_keras.", "keras.src.engine", "keras.src.layers")


def _common(layer: Any) -> Config:
    """Reads the arguments that all layers have, and the activation."""
    config = {
        "name": layer.name,
        "trainable": layer.trainable,
        "dtype": layer.dtype_policy.name,
    }
    if getattr(layer, "activation", None) is not None:
        config["activation"] = _activation(layer.activation)
    regularizer = getattr(layer, "activity_regularizer", None)
    if regularizer is not None:
        cls = getattr(keras.regularizers, type(regularizer).__name__, None)
        if cls is None:
            raise Unmappable(f"`activity_regularizer`: {regularizer}")
        config["activity_regularizer"] = cls(**regularizer.get_config())
    return config


def _activation(function: Any) -> str:
    """Names Keras's activation that has the same values as a function."""
    name = getattr(function, "__name__", "").removesuffix("_v2")
    ours = getattr(keras.activations, name, None)
    x = tf.constant([[-4.0, -1.0, -0.2, 0.0, 0.3, 2.0, 7.0]])
    if ours is None or not np.allclose(function(x), ours(x), atol=1e-5):
        raise Unmappable(f"`activation`: {function}")
    return name
