"""Samplers in `fit`: rows that are counted, states, precision."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.statistics import assert_correlation, assert_moments
from tfpbnn.optimizers import PSGLD, SGHMC, SGLD, SGNHT, schedules

ALL = {"psgld": PSGLD, "sghmc": SGHMC, "sgld": SGLD, "sgnht": SGNHT}
X = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
Y = (X @ [[1.0], [-0.5], [0.2]] + 0.3 * X[:, :1] ** 2).astype("float32")


def network(optimizer, cls=tfpbnn.Sequential, units=4, **compiled):
    keras.utils.set_random_seed(0)
    model = cls(
        [
            keras.Input((3,)),
            keras.layers.Dense(units, "tanh"),
            keras.layers.Dense(1),
        ]
    )
    loss = compiled.pop("loss", tfpbnn.likelihoods.Normal(scale=0.5))
    model.compile(optimizer, loss=loss, **compiled)
    return model


def trained(optimizer, epochs=2, batch_size=16, **kwargs):
    model = network(optimizer, **kwargs)
    model.fit(X, Y, batch_size, epochs, verbose=0, shuffle=False)
    return model


def assert_same(a, b, **tolerance):
    for one, other in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, **tolerance)


def test_sums_and_means_are_one_chain():
    """Of losses, of places, and with the number of rows given or counted."""
    eager = functools.partial(trained, run_eagerly=True)
    mean = eager(SGHMC(0.01, seed=1))
    losses = {
        "sum": tfpbnn.likelihoods.Normal(scale=0.5, reduction="sum"),
        "mean": tfpbnn.likelihoods.Normal(scale=0.5),
    }
    for loss in losses.values():
        other = eager(SGHMC(0.01, len(X), seed=1), loss=loss)
        assert_same(mean, other, rtol=1e-4, atol=1e-5)
    # Another number of rows has other noise, and so do colder chains.
    for optimizer in (
        SGHMC(0.01, 2 * len(X), seed=1),
        SGHMC(0.01, temperature=0.5, seed=1),
    ):
        moved = eager(optimizer).get_weights()[0] - mean.get_weights()[0]
        assert np.abs(moved).max() > 1e-3


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_data_of_all_forms_are_counted():
    rows = tf.data.Dataset.from_tensor_slices((X, Y)).batch(16)
    unknown = rows.filter(lambda *_: True)
    for data in (rows, unknown):
        optimizer = SGLD(0.01, seed=1)
        network(optimizer).fit(data, verbose=0)
        assert float(optimizer.variables[2]) == len(X)


@pytest.mark.parametrize("name", ALL)
def test_a_saved_chain_goes_on_bit_for_bit(name, tmp_path):
    schedule = schedules.Cyclical(0.02, 12, exploration=0.25)
    straight = trained(ALL[name](schedule, seed=None), epochs=2)
    straight.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    assert_same(straight, loaded, rtol=0)
    for model in (straight, loaded):
        model.fit(X, Y, 16, 2, verbose=0, shuffle=False)
    assert_same(straight, loaded, rtol=0)


@pytest.mark.parametrize("name", ALL)
def test_configs_have_all_arguments(name):
    optimizer = ALL[name](
        0.5,
        10,
        temperature=0.5,
        prior=tfpbnn.priors.Laplace(2.0),
        seed=3,
        gradient_accumulation_steps=2,
    )
    config = optimizer.get_config()
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(copy) is ALL[name]
    assert copy.get_config() == config
    assert float(copy.variables[2]) == 10


def test_seeds():
    """None follows Keras's seed; a copy has noise of its own."""
    keras.utils.set_random_seed(3)
    optimizer = SGLD(0.01, 64)
    copy = SGLD.from_config(optimizer.get_config())
    keras.utils.set_random_seed(3)
    again = SGLD(0.01, 64)
    keys = [np.asarray(e.variables[4]) for e in (optimizer, copy, again)]
    assert np.array_equal(keys[0], keys[2])
    assert not np.array_equal(keys[0], keys[1])


def test_xla_and_the_one_pass_of_large_weights_change_nothing():
    """A weight `[8192, 3]` is moved by one pass, those of 16 units are not."""
    x = tf.constant(np.random.default_rng(1).normal(size=(8192, 3)), "float32")
    found = []
    for is_compiled in (None, False, True):
        optimizer, weight = SGNHT(0.01, 100, seed=1), keras.Variable(x)
        optimizer.build([weight])
        step = functools.partial(optimizer.apply, [0.1 * x], [weight])
        if is_compiled is not None:
            step = tf.function(step, jit_compile=is_compiled, autograph=False)
        for _ in range(3):
            step()
        found.append(np.asarray(weight))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[0], found[2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [2**13, 2**15])
def test_noise_is_normal(size):
    """Of small and large weights, and new in each step. False alarms: 2e-6."""
    optimizer = SGLD(0.5, 100, prior=None, seed=1)
    weight = keras.Variable(np.zeros(size, "float32"))
    found = []
    for _ in range(2):
        before = np.asarray(weight)
        optimizer.apply([tf.zeros(size)], [weight])
        found.append(np.asarray(weight) - before)
    assert_moments(found[0][:, None], 0, 0.1, detects=0.2)
    assert_correlation(*found, 0)


def test_mixed_precision():
    """The steps that overflow are left out, as with other optimizers."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        optimizer = SGHMC(0.01, seed=1)
        mixed = trained(optimizer)
    finally:
        keras.config.set_dtype_policy(before)
    assert isinstance(mixed.optimizer, keras.optimizers.LossScaleOptimizer)
    assert float(optimizer.variables[2]) == len(X)
    assert all(np.all(np.isfinite(w)) for w in mixed.get_weights())
    assert optimizer.is_sampling()


def test_gradients_that_accumulate_are_those_of_large_batches():
    whole = trained(SGLD(0.01, seed=1), epochs=4, batch_size=64)
    parts = SGLD(0.01, seed=1, gradient_accumulation_steps=4)
    assert_same(whole, trained(parts, epochs=4), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "prior",
    [4.0, "normal", tfpbnn.priors.Laplace(0.5), tfpbnn.priors.StudentT(3.0)],
    ids=["precision", "name", "laplace", "student"],
)
def test_priors_pull_by_their_slopes(prior):
    """A step without noise and loss is h / N times the slope of log p."""
    start = np.array([0.5, -1.0, 2.0], "float32")
    weight = keras.Variable(start)
    optimizer = SGLD(0.1, 10, temperature=0.0, prior=prior)
    optimizer.apply([tf.zeros(3)], [weight])
    if prior == 4.0:
        prior = tfpbnn.priors.Normal(scale=0.5)
    known = tfpbnn.priors.get(prior)
    known.build((3,))
    value = tf.constant(start)
    with tf.GradientTape() as tape:
        tape.watch(value)
        log_prob = known.distribution().log_prob(value)
    slope = tape.gradient(log_prob, value)
    moved = np.asarray(weight) - start
    np.testing.assert_allclose(moved, 0.01 * slope, rtol=1e-4, atol=1e-6)


def test_sparse_gradients_move_all_rows():
    table = keras.layers.Embedding(50, 2)
    model = tfpbnn.Sequential([keras.Input((1,), dtype="int32"), table])
    # Keras can't divide gradients of rows by a loss's scale.
    model.compile(SGLD(0.01, seed=1, loss_scale_factor=8.0), loss="mse")
    before = table.get_weights()[0]
    model.fit(np.zeros((4, 1), "int32"), np.zeros((4, 1, 2)), verbose=0)
    assert np.all(table.get_weights()[0] != before)


REFUSED = {
    "num_examples": lambda: SGLD(0.1, 0),
    "temperature": lambda: SGLD(0.1, temperature=-1.0),
    "learning_rate": lambda: SGLD(-0.1),
    "prior": lambda: SGLD(0.1, prior=-1.0),
    "seed": lambda: SGLD(0.1, seed="a"),
    "clipnorm": lambda: SGLD(0.1, clipnorm=1.0),
    "global_clipnorm": lambda: SGHMC(0.1, global_clipnorm=1.0),
    "clipvalue": lambda: SGNHT(0.1, clipvalue=1.0),
    "weight_decay": lambda: PSGLD(0.1, weight_decay=0.1),
    "use_ema": lambda: SGLD(0.1, use_ema=True),
    "momentum": lambda: SGHMC(0.1, momentum=1.0),
    "noise_estimate": lambda: SGHMC(0.1, noise_estimate=0.2),
    "diffusion": lambda: SGNHT(0.1, diffusion=0.0),
    "thermostat_rate": lambda: SGNHT(0.1, thermostat_rate=0.0),
    "rho": lambda: PSGLD(0.1, rho=1.0),
    "epsilon": lambda: PSGLD(0.1, epsilon=0.0),
    "initial_learning_rate": lambda: schedules.Cyclical(0.0, 10),
    "steps_per_cycle": lambda: schedules.Cyclical(0.1, 0),
    "exploration": lambda: schedules.Cyclical(0.1, 10, 1.0),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_arguments(name):
    with pytest.raises((ValueError, TypeError), match=f"`{name}` must"):
        REFUSED[name]()


def test_the_number_of_rows_must_be_known():
    with pytest.raises(ValueError, match="`num_examples` must be known"):
        trained(SGLD(0.1), cls=keras.Sequential)
    batches = ((X, Y) for _ in range(2))
    with pytest.raises(ValueError, match="`num_examples`"):
        network(SGLD(0.1)).fit(batches, steps_per_epoch=2, verbose=0)
    batches = ((X, Y) for _ in range(2))
    model = network(SGLD(0.1, len(X)))
    model.fit(batches, steps_per_epoch=2, verbose=0)


def test_weights_that_cant_be_sampled():
    layer = keras.layers.Dense(1, kernel_constraint="non_neg")
    layer.build((None, 3))
    with pytest.raises(ValueError, match="no constraint"):
        SGLD(0.1, 10).build(layer.trainable_variables)
    with pytest.raises(ValueError, match="float32 or float64"):
        SGLD(0.1, 10).build([keras.Variable(np.ones(2), dtype="float16")])
    learned = SGLD(0.1, 10, prior=tfpbnn.priors.Normal(learnable_scale=True))
    with pytest.raises(ValueError, match="`prior` must be one whose scales"):
        learned.build([keras.Variable(np.ones(2), dtype="float32")])
    model = tfpbnn.Sequential([tfpbnn.layers.DenseFlipout(1)])
    model.compile(SGLD(0.1), loss="mse")
    with pytest.raises(ValueError, match="plain weights"):
        model.fit(X, Y, verbose=0)
    weights = [keras.Variable(np.ones(2), name=name) for name in "ab"]
    with pytest.raises(ValueError, match=r"must have a gradient.*\['b'\]"):
        SGLD(0.1, 10).apply([tf.ones(2), None], weights)
    with pytest.raises(NotImplementedError, match="prior=None for a flat"):
        SGLD(0.1).exclude_from_weight_decay(var_names=["bias"])


@pytest.mark.parametrize("do", ["fit", "train_on_batch"])
def test_losses_must_be_numbers(do):
    loss = keras.losses.MeanSquaredError(reduction=None)
    model = network(SGLD(0.1, len(X)), loss=loss)
    with pytest.raises(ValueError, match="`reduction` of the loss must be"):
        getattr(model, do)(X, Y)
