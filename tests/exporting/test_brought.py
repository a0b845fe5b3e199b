"""What people bring answers on servers as `predict` does.

By the C runtime, a process without Keras; with fresh and with fixed draws.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.exporting import brought
from tests.exporting.runtimes import c_runtime
from tests.exporting.test_served import (
    assert_all,
    assert_answers,
    predict,
    rows,
)
from tfpbnn import particles

SAMPLES = 8
# Not `samples`, which `serving_default` sums up.
ASKED = ("serving_default", "deterministic", "seeded")
ONE_PASS = (
    "mean",
    "aleatoric_variance",
    "probabilities",
    "predictive_entropy",
)


@pytest.fixture(scope="module", params=brought.ALL, ids=lambda f: f.__name__)
def entry(request):
    keras.utils.set_random_seed(2)
    return request.param()


def export(entry, path, **kwargs):
    """Without quantiles, which take half of the time and are of numbers."""
    kwargs = {"quantiles": []} | entry.kwargs | kwargs
    tfpbnn.export(entry.model, path, SAMPLES, **kwargs)


@pytest.fixture(scope="module")
def fresh(entry, tmp_path_factory):
    path = tmp_path_factory.mktemp("fresh") / "1"
    export(entry, path, signatures=ASKED)
    return path


def one_by_one(entry, seeds):
    """What `predict` says of each row by itself."""
    kind = "marginal" if entry.has_apart else "coherent"
    for row, seed in enumerate(seeds):
        one = rows(entry.x, slice(row, row + 1))
        yield predict(entry, one, SAMPLES, seed=int(seed), draws=kind)


def assert_rows(answers, predictions):
    for row, each in enumerate(predictions):
        assert_all(rows(answers, [row]), each)


def test_means(entry, fresh):
    function = particles.draw_function(entry.model, entry.x)
    kind = "mean" if function.has_mean else "auto"
    answers = c_runtime().run(fresh, "deterministic", **entry.inputs)
    assert_answers(answers, predict(entry, draws=kind), ONE_PASS)


def test_seeds(entry, fresh):
    seeds = np.array([5, -2, 5])
    three = {name: x[:3] for name, x in entry.inputs.items()}
    answers = c_runtime().run(fresh, "seeded", seed=seeds, **three)
    assert_rows(answers, one_by_one(entry, seeds))


def test_requests(entry, fresh):
    """One row, several, and none: rows first, and new draws each time."""
    is_endless = particles.draw_function(entry.model, entry.x).num_draws is None
    for count in (0, 1, 3):
        chosen = {name: x[:count] for name, x in entry.inputs.items()}
        one, two = (
            c_runtime().run(fresh, "serving_default", **chosen)
            for _ in range(2)
        )
        for name, value in one.items():
            assert len(value) == count
            assert np.isfinite(value).all()
            if name.endswith("epistemic_variance") and count:
                assert (value > 0).any()
                assert np.array_equal(value, two[name]) != is_endless


def test_fixed(entry, tmp_path):
    path = tmp_path / "1"
    fixed = {"draws": "fixed", "seed": 3}
    export(entry, path, signatures=["serving_default"], **fixed)
    three = {name: x[:3] for name, x in entry.inputs.items()}
    answers = c_runtime().run(path, "serving_default", **three)
    assert_rows(answers, one_by_one(entry, [3, 3, 3]))
    again = c_runtime().run(path, "serving_default", **three)
    for name, value in answers.items():
        np.testing.assert_array_equal(value, again[name])


@pytest.mark.parametrize("build", brought.ENSEMBLES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("draws", ["fresh", "fixed"])
def test_ensembles_are_their_networks(build, draws, tmp_path):
    """Each with the words that it knows, as plain Keras has them."""
    model, networks = build()
    asked = ["samples", "deterministic"]
    tfpbnn.export(model, tmp_path / "1", SAMPLES, draws=draws, signatures=asked)
    assert tfpbnn.lint_export(tmp_path / "1") == []
    x = tf.constant(brought.COLOURS)
    outputs = np.stack([np.asarray(network(x)) for network in networks], 1)
    given = {"words": brought.COLOURS}
    if len(networks) > 1:
        found = c_runtime().run(tmp_path / "1", "samples", **given)
        np.testing.assert_allclose(found["outputs"], outputs, rtol=1e-5)
    found = c_runtime().run(tmp_path / "1", "deterministic", **given)
    mean = outputs.mean(1)[:, :1]
    np.testing.assert_allclose(found["mean"], mean, rtol=1e-5)
