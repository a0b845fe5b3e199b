"""Reports from the field: a KL whose weight was not that of the loss."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests import fresh

N = tfpbnn.likelihoods.Normal
ROWS = 100
X = np.ones((ROWS, 1), "float32")
Y = (2 + np.random.default_rng(0).normal(size=ROWS)).astype("float32")
CUTS = [0, 4, 36, 68, 100]


class Uneven(keras.utils.PyDataset):
    """Batches of 4, 32, 32 and 32 rows."""

    def __len__(self):
        return len(CUTS) - 1

    def __getitem__(self, index):
        rows = slice(CUTS[index], CUTS[index + 1])
        return X[rows], Y[rows]


def generated():
    batches = Uneven()
    spec = tf.TensorSpec([None, 1]), tf.TensorSpec([None])
    data = tf.data.Dataset.from_generator(
        lambda: (batches[i] for i in range(4)), output_signature=spec
    )
    return data.apply(tf.data.experimental.assert_cardinality(4))


def test_count_uneven_batches():
    """N was the number of batches times the rows of the first one."""
    layer = tfpbnn.layers.DenseFlipout(1)
    model = tfpbnn.Sequential([keras.Input((1,)), layer])
    model.compile("adam", N(scale=1.0))
    ragged = tf.data.Dataset.from_tensor_slices((X, Y)).batch(64)
    for data in ((X, Y), (Uneven(),), (generated(),), (ragged,)):
        logs = model.fit(*data, verbose=0).history
        assert 1 / logs["kl_weight"][0] == pytest.approx(ROWS)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum"])
def test_reduction_sum(reduction):
    """The posterior was six times too narrow under `reduction="sum"`."""
    layer = tfpbnn.layers.DenseLocalReparameterization(1, use_bias=False)
    model = tfpbnn.Sequential([keras.Input((1,)), layer])
    optimizer = keras.optimizers.Adam(0.02)
    model.compile(optimizer, N(scale=1.0, reduction=reduction))
    exact = (ROWS + 1) ** -0.5
    start = np.log(np.expm1(1.5 * exact))  # near its end, from above
    layer.kernel_posterior.untransformed_scale.assign([[start]])
    model.fit(X, Y, batch_size=25, epochs=50, verbose=0)
    scale = float(np.squeeze(layer.kernel_posterior.scale))
    assert scale == pytest.approx(exact, rel=0.1)


def test_loss_per_pixel():
    """A loss that averages over pixels made the prior count for each pixel."""
    x = np.random.default_rng(0).normal(size=(128, 8, 8, 1)).astype("float32")
    y = (x[..., 0] + np.roll(x[..., 0], 1, 1) > 0).astype(int)
    scales = []
    for loss in (
        tfpbnn.likelihoods.Categorical(),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    ):
        keras.utils.set_random_seed(0)
        layer = tfpbnn.layers.Conv2DReparameterization(2, 3, padding="same")
        model = tfpbnn.Sequential([keras.Input((8, 8, 1)), layer])
        model.compile(keras.optimizers.Adam(0.03), loss)
        model.fit(x, y, epochs=30, verbose=0)
        scales.append(float(np.mean(layer.kernel_posterior.scale)))
    assert scales[0] == pytest.approx(scales[1], rel=0.1)


class Block(keras.layers.Layer):
    """Makes its layer when it is built."""

    def build(self, input_shape):
        self.dense = tfpbnn.layers.DenseFlipout(4, activation="relu")
        self.dense.build(input_shape)

    def call(self, x):
        return self.dense(x)


class Net(tfpbnn.Model):
    def __init__(self):
        super().__init__()
        self.block, self.last = Block(), tfpbnn.layers.DenseFlipout(2)

    def call(self, x):
        return self.last(self.block(x))


class Weights(keras.callbacks.Callback):
    """What the KLs' weights are at each step."""

    def __init__(self):
        super().__init__()
        self.found = []

    def on_train_batch_end(self, batch, logs=None):
        kl_weights = [v for v in self.model.variables if v.name == "kl_weight"]
        self.found += [float(v.numpy()) for v in kl_weights]


@pytest.mark.parametrize("is_chain", [False, True])
def test_layers_made_in_build(is_chain):
    """The KL's weight was 1 in the first epoch; a Sequential was an error."""
    chain = [Block(), tfpbnn.layers.DenseFlipout(2)]
    model = tfpbnn.Sequential(chain) if is_chain else Net()
    model.compile("adam", N())
    x = np.random.default_rng(0).normal(size=(96, 4)).astype("float32")
    weights = Weights()
    logs = model.fit(x, x[:, 0], verbose=0, callbacks=[weights]).history
    assert logs["kl_weight"] == pytest.approx([1 / 96])
    assert weights.found == pytest.approx([1 / 96] * 6)
    kl, loss = logs["kl"][0], logs["loss"][0]
    assert loss < 20  # and not the KL itself
    assert kl > 0


def test_early_stopping_restores():
    """Restored weights brought back the warm-up's KL weight of 0."""
    x = np.random.default_rng(0).normal(size=(80, 4))
    y = (x[:, 0] > 0).astype(int)
    layer = tfpbnn.layers.DenseFlipout(2)
    model = keras.Sequential([keras.Input((4,)), layer])
    model.compile("adam", tfpbnn.likelihoods.Categorical())
    warmup = tfpbnn.callbacks.KLWeight(80, warmup_epochs=10)
    stop = keras.callbacks.EarlyStopping(
        monitor="loss", patience=2, restore_best_weights=True
    )
    model.fit(x, y, epochs=8, verbose=0, callbacks=[warmup, stop])
    assert float(layer.kl_weight) == pytest.approx(1 / 80)
    assert float(sum(model.losses)) > 0


FLOAT64 = """
import keras, numpy, tfpbnn
keras.config.set_floatx("float64")
x = numpy.random.default_rng(0).normal(size=(64, 4))
layer = tfpbnn.layers.DenseFlipout(2)
m = tfpbnn.Sequential([keras.Input((4,)), layer])
m.compile("adam", tfpbnn.likelihoods.Normal())
logs = m.fit(x, x[:, 0], verbose=0).history
assert numpy.isfinite(logs["loss"]).all()
assert str(layer.kernel_posterior.loc.dtype) == "float64"
"""


def test_floatx_float64():
    """Every layer with a KL was a TypeError."""
    fresh.run(FLOAT64)
