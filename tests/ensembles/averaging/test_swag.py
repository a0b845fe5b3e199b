"""SWAG has the moments of what it collected, and its draws have them too."""

import keras
import numpy as np
import pytest
from scipy import stats

import tfpbnn
from tests.ensembles.averaging.iterates import (
    L,
    classifier,
    closed_form,
    columns_of,
    covariance,
    feed,
    flat,
    iterates,
    labelled,
    linear,
    normal,
)
from tests.statistics import FALSE_FAIL, assert_covariance
from tfpbnn import particles, random
from tfpbnn.ensembles import SWAG, MultiSWAG


def collected(rank=4, count=9, **kwargs):
    """A posterior of known iterates, of a linear network, and they."""
    model = linear()
    sets = iterates(model, count, **kwargs)
    swag = SWAG(0, rank)
    feed(swag, model, sets)
    return swag.posterior, sets


@pytest.mark.parametrize("count", [3, 9])
def test_moments_are_those_of_the_iterates(count):
    """Far from 0, where a mean of squares less a square has no digits left."""
    posterior, sets = collected(4, count, loc=1000.0, scale=0.1)
    mean, variances, deviations = closed_form(sets, 4)
    np.testing.assert_allclose(flat(posterior.network.weights), mean, 1e-7)
    # Means and deviations are rounded to float32 as they are stored.
    np.testing.assert_allclose(flat(posterior.variances), variances, 1e-5)
    np.testing.assert_allclose(
        columns_of(posterior), deviations, rtol=1e-5, atol=1e-6
    )
    assert posterior.num_columns == min(count, 4)
    assert posterior.num_collected == count


def outputs(posterior, x, count, antithetic=False):
    function = particles.draw_function(posterior, x, antithetic)
    return function.draws(x, random.as_key(7), 0, count)


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_draws_have_the_closed_form_of_mean_and_covariance(scale):
    posterior, sets = collected()
    posterior.scale = scale
    x = np.eye(4, 3, dtype="float32")  # rows of the kernel, then the bias
    found = outputs(posterior, x, 15_000).reshape(-1, 8)
    # Outputs are linear in the weights: [kernel, bias], flat.
    design = np.kron(np.hstack([x, np.ones((4, 1))]), np.eye(2))
    mean = design @ closed_form(sets, 4)[0]
    expected = scale * design @ covariance(sets, 4) @ design.T
    assert_covariance(found, mean, expected)


def test_it_finds_the_stationary_covariance_of_sgd_on_a_quadratic():
    """With targets of covariance C, iterates have eta^2 / (1 - phi^2) C.

    Weights are w <- phi w + eta y with phi = 1 - eta; every 24th is all but
    independent. Each check has a false-alarm rate of 1e-6.
    """
    eta, count, every = 0.5, 400, 24
    c = np.array([[1.0, 0.6], [0.6, 2.0]])
    y = normal(count * every, 2) @ np.linalg.cholesky(c).T
    model = keras.Sequential([keras.Input((1,)), L.Dense(2, use_bias=False)])
    model.compile(keras.optimizers.SGD(eta), "mse", steps_per_execution=every)
    swag = SWAG(0, rank=count, frequency=every, unit="step")
    model.fit(np.ones((len(y), 1)), y, 1, callbacks=[swag], verbose=0)
    assert swag.num_collected == count
    posterior = swag.posterior
    stationary = c * eta**2 / (1 - (1 - eta) ** 2)
    ratios = flat(posterior.variances) / np.diag(stationary) * count
    low, high = stats.chi2.ppf([FALSE_FAIL / 4, 1 - FALSE_FAIL / 4], count - 1)
    assert np.all((ratios > low) & (ratios < high))
    # Around a running mean of i iterates: 1 - 1 / i of the covariance.
    parts = np.sum(1 - 1 / np.arange(1, count + 1)) / (count - 1)
    columns = columns_of(posterior)
    found = columns.T @ columns / (count - 1)
    variances = np.diag(stationary)
    error = np.sqrt((np.outer(variances, variances) + stationary**2) / count)
    limit = stats.norm.isf(FALSE_FAIL / 6) * 1.15  # Wishart, not Normal
    assert np.all(np.abs(found - parts * stationary) < limit * error)
    assert found[0, 1] > 0.25 * np.sqrt(found[0, 0] * found[1, 1])


def test_antithetic_draws_the_mean_and_kept_draws():
    posterior, _ = collected()
    x = normal(5, 3)
    mean = posterior.predict(x, verbose=0)
    np.testing.assert_allclose(mean, posterior.network(x), rtol=1e-5)
    pairs = outputs(posterior, x, 6, antithetic=True)
    np.testing.assert_allclose(
        (pairs[::2] + pairs[1::2]) / 2, [mean] * 3, rtol=1e-4, atol=1e-5
    )
    at_mean = tfpbnn.predict(posterior, x, draws="mean")
    np.testing.assert_allclose(at_mean.mean, mean, rtol=1e-5, atol=1e-5)
    kept = posterior.materialize(4, seed=3)
    p, q = (tfpbnn.predict(m, x, 4, seed=3) for m in (posterior, kept))
    np.testing.assert_allclose(p.mean, q.mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(p.variance, q.variance, rtol=1e-3)


def right(y, logits):
    """A metric that is not registered with Keras."""
    return keras.ops.cast(y == keras.ops.argmax(logits, -1), "float32")


class Count(keras.metrics.Metric):
    def __init__(self, name="count", **kwargs):
        super().__init__(name=name, **kwargs)
        self.rows = self.add_weight(name="rows", initializer="zeros")

    def update_state(self, y, logits, sample_weight=None):
        self.rows.assign_add(keras.ops.cast(keras.ops.shape(y)[0], "float32"))

    def result(self):
        return self.rows


def test_fit_is_what_it_would_be_without():
    x, y = labelled()
    weights = []
    for callbacks in ([], [SWAG(1, 2)]):
        keras.utils.set_random_seed(1)
        model = classifier()
        model.compile(model.optimizer, model.loss, metrics=[right, Count()])
        model.fit(x, y, epochs=3, callbacks=callbacks, verbose=0)
        weights.append(flat(model.weights))
    np.testing.assert_array_equal(*weights)
    posterior = callbacks[0].posterior
    loss, accuracy, count = posterior.evaluate(x, y, verbose=0)
    assert count == len(x)
    scores = tfpbnn.evaluate(posterior, x, y, draws="mean")
    np.testing.assert_allclose(loss, scores["nll"], rtol=1e-5)
    np.testing.assert_allclose(accuracy, scores["accuracy"], rtol=1e-5)


def test_only_trainable_weights_are_random():
    x, y = labelled()
    model = classifier()
    model.layers[0].trainable = False
    model.layers[1].bias.trainable = False  # no copy of the model knows that
    model.compile("sgd", model.loss)
    swag = SWAG(0, 2)
    model.fit(x, y, epochs=3, callbacks=[swag], verbose=0)
    posterior = swag.posterior
    assert posterior.indices == (2,)
    assert flat(posterior.variances).size == 12
    for member in posterior.materialize(2, seed=0).members:
        a, b = (m.layers[0].get_weights() for m in (member, model))
        np.testing.assert_array_equal(a[0], b[0])
        assert np.any(member.weights[2] != model.weights[2])


@pytest.mark.parametrize("policy", ["mixed_float16", "float64"])
def test_networks_that_are_bayesian_themselves(policy):
    keras.config.set_dtype_policy(policy)
    x = normal(32, 3)
    model = tfpbnn.Sequential(
        [keras.Input((3,)), tfpbnn.layers.DenseFlipout(4, "relu"), L.Dense(2)]
    )
    model.compile("adam", loss=tfpbnn.likelihoods.Normal())
    swag = SWAG(1, 3, frequency=2, unit="step", learning_rate=0.01)
    model.fit(x, x[:, :1], 8, epochs=4, callbacks=[swag], verbose=0)
    assert swag.num_collected == 6
    posterior = swag.posterior
    wide = "float64" if policy == "float64" else "float32"
    assert {v.dtype for v in posterior.variances} == {wide}
    np.testing.assert_allclose(
        sum(posterior.losses), sum(posterior.network.losses)
    )
    assert float(sum(posterior.losses)) > 0
    p = tfpbnn.predict(posterior, x, 20, seed=0)
    posterior.scale = 0.0
    q = tfpbnn.predict(posterior, x, 20, seed=0)
    assert np.all(q.epistemic_variance > 0)
    assert np.any(p.mean != q.mean)


def test_spread_grows_away_from_data():
    keras.utils.set_random_seed(0)
    x = np.linspace(-1, 1, 64, dtype="float32")[:, None]
    model = keras.Sequential(
        [keras.Input((1,)), L.Dense(32, "relu"), L.Dense(1)]
    )
    model.compile(keras.optimizers.SGD(0.1), "mse")
    swag = SWAG(3, rank=10, unit="step", frequency=2)
    y = np.sin(3 * x) + 0.2 * normal(64, 1)
    passes = np.tile(x, (10, 1)), np.tile(y, (10, 1))  # of an epoch
    model.fit(*passes, 8, epochs=6, callbacks=[swag], verbose=0)
    near, far = (
        tfpbnn.predict(swag.posterior, x + shift, 50, seed=0)
        for shift in (0, 6)
    )
    assert far.epistemic_variance.min() > 3 * near.epistemic_variance.max()


def test_a_mixture_takes_turns():
    pairs = [collected() for _ in range(3)]
    components = [posterior for posterior, _ in pairs]
    mixture = MultiSWAG(components)
    x = normal(5, 3)
    # Two components that are the points of their means, and one that draws.
    components[0].scale = components[2].scale = 0.0
    found = outputs(mixture, x, 6)
    for number in (0, 2, 3, 5):
        expected = components[number % 3].network(x)
        np.testing.assert_allclose(found[number], expected, 1e-4, 1e-5)
    assert np.any(found[1] != found[4])
    means = [component.network(x) for component in components]
    np.testing.assert_allclose(
        mixture.predict(x, verbose=0), np.mean(means, 0), 1e-4, 1e-5
    )
    assert mixture.num_draws is None
    kept = [c.materialize(n, seed=0) for c, n in zip(components, (2, 3, 1))]  # noqa: B905
    assert MultiSWAG(kept).num_draws == 18
    pair = MultiSWAG([components[1].materialize(2, seed=s) for s in (0, 1)])
    members = [c.members[i](x) for i in (0, 1) for c in pair.components]
    np.testing.assert_allclose(outputs(pair, x, 4), members, 1e-4, 1e-5)
    with pytest.raises(ValueError, match="needs a posterior that one network"):
        tfpbnn.predict(mixture, x, draws="mean")


def test_an_interrupt_and_a_new_process():
    model = linear()
    sets = iterates(model, 7)
    whole, before, after = SWAG(1, 3), SWAG(1, 3), SWAG(1, 3)
    feed(whole, model, sets)
    feed(before, model, sets[:4], epochs=7)
    after.resume(before.posterior)
    feed(after, model, sets[4:], first_epoch=4, epochs=7)
    for a, b in zip(
        whole.posterior.variables, after.posterior.variables, strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert after.num_collected == 6

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 2:
                raise KeyboardInterrupt

    x, y = labelled()
    swag, model = SWAG(0, 2, unit="step"), classifier()
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, 4, callbacks=[swag, Stop()], verbose=0)
    assert swag.num_collected == 3
    assert tfpbnn.predict(swag.posterior, x, 3).epistemic_variance.max() > 0
