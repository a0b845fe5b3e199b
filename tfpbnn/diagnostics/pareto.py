"""Measures how far a variational posterior is from the exact one."""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base import checks
from tfpbnn.base.types import Array, Tensor
from tfpbnn.base.xla import run_as_graph
from tfpbnn.densities.parameters import FixedPrior
from tfpbnn.densities.problem import Problem
from tfpbnn.diagnostics import convergence
from tfpbnn.families import Family
from tfpbnn.layers.random_layer import is_variational


class ParetoK(NamedTuple):
    """What importance weights say of a posterior.

    Attributes:
        k: the shape of the largest weights' tail. Up to 0.5 the posterior is
            good and its errors can be weighted away, up to 0.7 it is usable;
            above it is not the exact posterior, however well it may predict.
        log_weights: log p(y, w) - log q(w) of each draw, `[S]`, up to a
            constant.
    """

    k: float
    log_weights: Array

    def __repr__(self) -> str:
        verdict = next(
            words
            for bound, words in (
                (0.5, "good"),
                (0.7, "usable"),
                (np.inf, "not the exact posterior"),
            )
            if self.k <= bound or not np.isfinite(bound)
        )
        return f"ParetoK(k={self.k:.2f}: {verdict})"


def pareto_k(
    model: Any,
    x: Any,
    y: Any,
    *,
    likelihood: Any = None,
    sample_weight: Any = None,
    num_samples: int = 1000,
    seed: int | None = None,
) -> ParetoK:
    """Computes the Pareto k of a variational posterior's importance weights.

    Weights are drawn from the posterior, and weighted by the exact density of
    weights and data over their own. If that ratio has a heavy tail, there are
    weights that the data support and the posterior leaves out. It is a test of
    the posterior of the weights, which is much stricter than one of
    predictions: of networks with hundreds of random weights k is far above 0.7
    nearly always. Points, such as biases by default, are taken as given.

    Args:
        model: a variational Keras model, compiled or with a `likelihood`, of
            layers that have plain counterparts (`tfpbnn.to_deterministic`).
        x: the inputs of the training data, which must fit in memory.
        y: their targets.
        likelihood: a likelihood or loss, if the model was not compiled.
        sample_weight: weights of rows `[N]`, each as so many rows.
        num_samples: the number of draws, 100 or more.
        seed: an integer for the same draws each time.

    Raises:
        TypeError: if `model` is not variational, or is subclassed.
        ValueError: if the posterior or prior of a weight has no density, or its
            scales have posteriors of their own.
        ImportError: if ArviZ is not installed.

    Example:
    ```python
    tfpbnn.diagnostics.pareto_k(model, x, y).k
    ```

    Reference:
        [Yao et al., 2018](https://arxiv.org/abs/1802.02538);
        [Vehtari et al., 2024](https://www.jmlr.org/papers/v25/19-556.html)
    """
    checks.integer("num_samples", num_samples, least=100)
    convergence.arviz()
    if not isinstance(getattr(model, "layers", None), list) or not (
        is_variational(model)
    ):
        raise TypeError(
            "`model` must be a variational Keras model, which has a density of "
            f"its weights. Received: {type(model).__name__}. Chains have R-hat "
            "and effective sizes instead; ensembles and dropout have no density"
        )
    problem = _problem(model, x, y, likelihood, sample_weight)
    posteriors = _posteriors(problem)
    log_weights = _log_weights(problem, posteriors, num_samples, seed)
    # One chain, whose draws are independent.
    _, k = convergence.arviz().psislw(log_weights)
    return ParetoK(float(k), log_weights)


# How many draws go through the network at once.
_AT_ONCE = 20


def _problem(model: Any, x: Any, y: Any, *others: Any) -> Problem:
    """Makes the density of what has a prior of its own; the rest is given."""
    likelihood, sample_weight = others

    def made(prior: Any) -> Problem:
        return Problem(model, x, y, likelihood, prior, False, sample_weight)

    problem = made(None)
    points = [
        v
        for v in problem.network.trainable_variables
        if id(v) not in problem.known or not problem.known[id(v)].prior
    ]
    # A learned noise has a prior in chains, unless its name has none.
    in_vector = {id(w.variable) for w in problem.parameters.random_weights}
    if in_vector.isdisjoint(map(id, points)):
        return problem
    return made({v.path: None for v in points})


def _posteriors(problem: Problem) -> list[Family]:
    """Lists the posteriors of the random weights, in the vector's order."""
    random_weights = problem.parameters.random_weights
    in_vector = {id(weight.variable) for weight in random_weights}
    for key, known in problem.known.items():
        q = known.posterior
        if q is not None and q.is_random and key not in in_vector:
            raise ValueError(
                "`model` must have a prior for each weight with a posterior. "
                f"Received: {q.loc.path}, which has none, and so no density"
            )
    for weight in random_weights:
        if not isinstance(weight, FixedPrior):
            raise ValueError(
                "`model` must have priors of which all is known. Received: "
                f"{type(weight.prior).__name__} for {weight.variable.path}, "
                "whose scales are learned. Use one with a fixed scale, such as "
                "priors.Normal(scale=...)"
            )
    return [problem.known[id(w.variable)].posterior for w in random_weights]


def _log_weights(
    problem: Problem, posteriors: list[Family], count: int, seed: int | None
) -> Array:
    draws, log_q = _draws(posteriors, count, seed)
    vectors = problem.parameters.joined([{"weight": d} for d in draws])
    density = problem.density

    @tf.function(autograph=False)
    def log_p(vectors: Tensor, data: Any) -> Tensor:
        return density(vectors, data)

    found = [
        log_p(tf.constant(vectors[i : i + _AT_ONCE]), density.data).numpy()
        for i in range(0, count, _AT_ONCE)
    ]
    log_weights = np.concatenate(found).astype("float64") - log_q
    if not np.isfinite(log_weights).all():
        raise ValueError(
            "`model` must have finite densities of its weights, given x and "
            "y. Received: log-densities that are infinite or NaN"
        )
    return log_weights


def _draws(
    posteriors: list[Family], count: int, seed: int | None
) -> tuple[list[Array], Array]:
    """Draws of each posterior `[S, ...]`, and their joint log-density `[S]`."""
    start = random.as_key(random.any_seed() if seed is None else seed)

    def one(index: Tensor) -> tuple[list[Tensor], Tensor]:
        key = random.fold(start, index)
        keys = [random.fold(key, i) for i in range(len(posteriors))]
        pairs = zip(posteriors, keys, strict=True)
        draws = [q.sample(k) for q, k in pairs]
        log_q = [
            tf.cast(q.distribution().log_prob(draw), tf.float64)
            for q, draw in zip(posteriors, draws, strict=True)
            if q.is_random
        ]
        return draws, tf.add_n([tf.zeros([], tf.float64), *log_q])

    kinds = [q.loc.dtype for q in posteriors], tf.float64

    def every(numbers: Tensor) -> Any:
        return tf.map_fn(one, numbers, fn_output_signature=kinds)

    found = run_as_graph(every, tf.range(count))
    draws, log_q = keras.tree.map_structure(lambda t: t.numpy(), found)
    for posterior, found in zip(posteriors, draws, strict=True):
        ties = np.mean(found[1:] == found[0])
        if posterior.is_random and ties > _MOST_TIES:
            raise ValueError(
                "`model` must have posteriors with a density. Received: "
                f"{type(posterior).__name__} of {posterior.loc.path}, of "
                "which some values have a probability"
            )
    return draws, log_q


# Of numbers in single precision few are the same by chance.
_MOST_TIES = 0.01
