"""Threads that predict with one model, as a server has them."""

import concurrent.futures
import threading

import keras
import numpy as np
import pytest

import tfpbnn
from tests.particles import table
from tfpbnn import layers, particles

THREADS = 4


def dropout():
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(8, activation="relu"),
            layers.MCDropout(0.5),
            keras.layers.Dense(2),
        ]
    )
    return model, table.X


def ensemble():
    def build():
        return keras.Sequential([keras.Input((3,)), table.dense(2)])

    return tfpbnn.ensembles.DeepEnsemble(build, 3), table.X


def outputs(model, x, seed, draws):
    return tfpbnn.predict(
        model,
        x,
        5,
        seed=seed,
        draws=draws,
        verbose=0,
        likelihood=tfpbnn.likelihoods.Normal(scale=1.0),
    ).outputs


@pytest.mark.parametrize("draws", ["auto", "coherent"])
@pytest.mark.parametrize(
    "make", [table.sequential, table.subclassed, dropout, ensemble]
)
def test_threads_predict_as_one(make, draws):
    """Cold, when all want what none has compiled, and warm."""
    model, x = make()
    start = threading.Barrier(THREADS)

    def run(seed):
        start.wait()
        cold = outputs(model, x, seed, draws)
        return cold, outputs(model, x, seed, draws)

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(run, range(THREADS)))
    for seed, (cold, warm) in enumerate(found):
        one = outputs(model, x, seed, draws)
        np.testing.assert_allclose(cold, one, rtol=1e-6)
        np.testing.assert_allclose(warm, one, rtol=1e-6)
    traced = particles.draw_function(model, x)._functions.values()
    assert [f.experimental_get_tracing_count() for f in traced] == [1]
