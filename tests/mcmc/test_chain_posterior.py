"""What surrounds chains, on what people bring."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

import tfpbnn
from tests import fresh
from tests.densities.test_log_density import CASES, ROWS, numbers
from tests.mcmc.drawn import posterior_of
from tests.mcmc.hierarchical import PRIORS, network
from tfpbnn.diagnostics import convergence

NORMAL = tfpbnn.likelihoods.Normal()


def by_output(found):
    """Predictions, or targets, by the names that ArviZ's groups have."""
    if isinstance(found, dict):
        return found
    return {"y": found}


def log_prior(posterior):
    """Of all draws `[C, S]`, with Normal(0, 1) priors."""
    return sum(
        stats.norm.logpdf(draws).sum(tuple(range(2, draws.ndim)))
        for draws in posterior.draws.values()
    )


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """A posterior, data, and its InferenceData."""
    keras.utils.set_random_seed(0)
    model, x, y, loss = CASES[request.param]()
    posterior = posterior_of(model, x, y, loss)
    data = posterior.to_arviz(x, y, num_prior_samples=4, seed=0)
    return model, x, y, posterior, data


def test_log_likelihoods_are_those_of_the_chains(case):
    """Masked and ignored places, and all outputs that have a loss."""
    _, _, y, posterior, data = case
    found = data.log_likelihood
    assert set(found.data_vars) == set(by_output(y))
    for values in found.data_vars.values():
        assert values.shape == (2, 3, ROWS)
    total = sum(v.values.sum(-1) for v in found.data_vars.values())
    expected = posterior.statistics["log_prob"] - log_prior(posterior)
    np.testing.assert_allclose(total, expected, rtol=2e-5)


def test_draws_are_the_networks(case):
    """Predictions of a draw are those of the model with its weights."""
    model, x, _, posterior, _ = case
    draws = list(posterior.draws.values())
    means = by_output(posterior.predictions(x))
    for place in [(0, 0), (1, 2)]:
        for variable, values in zip(
            model.trainable_variables, draws, strict=True
        ):
            variable.assign(values[place])
        outputs = tfpbnn.predict(
            model, x, draws="mean", likelihood=posterior.loss
        )
        for name, p in by_output(outputs).items():
            np.testing.assert_allclose(
                means[name][place], p.mean, rtol=1e-4, atol=1e-5
            )


def test_groups_of_arviz(case):
    _, _, y, posterior, data = case
    names = [name.replace("/", ".") for name in posterior.draws]
    assert set(data.posterior.data_vars) == set(names)
    for name, values in zip(names, posterior.draws.values(), strict=True):
        np.testing.assert_array_equal(data.posterior[name], values)
    assert set(data.prior.data_vars) == set(names)
    assert data.prior.sizes["draw"] == 4
    for name, target in by_output(y).items():
        after = data.posterior_predictive[name]
        before = data.prior_predictive[name]
        observed = data.observed_data[name]
        assert after.shape == (2, 3, *observed.shape)
        assert before.shape == (1, 4, *observed.shape)
        seen = ~np.isnan(observed.values)
        np.testing.assert_array_equal(
            observed.values[seen], np.reshape(target, observed.shape)[seen]
        )
    stats = data.sample_stats
    np.testing.assert_array_equal(stats["n_steps"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(stats["tree_depth"], [[0, 1, 2], [2, 3, 3]])
    np.testing.assert_array_equal(stats["diverging"].values.sum(), 1)
    assert {"lp", "acceptance_rate", "energy", "step_size"} <= set(stats)


def line():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    return model, numbers(3), numbers(1), tfpbnn.likelihoods.Normal(scale=0.5)


def test_weights_count_in_log_likelihoods():
    model, x, y, loss = line()
    weights = np.arange(ROWS) / 3.0
    posterior = posterior_of(model, x, y, loss, sample_weight=weights)
    data = posterior.to_arviz(x, y, sample_weight=weights, num_prior_samples=1)
    expected = posterior.statistics["log_prob"] - log_prior(posterior)
    found = data.log_likelihood["y"].sum("row")
    np.testing.assert_allclose(found, expected, rtol=2e-5)


def test_loo_and_waic_are_those_of_exact_draws():
    """Of a linear model with exact draws: the LOO of closed form."""
    az = convergence.arviz()
    model, x, y, _ = line()
    loss = tfpbnn.likelihoods.Normal(scale=1.0)
    design = np.c_[x, np.ones(ROWS)].astype("float64")
    covariance = np.linalg.inv(design.T @ design + np.eye(4))
    mean = covariance @ design.T @ y[:, 0]
    posterior = posterior_of(model, x, y, loss, chains=2, samples=500)
    generator = np.random.default_rng(0)
    draws = generator.multivariate_normal(mean, covariance, (2, 500))
    posterior.set_draws([draws[..., :3], draws[..., 3]], {}, {})
    data = posterior.to_arviz(x, y, num_prior_samples=1)
    # Without a row: the gap to its prediction, and the variance of that.
    leverage = np.einsum("nd,de,ne->n", design, covariance, design)
    gap = (y[:, 0] - design @ mean) / (1 - leverage)
    variance = leverage / (1 - leverage) + 1
    exact = stats.norm.logpdf(gap, 0, np.sqrt(variance)).sum()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rows are few
        loo, waic = az.loo(data), az.waic(data)
    np.testing.assert_allclose(loo.elpd_loo, exact, atol=0.3)
    np.testing.assert_allclose(waic.elpd_waic, exact, atol=0.6)


def test_targets_without_inputs():
    model, x, y, loss = line()
    with pytest.raises(ValueError, match="`x` must be the inputs"):
        posterior_of(model, x, y, loss).to_arviz(y=y)


def test_the_prior_is_sampled_with_its_scales(caplog):
    """Quantiles of 4000 draws, each off by at most 5 standard errors."""
    posterior = posterior_of(network(), *DATA, NORMAL, prior=PRIORS)
    prior = posterior.prior(4000, seed=0)
    scales, draws = prior.scales, prior.draws

    def assert_share(values, share):
        error = np.mean(values) - share
        assert abs(error) < 5 * np.sqrt(share * (1 - share) / 4000)

    assert_share(scales["noise/raw_scale/scale"] < 0.5, 0.5)
    assert_share(scales["a/kernel/scale"][..., 0, 0] ** -2 < 1.5, 0.5768)
    raw = draws["a/kernel"] / scales["a/kernel/scale"]
    assert_share(raw[..., 0, 0] < 1, special.ndtr(1))
    assert_share(draws["c/bias"][..., 0] < 2 * np.log(2), 0.75)
    np.testing.assert_allclose(
        np.logaddexp(0, draws["noise/raw_scale"]),
        scales["noise/raw_scale/scale"],
        rtol=1e-4,
    )
    one, *others = (posterior.prior(3, seed=1).draws["c/bias"] for _ in "abcde")
    for other in others:
        np.testing.assert_array_equal(one, other)
    assert not caplog.records  # TensorFlow warns of tracing from the fifth on


DATA = numbers(2), numbers(1)
LOAD = """
import sys, keras, numpy as np, tfpbnn
posterior = keras.saving.load_model(sys.argv[1])
x, y = np.load(sys.argv[2]), np.load(sys.argv[3])
arrays = posterior.draws | posterior.scales | posterior.statistics
arrays |= {"prior " + k: v for k, v in posterior.prior(5, seed=1).draws.items()}
arrays["mean"] = tfpbnn.predict(posterior, x, 10).mean
arrays["loss"] = posterior.evaluate(x, y, verbose=0)
arrays["nll"] = tfpbnn.evaluate(posterior, x, y)["nll"]
np.savez(sys.argv[4], **{k.replace("/", "-"): v for k, v in arrays.items()})
"""


def test_a_file_is_loaded_in_a_new_process(tmp_path):
    x, y = DATA
    posterior = posterior_of(network(), x, y, NORMAL, prior=PRIORS)
    paths = [str(tmp_path / n) for n in ("p.keras", "x.npy", "y.npy", "o.npz")]
    posterior.save(paths[0])
    np.save(paths[1], x)
    np.save(paths[2], y)
    fresh.run(LOAD, *paths)
    found = np.load(paths[3])
    expected = posterior.draws | posterior.scales | posterior.statistics
    prior = posterior.prior(5, seed=1).draws
    expected |= {f"prior {k}": v for k, v in prior.items()}
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name.replace("/", "-")], values)
    p = tfpbnn.predict(posterior, x, 10)
    np.testing.assert_allclose(found["mean"], p.mean, rtol=1e-5)
    np.testing.assert_allclose(found["nll"], p.nll(y), rtol=1e-5)
    loss = posterior.evaluate(x, y, verbose=0)
    np.testing.assert_allclose(found["loss"], loss, rtol=1e-5)


def test_priors_keep_the_values_of_their_variables():
    layer = tfpbnn.layers.DenseFlipout(1, kernel_prior="moped")
    model = keras.Sequential([keras.Input((3,)), layer])
    layer.kernel_prior.loc.assign([[100.0], [200.0], [300.0]])
    posterior = posterior_of(model, numbers(3), numbers(1), line()[3])
    copy = type(posterior).from_config(posterior.get_config())
    copy.set_weights(posterior.get_weights())
    for one in (posterior, copy):
        (kernel, _) = one.prior(4, seed=0).draws.values()
        np.testing.assert_allclose(kernel[0] - [[100], [200], [300]], 0, atol=5)


def test_nested_models_with_weights_of_one_path():
    """Each has its own draws, though Keras calls them the same."""

    twins = []
    for _ in range(2):
        layer = keras.layers.Dense(3, name="dense")
        layer.build((None, 3))
        twins.append(keras.Sequential([keras.Input((3,)), layer]))
    inputs = keras.Input((3,))
    model = keras.Model(inputs, twins[1](twins[0](inputs)))
    assert len({v.path for v in model.weights}) == 2
    hierarchy = tfpbnn.priors.HierarchicalNormal()
    posterior = posterior_of(
        model,
        numbers(3),
        numbers(3),
        tfpbnn.likelihoods.Normal(scale=1.0),
        prior=hierarchy,
    )
    assert len(posterior.draws) == len(posterior.scales) == 4
    data = posterior.to_arviz(num_prior_samples=1)
    assert len(data.posterior.data_vars) == 8


def test_inside_of_another_model():
    model, x, y, loss = line()
    posterior = posterior_of(model, x, y, loss)
    outer = keras.Sequential(
        [keras.Input((3,)), keras.layers.Rescaling(2.0), posterior]
    )
    outer.compile("sgd", loss=loss)
    found = tfpbnn.predict(outer, x, 6, draws="coherent").outputs
    expected = tfpbnn.predict(posterior, 2 * x, 6, draws="coherent").outputs
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert np.ptp(expected, axis=0).min() > 0.01


def test_fixed_draws_are_exported(tmp_path):
    """Fresh ones are with those of other posteriors in tests/exporting."""
    model, x, y, loss = line()
    posterior = posterior_of(model, x, y, loss)
    one = {"signatures": ["serving_default"], "quantiles": []}
    tfpbnn.export(posterior, tmp_path / "1", 6, draws="fixed", **one)
    served = tf.saved_model.load(str(tmp_path / "1")).signatures
    (name,) = served["serving_default"].structured_input_signature[1]
    found = served["serving_default"](**{name: tf.constant(x)})
    p = tfpbnn.predict(posterior, x, 6)
    np.testing.assert_allclose(
        np.reshape(found["mean"], -1), p.mean[:, 0], rtol=1e-4, atol=1e-5
    )


def test_outputs_without_a_loss_are_passed_over():
    inputs = keras.Input((3,))
    outputs = [keras.layers.Dense(1, name=n)(inputs) for n in "ab"]
    model = keras.Model(inputs, outputs)
    loss = [tfpbnn.likelihoods.Normal(scale=1.0), None]
    posterior = posterior_of(model, numbers(3), [numbers(1)], loss, samples=4)
    a, b = posterior.predictions(numbers(3))
    assert a.shape == (2, 4, ROWS, 1)
    assert b is None
    assert "predictions" in posterior.summary(numbers(3)).index[0]
    data = posterior.to_arviz(numbers(3), [numbers(1)], num_prior_samples=1)
    assert list(data.log_likelihood) == ["a"]
