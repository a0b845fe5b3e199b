"""From chains' vectors to a posterior."""

import warnings
from collections.abc import Sequence

import numpy as np

from tfpbnn.densities.problem import Problem
from tfpbnn.mcmc import program
from tfpbnn.posteriors.chains import STATISTICS, ChainPosterior


def collect(
    problem: Problem, traces: Sequence[program.Trace | None], finished: bool
) -> ChainPosterior:
    """The posterior of what was drawn.

    Args:
        problem: what the chains are of.
        traces: the draws of each group of chains, None where there are none.
        finished: whether all draws were made.

    Raises:
        KeyboardInterrupt: if there is no draw of some chain.
    """
    counts = [0 if t is None else len(t.log_prob) for t in traces]
    if not min(counts):
        raise KeyboardInterrupt(
            "Interrupted before all chains had a draw: nothing was kept."
        )
    if not finished:
        warnings.warn(
            f"Interrupted: {min(counts)} draws of each chain are kept.",
            stacklevel=4,
        )
    trace = program.Trace(
        *(
            np.concatenate(
                [np.swapaxes(leaf[: min(counts)], 0, 1) for leaf in leaves]
            )
            for leaves in zip(*traces, strict=True)
        )
    )
    return posterior_of(problem, trace)


def posterior_of(problem: Problem, trace: program.Trace) -> ChainPosterior:
    """The posterior of draws `[C, S, ...]`."""
    parameters, network = problem.parameters, problem.network
    vectors = trace.vector.reshape((-1, parameters.size))
    weights, scales = parameters.values(vectors)
    places = {id(v): i for i, v in enumerate(network.weights)}
    num_chains, num_samples = trace.log_prob.shape
    posterior = ChainPosterior(
        network,
        [places[id(v)] for v in parameters.variables],
        [w.prior for w in parameters.random_weights],
        num_chains,
        num_samples,
        scales={name: s.shape[1:] for name, s in scales.items()},
    )
    posterior.set_draws(
        weights, scales, {name: getattr(trace, name) for name in STATISTICS}
    )
    for variable, stack in zip(parameters.variables, weights, strict=True):
        variable.assign(stack[0])
    posterior.compile("sgd", loss=problem.loss)
    return posterior
