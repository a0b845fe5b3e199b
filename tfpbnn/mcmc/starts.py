"""Where chains begin, and how wide each direction is taken to be at first."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base import checks, data
from tfpbnn.base.types import Array, Tensor, Tree
from tfpbnn.densities.log_density import LogDensity
from tfpbnn.densities.parameters import Noise, Parameters
from tfpbnn.densities.problem import Problem
from tfpbnn.densities.variational import Known
from tfpbnn.mcmc.annealing import annealed
from tfpbnn.networks import reading, states

# Draws of the prior are tried as often, before its density is called infinite.
_TRIES = 100
_CHAINS, _POOLED_CHAINS = 4, 16
_MAP_STEPS, _LEARNING_RATE = 1000, 0.02
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.99, 1e-8


class Start(NamedTuple):
    """Vectors `[C, D]`, and standard deviations `[C, D]`."""

    vector: Array
    scale: Array


def find(
    problem: Problem, init: Any, chains: int, seed: int, together: bool = False
) -> Start:
    """Where chains begin.

    Args:
        problem: what is drawn.
        init: as in `tfpbnn.mcmc.sample`.
        chains: how many.
        seed: of what is random in it.
        together: whether one program moves all chains.

    Raises:
        ValueError: if `init` is not known or does not fit the model, or the
            density is not finite there.
    """
    generators = [np.random.default_rng([seed, c]) for c in range(chains)]
    if isinstance(init, str):
        checks.one_of("init", init, ("prior", "map", "vi", "annealed"))
    if init == "vi" and not problem.known:
        raise ValueError(
            '`init="vi"` must be of a variational model, with layers such '
            "as tfpbnn.layers.DenseFlipout. Received: "
            f"model={problem.model!r}, which has none; `init` may be one "
            "with the same weights"
        )
    evaluate = _compiled(problem.density)
    if init == "vi":
        found = _from_posterior(problem.parameters, problem.known, generators)
    elif isinstance(init, str):
        found = _from_prior(problem.parameters, evaluate, generators)
        if init == "map":
            found = _optimized(problem.density, found)
        elif init == "annealed":
            keys = np.stack([integers(seed, c, 2) for c in range(chains)])
            found = Start(
                *annealed(problem.density, found.vector, keys, together)
            )
    else:
        found = _from_weights(problem, _networks(init), chains)
    _check_finite(problem.density, evaluate, found)
    return found


def integers(*numbers: int) -> Array:
    """Two integers for a key of TensorFlow's, from such numbers."""
    words = np.random.SeedSequence(numbers).generate_state(2)
    return (words >> 1).astype("int32")


def _from_prior(
    parameters: Parameters,
    evaluate: Callable[[Array], Array],
    generators: Sequence[np.random.Generator],
) -> Start:
    """Draws of the prior at which the density is finite."""

    def one(generator: np.random.Generator) -> Array:
        for _ in range(_TRIES):
            vector = parameters.sample(generator)
            if np.isfinite(evaluate(vector[np.newaxis])[0]):
                return vector
        return vector  # `check_finite` says what is wrong with it

    vectors = np.stack([one(generator) for generator in generators])
    return Start(vectors, np.ones_like(vectors))


def _from_weights(
    problem: Problem, networks: Sequence[keras.Model], chains: int
) -> Start:
    """At the weights of networks, each chain at one of them."""
    parameters = problem.parameters
    paths = [v.path for v in parameters.variables]
    vectors = []
    for network in networks:
        weights = _weights_like(parameters, network)
        if weights is None:
            raise ValueError(
                "`init` must be a model with the weights of `model`. Received: "
                f"{[(v.path, tuple(v.shape)) for v in network.weights]}, for "
                f"{paths}"
            )
        _check_constants(problem, network)
        _check_vocabularies(problem, network)
        vectors.append(parameters.vector_of(weights))
    stack = np.stack([vectors[c % len(vectors)] for c in range(chains)])
    return Start(stack, np.ones_like(stack))


def _check_constants(problem: Problem, network: keras.Model) -> None:
    """Raises if a network differs in what the chains leave as it is.

    Chains at its weights would then be of another function than it is.

    Raises:
        ValueError: with the weights' paths.
    """
    random = {id(v) for v in problem.parameters.variables}
    mine = [v for v in problem.network.weights if not reading.is_noise(v)]
    others = [v for v in network.weights if not reading.is_noise(v)]
    found = {v.path: v for v in others}
    if not all(v.path in found for v in mine) and len(others) == len(mine):
        found = dict(zip((v.path for v in mine), others, strict=True))
    different = [
        v.path
        for v in mine
        if id(v) not in random
        and not (v.path in found and _is_close(v, found[v.path]))
    ]
    if different:
        raise ValueError(
            "`init` must be equal to `model` in all that is not random, such "
            "as frozen layers and normalizations: that is the model's own for "
            f"all chains. Received: other values of {different}. Give its "
            "network as `model`, and to all members of an ensemble the same "
            "constants, or make them random by `trainable_only=False`, "
            "as BatchNormalization can't be"
        )


def _check_vocabularies(problem: Problem, network: keras.Model) -> None:
    """Raises if a network looks words up in other places.

    Rows of its embeddings would then be of other words than it has learned.

    Raises:
        ValueError: with the layers' names.
    """
    mine, others = map(states.vocabularies, (problem.network, network))
    if list(mine.values()) != list(others.values()):
        raise ValueError(
            "`init` must have the vocabularies of `model`. Received: "
            f"layers {list(others)} of {network.name!r} with others than "
            f"{list(mine)} of `model`. Give its network as `model`, or set "
            "the vocabularies of `model` to its own and train it anew"
        )


def _is_close(one: keras.Variable, other: keras.Variable) -> bool:
    if tuple(one.shape) != tuple(other.shape):
        return False
    first, second = map(keras.ops.convert_to_numpy, (one, other))
    return bool(np.allclose(first, second, rtol=1e-5, atol=1e-6))


def _weights_like(
    parameters: Parameters, network: keras.Model
) -> list[Array] | None:
    """The values of a like network's weights; by path, else by place."""
    found = {v.path: v for v in network.weights}
    wanted = parameters.variables
    matched: list[Any] = [found.get(v.path) for v in wanted]
    if any(m is None for m in matched):
        matched = list(network.trainable_variables)
    if [tuple(m.shape) for m in matched] != [tuple(v.shape) for v in wanted]:
        return None
    return [keras.ops.convert_to_numpy(m) for m in matched]


def _from_posterior(
    parameters: Parameters,
    known: dict[int, Known],
    generators: Sequence[np.random.Generator],
) -> Start:
    """Draws of a variational posterior, which is as wide as it is."""
    locs, deviations = [], []
    for variable in parameters.variables:
        value = keras.ops.convert_to_numpy(variable)
        found = known.get(
            id(variable), Known(None, value, np.zeros_like(value))
        )
        locs.append(found.loc)
        deviations.append(found.stddev)

    def vector(noise: Noise, noise_of_scales: Noise) -> Array:
        pairs = zip(locs, deviations, strict=True)
        weights = [loc + sd * noise(loc.shape) for loc, sd in pairs]
        return parameters.vector_of(weights, noise_of_scales)

    vectors = [
        vector(generator.standard_normal, generator.standard_normal)
        for generator in generators
    ]
    center = vector(np.zeros, np.zeros)
    # To first order, of two things that are independent.
    width = np.hypot(
        vector(np.ones, np.zeros) - center, vector(np.zeros, np.ones) - center
    )
    # Of points nothing is known: a step of the prior's width is too long.
    scale = np.where(
        width > 0, width, np.median(width[width > 0]) if width.any() else 1.0
    )
    stack = np.stack(vectors).astype(center.dtype)
    return Start(stack, np.broadcast_to(scale, stack.shape).astype(stack.dtype))


def _optimized(density: LogDensity, start: Start) -> Start:
    """Near modes of the density, by some steps of Adam from each start."""
    rows = keras.tree.map_structure(tf.constant, density.data)
    vector = _climb(density)(tf.constant(start.vector), rows)
    return Start(vector.numpy(), start.scale)


def _climb(density: LogDensity) -> Callable[[Tensor, Tree], Tensor]:
    def run(vector: Tensor, rows: Tree) -> Tensor:
        def body(
            i: Tensor, vector: Tensor, first: Tensor, second: Tensor
        ) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(vector)
                value = density(vector, rows)
            slope = tape.gradient(value, vector)
            first = _BETA_1 * first + (1 - _BETA_1) * slope
            second = _BETA_2 * second + (1 - _BETA_2) * tf.square(slope)
            count = tf.cast(i, vector.dtype)
            rate = _LEARNING_RATE * (1 - count / _MAP_STEPS)
            size = tf.sqrt(second / (1 - _BETA_2 ** (count + 1))) + _EPSILON
            move = rate * first / (1 - _BETA_1 ** (count + 1)) / size
            return i + 1, vector + move, first, second

        zeros = tf.zeros_like(vector)
        return tf.while_loop(
            lambda i, *_: i < _MAP_STEPS, body, (0, vector, zeros, zeros)
        )[1]

    return density.compiler.compiled(run)


def _check_finite(
    density: LogDensity, evaluate: Callable[[Array], Array], start: Start
) -> None:
    """Raises if the density is not finite where chains begin.

    Raises:
        ValueError: with the terms that are not.
    """
    for number, vector in enumerate(start.vector):
        if np.isfinite(evaluate(vector[np.newaxis])[0]):
            continue
        terms = density.terms(vector)
        bad = {k: v for k, v in terms.items() if not np.isfinite(v)}
        raise ValueError(
            "`init` must be where the log-density is finite. Received: chain "
            f"{number} begins where {bad or terms} is not. Scale inputs and "
            "targets (keras.layers.Normalization), begin at a trained model "
            '(init=model), or take init="map"'
        )


def _compiled(density: LogDensity) -> Callable[[Array], Array]:
    rows = keras.tree.map_structure(tf.constant, density.data)
    function = density.compiler.compiled(density.__call__)
    return lambda vectors: function(tf.constant(vectors), rows).numpy()


def fingerprint(init: Any) -> str:
    """What tells beginnings apart: a name, or a hash of networks' weights."""
    if isinstance(init, str):
        return init
    return data.digest(
        keras.ops.convert_to_numpy(v)
        for network in _networks(init)
        for v in network.weights
        if not reading.is_noise(v)
    )


def natural_count(init: Any, is_pooled: bool) -> int:
    """How many chains there are if nothing is said.

    One for each member of an ensemble; where chains learn from each other, and
    there are too few members, the same number more for each.
    """
    members = len(_networks(init)) if hasattr(init, "members") else 1
    if is_pooled:
        return members * -(-_POOLED_CHAINS // members)
    return members if hasattr(init, "members") else _CHAINS


def _networks(init: Any) -> list[Any]:
    if not isinstance(init, keras.Model):
        raise TypeError(
            '`init` must be "prior", "map", "vi", "annealed", a Keras model '
            f"or an ensemble. Received: init={init!r}"
        )
    return list(init.members) if hasattr(init, "members") else [init]
