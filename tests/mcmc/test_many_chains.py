"""Kernels whose chains learn from each other draw from exact posteriors.

The limits are those of `test_sample`.
"""

import types
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.mcmc.test_sample import (
    INPUTS,
    NOISE,
    X,
    Y,
    assert_normal,
    draw,
    exact,
    linear,
    vectors,
)
from tfpbnn.densities.problem import Problem
from tfpbnn.mcmc import chains as running
from tfpbnn.mcmc import checks, runner

NORMAL = tfpbnn.likelihoods.Normal(scale=NOISE)
KERNELS = ["chees", "snaper"]
SETTINGS = {
    "init": "prior",
    "num_chains": 16,
    "num_warmup": 150,
    "num_samples": 200,
}


@pytest.fixture(scope="module", params=KERNELS)
def drawn(request):
    return request.param, draw(linear(), kernel=request.param, **SETTINGS)


def test_the_exact_posterior(drawn):
    _, posterior = drawn
    assert_normal(vectors(posterior), *exact())
    assert tfpbnn.diagnostics.convergence.ess(vectors(posterior)).min() > 400


def test_chains_share_the_number_of_steps_alone(drawn):
    _, posterior = drawn
    statistics = posterior.statistics
    assert len(np.unique(statistics["step_size"])) == 16
    counts = statistics["num_gradients"]
    assert (counts == counts[:1]).all()
    assert len(np.unique(counts)) > 1  # drawn anew for each step


def test_paths_are_judged_by_predictions_of_some_rows():
    """Of 40 rows each second one: at most 32 of them."""
    density = Problem(linear(), X, Y, NORMAL, "normal", True, None).density
    weights = np.random.default_rng(0).normal(size=(3, INPUTS + 1))
    weights = weights.astype("float32")
    expected = X[::2] @ weights[:, :INPUTS].T + weights[:, INPUTS]
    np.testing.assert_allclose(density.seen(weights), expected.T, rtol=1e-4)
    found = density.view(tf.constant(weights), density.data)
    np.testing.assert_allclose(found, expected.T, rtol=1e-4)


def test_what_all_chains_take_at_once_is_checked_before(monkeypatch):
    """Outputs of both layers, of 40 rows and 16 chains."""
    model = keras.Sequential(
        [
            keras.Input((INPUTS,)),
            keras.layers.Dense(5),
            keras.layers.Dense(1),
        ]
    )
    needed = 4 * 16 * 40 * (5 + 1)
    density = Problem(model, X, Y, NORMAL, "normal", True, None).density
    assert density.memory_of(16) == needed
    monkeypatch.setattr(checks, "_memory", lambda: needed)
    checks.check_program(density, 16)
    with pytest.raises(ValueError, match=r"GiB.*num_chains=17\. Take fewer"):
        checks.check_program(density, 17)


@pytest.mark.parametrize("apart", [0.0, 2.0])
def test_chains_that_disagree_are_told_of(apart):
    """Four chains, of which one is elsewhere."""
    found = np.random.default_rng(0).normal(size=(4, 400, 5, 1))
    found[0] += apart
    statistics = {
        "is_divergent": np.zeros((4, 400), bool),
        "num_gradients": np.full((4, 400), 7),
    }
    posterior = types.SimpleNamespace(
        statistics=statistics,
        num_chains=4,
        num_samples=400,
        predictions=lambda _: found,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        checks.warn_of_chains(posterior, None, 1023)
    said = [str(w.message) for w in caught]
    what = 'begin at init="annealed"'
    assert bool(said) == any(what in note for note in said) == bool(apart)


@pytest.mark.parametrize(
    ("kernel", "mass_matrix"),
    [("chees", "dense"), ("snaper", None), ("nuts", "diag")],
)
def test_a_hard_posterior(kernel, mass_matrix):
    """Condition number 1000, with all widths, with none, or those of weights.

    Its directions are not those of weights. Chains that move each by itself
    take it too.
    """
    rng = np.random.default_rng(0)
    widths = np.geomspace(1.0, 1000**-0.5, INPUTS + 1)
    turn = np.linalg.qr(rng.normal(size=(INPUTS + 1, INPUTS + 1)))[0]
    design = (turn / widths) @ turn.T
    # Without a bias, and with a prior so wide that only the data count.
    model = keras.Sequential(
        [keras.Input((INPUTS + 1,)), keras.layers.Dense(1, use_bias=False)]
    )
    y = np.zeros((INPUTS + 1, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        posterior = tfpbnn.mcmc.sample(
            model,
            design,
            y,
            kernel,
            likelihood=tfpbnn.likelihoods.Normal(scale=1.0),
            prior=tfpbnn.priors.Normal(scale=1e3),
            init="prior" if mass_matrix else None,  # near a mode
            mass_matrix=mass_matrix,
            num_warmup=300,
            num_samples=200,
            seed=0,
            verbose=0,
        )
    covariance = np.linalg.inv(design.T @ design + 1e-6 * np.eye(INPUTS + 1))
    assert posterior.num_chains == (4 if kernel == "nuts" else 16)
    assert_normal(vectors(posterior), np.zeros(INPUTS + 1), covariance)


@pytest.mark.parametrize("drawn", ["chees"], indirect=True)
def test_resumed_chains_are_bit_for_bit_those_of_one_run(
    drawn, tmp_path, monkeypatch
):
    """With steps cut into other calls, and more draws than at first."""
    kernel, whole = drawn
    file = tmp_path / "chains.npz"

    def again(num_samples):
        settings = SETTINGS | {"num_samples": num_samples}
        return draw(linear(), kernel=kernel, checkpoint=file, **settings)

    def interrupted(self, groups, bar):
        """All chains are in one group, which stops in the middle of warm-up."""
        (group,) = groups
        while group.done < 25:
            group.advance(self._program, self._plan, self._data[0])
        self._checkpoint.write(groups)
        return False

    with monkeypatch.context() as patch:
        patch.setattr(running, "MOST_STEPS", 7)
        patch.setattr(runner.Runner, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            again(10)
    resumed = again(SETTINGS["num_samples"])
    np.testing.assert_array_equal(vectors(resumed), vectors(whole))
    monkeypatch.setattr(runner.Runner, "compile", None)  # nothing is left
    finished = again(SETTINGS["num_samples"])
    np.testing.assert_array_equal(vectors(finished), vectors(whole))
    with pytest.raises(ValueError, match="`num_samples` must be as many"):
        again(10)
