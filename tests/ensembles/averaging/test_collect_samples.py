"""Posteriors of the samples that a training visits."""

import warnings

import keras
import numpy as np
import pytest

import tfpbnn
from tests.statistics import assert_moments
from tfpbnn.ensembles import CollectSamples
from tfpbnn.optimizers import SGHMC, SGLD, schedules

N, SCALE = 64, 0.5
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3)).astype("float32")
Y = (X @ [1.0, -0.5, 0.2] + SCALE * RNG.normal(size=N)).astype("float32")
CHAINS = 3000


def network(optimizer, *layers, cls=tfpbnn.Sequential):
    model = cls([keras.Input((3,)), *layers, keras.layers.Dense(1)])
    model.compile(optimizer, loss=tfpbnn.likelihoods.Normal(scale=SCALE))
    return model


@pytest.fixture(scope="module")
def regression():
    """Bayesian linear regression, once for each of 3,000 outputs."""
    model = tfpbnn.Sequential([keras.Input((3,)), keras.layers.Dense(CHAINS)])
    optimizer = SGHMC(2e-3, N, seed=3)
    loss = tfpbnn.likelihoods.Normal(scale=SCALE)
    model.compile(optimizer, loss=loss)
    samples = CollectSamples(burn_in=5, every=5)
    x = np.tile(X, (20, 1))  # all rows in each of the 20 batches of an epoch
    y = np.repeat(np.tile(Y, 20)[:, None], CHAINS, axis=1)
    model.fit(x, y, N, 15, shuffle=False, verbose=0, callbacks=[samples])
    return samples.posterior()


def test_linear_regression_is_exact(regression):
    """All rows in a batch; the bias of the step is below 0.2 %.

    False alarms: 1e-6. Samples are 100 steps apart, 5 times the correlation
    time of the slowest direction.
    """
    rows = np.column_stack([X, np.ones(N)]).astype("float64")
    covariance = np.linalg.inv(rows.T @ rows / SCALE**2 + np.eye(4))
    mean = covariance @ rows.T @ Y / SCALE**2
    weights = [member.get_weights() for member in regression.members]
    draws = np.concatenate([np.vstack([k, b[None]]).T for k, b in weights])
    assert len(draws) == 2 * CHAINS
    # In the directions of the covariance, where they are independent.
    values, axes = np.linalg.eigh(covariance)
    assert_moments((draws - mean) @ axes, 0, values**0.5, detects=0.2)


def test_the_posterior_is_one_like_the_others(regression, tmp_path):
    p = tfpbnn.predict(regression, X[:5])
    expected = np.stack(
        [m.predict(X[:5], verbose=0) for m in regression.members]
    )
    np.testing.assert_allclose(p.mean, expected.mean(0), rtol=1e-5, atol=1e-5)
    regression.save(tmp_path / "p.keras")
    loaded = keras.saving.load_model(tmp_path / "p.keras")
    again = tfpbnn.predict(loaded, X[:5])
    np.testing.assert_allclose(again.mean, p.mean, rtol=1e-6)


def collected(samples, epochs, optimizer=None, *layers, **kwargs):
    model = network(optimizer or SGLD(1e-3, N), *layers, **kwargs)
    model.fit(X, Y, 32, epochs, verbose=0, callbacks=[samples])
    return model


def test_many_samples_are_thinned_evenly():
    samples = CollectSamples(1, 1, max_samples=4, unit="step")
    seen = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(self.model.get_weights()[0])

    model = network(SGLD(1e-3))
    model.fit(X, Y, 32, 8, verbose=0, callbacks=[samples, Look()])
    kept = [m.get_weights()[0] for m in samples.posterior().members]
    # Of the 14 steps after the burn-in number 4, 8 and 12.
    expected = [seen[1 + number] for number in (4, 8, 12)]
    np.testing.assert_array_equal(kept, expected)


def test_batch_norm_has_statistics_of_its_own():
    samples = CollectSamples(0)
    model = collected(
        samples,
        3,
        None,
        keras.layers.BatchNormalization(),
        cls=keras.Sequential,
    )
    with pytest.raises(ValueError, match="`x` must be given"):
        samples.posterior()
    posterior = samples.posterior(X)
    for member in posterior.members:
        for layer in member.layers[:1]:
            np.testing.assert_allclose(layer.moving_mean, X.mean(0), atol=1e-5)
            np.testing.assert_allclose(
                layer.moving_variance, X.var(0), rtol=1e-4
            )
    last = posterior.members[-1].layers[1].get_weights()
    np.testing.assert_array_equal(last[0], model.layers[1].get_weights()[0])


def test_cycles_are_collected_from_where_they_sample():
    samples = CollectSamples(0)
    schedule = schedules.Cyclical(1e-3, 8, exploration=0.5)  # of 4 epochs
    collected(samples, 8, SGLD(schedule))
    assert samples.num_samples == 4


def test_too_long_a_burn_in_is_said_at_the_end():
    samples = CollectSamples(5)
    with pytest.warns(UserWarning, match="`burn_in` must leave epochs"):
        model = collected(samples, 2)
    with pytest.raises(ValueError, match="burn_in=5, every=1 epochs, and 2"):
        samples.posterior()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model.fit(
            X, Y, epochs=7, initial_epoch=5, verbose=0, callbacks=[samples]
        )
    assert samples.num_samples == 2


def test_bad_arguments():
    for name, arguments in {
        "burn_in": {"burn_in": -1},
        "every": {"burn_in": 0, "every": 0},
        "max_samples": {"burn_in": 0, "max_samples": 1},
        "unit": {"burn_in": 0, "unit": "day"},
    }.items():
        with pytest.raises(ValueError, match=f"`{name}` must"):
            CollectSamples(**arguments)
    with pytest.raises(ValueError, match="`optimizer` must be a sampler"):
        collected(CollectSamples(0), 1, "adam")
    with pytest.raises(ValueError, match="`learning_rate` must be small"):
        collected(CollectSamples(2), 20, SGLD(1e4))
    with pytest.raises(ValueError, match=r"`num_examples` .* no data to count"):
        collected(CollectSamples(0), 1, SGLD(0.1), cls=keras.Sequential)


def test_a_plain_model_knows_what_its_loss_is_divided_by():
    """Its `fit` says nothing, so the callback reads the loss."""
    optimizer = SGLD(1e-3, N)
    model = network(optimizer, cls=keras.Sequential)
    loss = tfpbnn.likelihoods.Normal(scale=SCALE, reduction="sum")
    model.compile(optimizer, loss=loss)
    model.fit(X, Y, 32, 1, verbose=0, callbacks=[CollectSamples(0)])
    assert float(optimizer.variables[3]) == 2 / N  # batches over rows
