"""The mean of a Normal: the posterior's standard deviation is the exact one.

With targets y = w + noise of variance v and a prior of variance 1 on w, the
posterior's precision is 1 + (number of targets) / v. Each of many targets has
a weight of its own, so that the mean over them has little noise.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn

ROWS, STEPS, TARGETS = 48, 3, 256
RNG = np.random.default_rng(0)
Y = RNG.normal(size=(ROWS, TARGETS)).astype("float32")
W = RNG.uniform(0.2, 3.0, ROWS).astype("float32")
CUTS = [0, 5, 17, 29, 48]


class Uneven(keras.utils.PyDataset):
    def __init__(self, passes=1):
        super().__init__()
        self.passes = passes

    def __len__(self):
        return 4 * self.passes

    def __getitem__(self, index):
        rows = slice(*CUTS[index % 4 :][:2])
        return np.ones((len(Y[rows]), 1), "float32"), Y[rows]

    def repeat(self, passes):
        return Uneven(passes)


def batches(*arrays):
    return {"x": tf.data.Dataset.from_tensor_slices(arrays).batch(32)}


def masked():
    """Sequences of which a third is padding, and its places without it."""
    lengths = 1 + np.arange(ROWS) % STEPS
    there = np.arange(STEPS) < lengths[:, None]
    y = RNG.normal(size=(ROWS, STEPS, TARGETS)).astype("float32")
    return there[..., None].astype("float32"), y, there.sum()


def spelled(name):
    """The shape of a row, the loss, the data, and targets over variance."""
    x = np.ones((ROWS, 1), "float32")
    likelihood = tfpbnn.likelihoods.Normal
    if name == "sums_of_uneven_batches":
        return (1,), likelihood(1.0, reduction="sum"), {"x": Uneven()}, ROWS
    if name == "mean_with_sample_weight":
        loss = likelihood(1.0, reduction="mean_with_sample_weight")
        return (1,), loss, batches(x, Y, W), W.sum()
    if name == "ragged_last_batch":
        return (1,), likelihood(1.0), batches(x, Y), ROWS
    there, y, count = masked()
    variance = TARGETS / 2  # what `predict` takes a squared error for
    return (STEPS, 1), "mse", batches(there, y), count / variance


@pytest.mark.parametrize(
    "name",
    [
        "masked_squared_error",
        "mean_with_sample_weight",
        "ragged_last_batch",
        "sums_of_uneven_batches",
    ],
)
def test_posterior_sd(name):
    keras.utils.set_random_seed(2)
    shape, loss, given, count = spelled(name)
    exact = (1 + count) ** -0.5
    layer = tfpbnn.layers.DenseLocalReparameterization(
        TARGETS, use_bias=False, kernel_prior="normal"
    )
    model = tfpbnn.Sequential(
        [keras.Input(shape), keras.layers.Masking(), layer]
    )
    # It starts near its end, from above.
    start = np.log(np.expm1(1.3 * exact))
    layer.kernel_posterior.untransformed_scale.assign(
        np.full((1, TARGETS), start)
    )
    rate = keras.optimizers.schedules.PolynomialDecay(0.05, 120, 2e-3)
    model.compile(keras.optimizers.Adam(rate), loss)
    history = model.fit(**given, epochs=2, verbose=0)
    # The weight stays. An epoch takes its time, and has ten passes for it.
    keras.Model.fit(model, given["x"].repeat(10), epochs=12, verbose=0)
    assert history.history["kl_weight"][0] == history.history["kl_weight"][-1]
    found = np.mean(layer.kernel_posterior.scale)
    np.testing.assert_allclose(found, exact, rtol=0.03)
