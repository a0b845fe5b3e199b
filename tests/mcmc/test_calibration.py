"""Simulation-based calibration (Talts et al., 2018) of a small network.

Weights and noise from the prior, data from these: then the rank of what the
data were made with, among draws of the posterior, is uniform. That holds the
density, the priors of noise, the sampler and its warm-up together.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

import tfpbnn
from tfpbnn.densities.problem import Problem
from tfpbnn.mcmc import program
from tfpbnn.mcmc.chains import Chains
from tfpbnn.mcmc.sample import Settings, _groups

DATA_SETS, DRAWS, ROWS = 128, 15, 12
BINS = DRAWS + 1
# Of all quantities together, by Bonferroni.
FALSE_FAIL = 1e-4
X = np.linspace(-2, 2, ROWS, dtype="float32")[:, None]
SETTINGS = Settings(
    kernel="nuts",
    num_chains=1,
    num_warmup=100,
    num_samples=DRAWS,
    seed=0,
    thin=5,
    max_tree_depth=8,
    target_accept=0.9,
    mass_matrix="diag",
)
PLACES = [0, 5, 11]


def network():
    return keras.Sequential(
        [
            keras.Input((1,)),
            keras.layers.Dense(2, activation="tanh", name="hidden"),
            keras.layers.Dense(1, name="last"),
            tfpbnn.layers.HomoscedasticScale(name="noise"),
        ]
    )


def simulated(parameters):
    """Vectors of the prior, and data that they make, `[DATA_SETS, ROWS]`."""
    rng = np.random.default_rng(0)
    truths = parameters.samples(rng, DATA_SETS)
    means, noise, _ = functions(parameters, truths)
    return truths, means + noise * rng.normal(size=means.shape)


def functions(parameters, vectors):
    """Means `[N, ROWS]`, noise and the length of weights `[N, 1]`."""
    (a, b, w, c, _), scales = parameters.values(vectors)
    hidden = np.tanh(X @ np.asarray(a) + np.asarray(b)[:, None])
    means = (hidden @ np.asarray(w))[..., 0] + np.asarray(c)
    (noise,) = scales.values()
    length = np.sum(np.square(w), (1, 2)) + np.sum(np.square(a), (1, 2))
    return means, np.reshape(noise, (-1, 1)), length[:, None]


def quantities(parameters, vectors, y):
    """What is ranked, `[N, 6]`: of data y `[ROWS]`.

    Predictions, noise, the length of the weights, and the likelihood, in which
    it shows if data count for too little or too much.
    """
    means, noise, length = functions(parameters, vectors)
    fit = stats.norm.logpdf(y, means, noise).sum(-1, keepdims=True)
    return np.concatenate([means[:, PLACES], noise, length, fit], -1)


@pytest.fixture(scope="module")
def ranks():
    """`[DATA_SETS, 6]`, of one program: the data are its arguments."""
    prior = {"noise": tfpbnn.priors.InverseGamma(4.0, 0.5)}
    likelihood = tfpbnn.likelihoods.Normal()
    nothing = np.zeros((ROWS, 1), "float32")
    problem = Problem(network(), X, nothing, likelihood, prior, True, None)
    density, parameters = problem.density, problem.parameters
    moves = program.Program(density, SETTINGS.mover)
    features, _, weights = keras.tree.map_structure(tf.constant, density.data)
    (first,) = _groups(problem, "prior", SETTINGS)
    truths, data = simulated(parameters)
    draws = []
    for number, (truth, y) in enumerate(zip(truths, data, strict=True)):
        # At the truth, which is a draw of the posterior: warm-up is short.
        start = tf.constant(truth[None]), tf.constant([number, 0])
        chains = Chains(first.state._replace(vector=start[0], key=start[1]))
        targets = tf.constant(y[None, :, None], "float32")
        while chains.done < len(SETTINGS.plan.flags):
            chains.advance(moves, SETTINGS.plan, (features, [targets], weights))
        draws.append(chains.snapshot()[1].vector[:, 0])
    # One call for all, since each is compiled.
    found = quantities(
        parameters,
        np.concatenate([truths, *draws]),
        np.concatenate([data, np.repeat(data, DRAWS, 0)]),
    )
    truth, found = found[:DATA_SETS], found[DATA_SETS:]
    found = found.reshape((DATA_SETS, DRAWS, -1))
    return (found < truth[:, None]).sum(1)


def test_ranks_are_uniform(ranks):
    for rank in ranks.T:
        counts = np.bincount(rank, minlength=BINS)
        assert stats.chisquare(counts).pvalue > FALSE_FAIL / ranks.shape[1]
