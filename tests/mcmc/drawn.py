"""Posteriors of a few draws of the priors: as chains make, without the time."""

import numpy as np
import tensorflow as tf

from tfpbnn.densities.problem import Problem
from tfpbnn.mcmc import collecting, program


def posterior_of(
    model,
    x,
    y,
    loss,
    chains=2,
    samples=3,
    *,
    prior="normal",
    sample_weight=None,
    seed=0,
):
    """A ChainPosterior, of which all draws are of the priors."""
    problem = Problem(model, x, y, loss, prior, True, sample_weight)
    generator = np.random.default_rng(seed)
    count = chains * samples
    vectors = problem.parameters.samples(generator, count)
    density = tf.function(problem.density, autograph=False)
    log_prob = density(vectors, problem.density.data)
    shape = (chains, samples)
    numbers = np.arange(count).reshape(shape)
    trace = program.Trace(
        vector=vectors.reshape((*shape, -1)),
        log_prob=np.reshape(log_prob, shape),
        acceptance=numbers / count,
        energy=numbers - 0.5,
        is_divergent=numbers == 1,
        num_gradients=numbers,
        step_size=numbers + 0.25,
    )
    return collecting.posterior_of(problem, trace)
