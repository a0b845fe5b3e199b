"""IVON's steps and optima, against NumPy and closed forms."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.optimizers.networks import classifier, labelled, regressor, steps
from tfpbnn.optimizers import IVON

L = keras.layers
DECAYING = keras.optimizers.schedules.ExponentialDecay(0.3, 2, 0.5)


class Reference:
    """The algorithm of the paper, in NumPy, of one vector of weights."""

    def __init__(self, mean, ess, hess_init, beta_1, beta_2, decay, radius):
        self.mean, self.ess, self.decay = mean, ess, decay
        self.betas, self.radius = (beta_1, beta_2), radius
        self.hess = np.full_like(mean, hess_init)
        self.momentum, self.count = np.zeros_like(mean), 0

    def step(self, rate, draws, gradients, clip):
        """Does a step, of gradients `[S, P]` at draws `[S, P]`.

        What is clipped is the gradient that moves the mean, not the estimate.
        """
        b1, b2 = self.betas
        self.count += 1
        precision = self.ess * (self.hess + self.decay)
        estimate = np.mean(gradients * (draws - self.mean), 0) * precision
        slope = clip(np.mean(gradients, 0))
        self.momentum = b1 * self.momentum + (1 - b1) * slope
        self.hess = (
            b2 * self.hess
            + (1 - b2) * estimate
            + 0.5
            * (1 - b2) ** 2
            * (self.hess - estimate) ** 2
            / (self.hess + self.decay)
        )
        unbiased = self.momentum / (1 - b1**self.count)
        step = (unbiased + self.decay * self.mean) / (self.hess + self.decay)
        self.mean = self.mean - rate * np.clip(step, -self.radius, self.radius)


def short(gradient):
    """A gradient of the norm 0.2 at most."""
    return gradient * min(1, 0.2 / np.linalg.norm(gradient))


CLIPS = {
    "": lambda gradient: gradient,
    "clipnorm": short,
    "global_clipnorm": short,
    "clipvalue": lambda gradient: np.clip(gradient, -0.2, 0.2),
}


@pytest.mark.parametrize(
    ("num_mc", "rescale", "clip"),
    [
        (1, True, ""),
        (1, False, ""),
        (3, True, ""),
        (3, False, ""),
        (1, True, "clipnorm"),
        (2, True, "global_clipnorm"),
        (2, False, "clipvalue"),
    ],
)
def test_steps_are_those_of_the_paper(num_mc, rescale, clip):
    """With the draws that the network saw, of each weight by itself."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3)), rng.normal(size=20)
    weights = keras.Variable(rng.normal(size=3), dtype="float64")
    settings = (50.0, hess_init := 0.7, 0.8, 0.9, decay := 0.05)
    reference = Reference(weights.numpy(), *settings, radius := 0.4)
    more = {"use_ema": True, "ema_momentum": 0.7}
    more |= {clip: 0.2} if clip else {}
    optimizer = IVON(DECAYING, *settings, num_mc, radius, rescale, **more)
    average = None
    for number in range(6):
        draws = []

        def loss(draws=draws):
            draws.append(tf.convert_to_tensor(weights).numpy())
            error = tf.linalg.matvec(x, weights) - y
            return tf.reduce_mean(error**2) / 2

        found = optimizer.gradients(loss, [weights])
        optimizer.apply(found, [weights])
        stacked = np.stack(draws)
        gradients = (stacked @ x.T - y) @ x / len(x)
        rate = 0.3 * 0.5 ** (number / 2)
        rate *= (hess_init + decay) if rescale else 1
        reference.step(rate, stacked, gradients, CLIPS[clip])
        np.testing.assert_allclose(weights, reference.mean, rtol=1e-6)
        before = reference.mean if average is None else average
        average = 0.7 * before + 0.3 * reference.mean
    assert len(draws) == num_mc
    optimizer.finalize_variable_values([weights])
    np.testing.assert_allclose(weights, average, rtol=1e-6)


N, SCALES = 256, np.array([0.7, 1.0, 1.5])
PRIOR = 25.0  # the prior's precision


def regression():
    """Rows of three inputs and of 400 targets, each with its own weights."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(N, 3)) * SCALES
    y = x @ rng.normal(size=(3, 400)) + rng.normal(size=(N, 400))
    return x.astype("float32"), y.astype("float32")


@pytest.mark.parametrize(
    ("reduction", "batch_size", "num_mc"),
    [
        ("sum_over_batch_size", 64, 1),
        ("sum", 64, 1),
        ("sum_over_batch_size", 256, 4),
        ("sum", 128, 4),
    ],
)
def test_linear_regression_reaches_the_diagonal_optimum(
    reduction, batch_size, num_mc
):
    """Means are those of the posterior; precisions N x Hessian + prior.

    The means of 400 regressions are off by less than 0.15 standard deviations
    (root mean square), the mean precision by less than 4 %: by theory up to
    2 %, `(1 - beta_2) / 2` times the variance of an estimate of h, and by 4
    standard errors of 0.6 % about 1.2 %, the mean of six seeds.
    """
    x, y = regression()
    model = tfpbnn.Sequential([keras.Input((3,)), L.Dense(400, use_bias=False)])
    rate = keras.optimizers.schedules.ExponentialDecay(0.2, 500, 0.3)
    optimizer = IVON(
        rate,
        ess=N,
        beta_2=0.997,
        weight_decay=PRIOR / N,
        num_mc=num_mc,
        seed=2,
    )
    loss = tfpbnn.likelihoods.Normal(scale=1.0, reduction=reduction)
    model.compile(optimizer, loss=loss)
    times = 2000 * batch_size // (10 * N)
    rows = np.tile(x, (times, 1)), np.tile(y, (times, 1))
    model.fit(*rows, epochs=10, batch_size=batch_size, verbose=0)
    precision = N * np.mean(x**2, 0) + PRIOR
    exact = np.linalg.solve(x.T @ x + PRIOR * np.eye(3), x.T @ y)
    error = (model.get_weights()[0] - exact) * np.sqrt(precision)[:, None]
    assert np.sqrt(np.mean(error**2)) < 0.15
    posterior = optimizer.posterior(model)
    stddev = posterior.stddevs[0].numpy()
    found = np.mean(1 / stddev**2, axis=1)
    np.testing.assert_allclose(found, precision, rtol=0.04)


@pytest.fixture(scope="module")
def plain_step():
    return steps()


WAYS = {
    "xla": {"jit_compile": True},
    "graph": {"jit_compile": False},
    "eager": {"run_eagerly": True},
    "several": {"steps_per_execution": 3},
    "scaled": {"loss_scale_factor": 64.0},
    "half": {"dtype": "mixed_float16"},
}


@pytest.mark.parametrize("way", WAYS)
def test_all_ways_to_run_agree(way, plain_step):
    found = steps(**WAYS[way])
    tolerance = 3e-3 if way == "half" else 1e-5
    for a, b in zip(found, plain_step, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_fused_passes_draw_what_plain_ones_do():
    """Of so many weights that drawing and updating are compiled."""
    results = []
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, 400)), rng.normal(size=(32, 400))
    for eagerly in (False, True):
        model = regressor(400, 400)
        optimizer = IVON(0.1, hess_init=0.1, num_mc=2, seed=0, beta_2=0.9)
        model.compile(optimizer, loss="mse", run_eagerly=eagerly)
        model.fit(x, y, batch_size=16, epochs=1, shuffle=False, verbose=0)
        stddev = optimizer.posterior(model).stddevs[0].numpy()
        results.append((*model.get_weights(), stddev))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def sequences(loss, batch_size=16, **given):
    """The weights after a fit of labels at each of five times."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(48, 5, 2)).astype("float32")
    x[:, 3:][::2] = 0
    y = rng.integers(0, 3, (48, 5))
    model = classifier((5, 2), masked=given.pop("masked", False))
    model.compile(IVON(0.1, hess_init=0.1, beta_2=0.9, seed=1), loss=loss)
    model.fit(
        x, y, batch_size=batch_size, shuffle=False, epochs=2, verbose=0, **given
    )
    return model.get_weights(), float(model.optimizer._ess)


CATEGORICAL = keras.losses.SparseCategoricalCrossentropy


@pytest.fixture(scope="module")
def of_sequences():
    return sequences(tfpbnn.likelihoods.Categorical())[0]


@pytest.mark.parametrize(
    "loss",
    [
        tfpbnn.likelihoods.Categorical(reduction="sum"),
        CATEGORICAL(from_logits=True),
        CATEGORICAL(from_logits=True, reduction="sum"),
    ],
    ids=["likelihood summed", "mean over places", "keras summed"],
)
def test_losses_of_all_reductions_train_the_same(loss, of_sequences):
    """A mean over rows and places counts as the sum over places does."""
    found, ess = sequences(loss)
    assert ess == 48
    for a, b in zip(found, of_sequences, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_masked_places_and_weights_count_as_the_loss_does(of_sequences):
    """A fifth of places is masked, in equal numbers in each batch."""
    expected, _ = sequences(tfpbnn.likelihoods.Categorical(), masked=True)
    found, _ = sequences(CATEGORICAL(from_logits=True), masked=True)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    halved, ess = sequences(
        tfpbnn.likelihoods.Categorical(), sample_weight=np.full(48, 0.5)
    )
    assert ess == 48
    assert not np.allclose(halved[0], of_sequences[0])


def test_the_number_of_examples_is_that_of_the_data():
    x, y = labelled()
    for data, more in (
        ((x, y), {}),
        ((x, y), {"validation_split": 0.25}),
        ((tf.data.Dataset.from_tensor_slices((x, y)).batch(7),), {}),
    ):
        model = classifier((4,))
        model.compile(IVON(0.1), loss=CATEGORICAL(from_logits=True))
        model.fit(*data, epochs=1, verbose=0, **more)
        assert model.optimizer._ess == len(x) * (0.75 if more else 1)
        assert model.optimizer._loss_factor == 1
