"""The KL has its weight from the first step, and keeps it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tfpbnn.layers.kl import managed_weights

N = 96
X = np.random.default_rng(0).normal(size=(N, 4)).astype("float32")
Y = X[:, :2]


class Block(keras.layers.Layer):
    """A layer that makes its layers in `build`, and builds them or not."""

    def __init__(self, builds):
        super().__init__()
        self.builds = builds

    def build(self, shape):
        self.dense = tfpbnn.layers.DenseFlipout(8)
        self.wrapped = tfpbnn.layers.Variational(keras.layers.Dense(3))
        self.dropout = tfpbnn.layers.ConcreteDropout(keras.layers.Dense(2))
        if self.builds:
            self.dense.build(shape)
            self.wrapped.build((None, 8))
            self.dropout.build((None, 3))

    def call(self, x):
        return self.dropout(self.wrapped(self.dense(x)))


class Net(keras.Model):
    def __init__(self, builds):
        super().__init__()
        self.block = Block(builds)

    def call(self, x):
        return self.block(x)


class OwnNet(tfpbnn.Model):
    def __init__(self, builds):
        super().__init__()
        self.block = Block(builds)

    def call(self, x):
        return self.block(x)


class Recorder(keras.callbacks.Callback):
    """Notes all weights of the KL after each step."""

    def __init__(self):
        super().__init__()
        self.weights = []

    def on_train_batch_end(self, batch, logs=None):
        self.weights.append(
            [float(w.numpy()) for w in managed_weights(self.model)]
        )


MAKE = {
    "own": lambda builds: tfpbnn.Sequential([Block(builds)]),
    "own_subclass": OwnNet,
    "stock": lambda builds: keras.Sequential([Block(builds)]),
    "stock_subclass": Net,
}


@pytest.mark.parametrize("builds", [True, False])
@pytest.mark.parametrize("kind", sorted(MAKE))
@pytest.mark.parametrize("eager", [False, True])
def test_layers_made_in_build(kind, builds, eager):
    model = MAKE[kind](builds)
    loss = tfpbnn.likelihoods.Normal(1.0) if eager else "mse"
    model.compile("sgd", loss, run_eagerly=eager)
    recorder = Recorder()
    callbacks = [recorder]
    if kind.startswith("stock"):
        callbacks.append(tfpbnn.callbacks.KLWeight(N))
    # That warns where a weight is unset, and warnings are errors in tests.
    history = model.fit(X, Y, verbose=0, callbacks=callbacks)
    np.testing.assert_allclose(recorder.weights, np.full((3, 3), 1 / N))
    assert history.history["kl_weight"] == [1 / N]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("own", [True, False])
def test_nothing_brings_back_a_warm_up(own, first, tmp_path):
    cls = tfpbnn.Sequential if own else keras.Sequential
    model = cls([keras.Input((4,)), tfpbnn.layers.DenseFlipout(2)])
    model.compile("sgd", tfpbnn.likelihoods.Normal(1.0))
    weight = tfpbnn.callbacks.KLWeight(N, warmup_epochs=10)
    path = str(tmp_path / "{epoch}.weights.h5")
    others = [
        keras.callbacks.EarlyStopping(
            monitor="loss",
            mode="max",  # so the first epoch is the best
            patience=2,
            restore_best_weights=True,
        ),
        keras.callbacks.ModelCheckpoint(path, save_weights_only=True),
    ]
    callbacks = [weight, *others] if first else [*others, weight]
    model.fit(X, Y, epochs=5, verbose=0, callbacks=callbacks)
    layer = model.layers[0]
    kl = layer.kernel_posterior.loc.regularizer.divergence()
    for bring_back in (
        lambda: None,
        lambda: model.load_weights(str(tmp_path / "1.weights.h5")),
    ):
        bring_back()
        assert float(layer.kl_weight.numpy()) == pytest.approx(1 / N)
        kl = float(layer.kernel_posterior.loc.regularizer.divergence())
        np.testing.assert_allclose(float(sum(model.losses)), kl / N, rtol=1e-5)


def test_all_callbacks_see_the_kl(tmp_path):
    model = tfpbnn.Sequential([tfpbnn.layers.DenseFlipout(2)])
    model.compile("sgd", tfpbnn.likelihoods.Normal(1.0))
    path = tmp_path / "log.csv"
    stop = keras.callbacks.EarlyStopping(monitor="kl", mode="min")
    for weights in [], [tfpbnn.callbacks.KLWeight(N)]:
        log = keras.callbacks.CSVLogger(path)
        model.fit(X, Y, verbose=0, callbacks=[log, stop, *weights])
        assert path.read_text().startswith("epoch,kl,kl_weight,loss")
        assert np.isfinite(stop.best)


def test_a_training_that_broke_off_is_over():
    """Its callback no longer sets the weights of the model."""
    model = tfpbnn.Sequential([Block(builds=False)])
    model.compile("sgd", tfpbnn.likelihoods.Normal(1.0))
    endless = tf.data.Dataset.from_tensor_slices((X, Y)).batch(32).repeat()
    with pytest.raises(ValueError, match="KLWeight") as kept:
        model.fit(endless, steps_per_epoch=3, verbose=0)
    model.compile("sgd", tfpbnn.likelihoods.Normal(1.0))  # of a broken trace
    weight = tfpbnn.callbacks.KLWeight(N)
    model.fit(endless, steps_per_epoch=3, verbose=0, callbacks=weight)
    assert float(model.layers[0].dense.kl_weight.numpy()) == pytest.approx(
        1 / N
    )
    del kept


@pytest.mark.parametrize("policy", ["float64", "mixed_float16"])
def test_other_types(policy):
    """Every kind of layer with a KL trains and predicts."""
    floatx = keras.config.floatx()
    keras.config.set_floatx("float64" if policy == "float64" else floatx)
    keras.config.set_dtype_policy(policy)
    try:
        model = tfpbnn.Sequential(
            [
                keras.Input((6, 4)),
                tfpbnn.layers.Conv1DFlipout(4, 3),
                tfpbnn.layers.LSTMReparameterization(3, return_sequences=True),
                tfpbnn.layers.Variational(
                    keras.layers.GRU(3, return_sequences=True)
                ),
                keras.layers.Flatten(),
                tfpbnn.layers.VariationalDropout(),
                tfpbnn.layers.ConcreteDropout(keras.layers.Dense(3)),
                tfpbnn.layers.DenseLocalReparameterization(
                    4, kernel_prior=tfpbnn.priors.Horseshoe()
                ),
                tfpbnn.layers.DenseFlipout(2),
            ]
        )
        model.compile("adam", tfpbnn.likelihoods.Normal())
        x = np.random.default_rng(0).normal(size=(16, 6, 4))
        history = model.fit(x, x[:, 0, 0], verbose=0)
        assert np.isfinite(history.history["loss"][0])
        predictive = tfpbnn.predict(model, x, num_samples=3)
        assert np.isfinite(predictive.mean).all()
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("mapped", [True, False])
def test_vectorized_draws_are_refused(mapped):
    layer = tfpbnn.layers.DenseReparameterization(1)
    x = tf.ones((1, 3))
    layer(x)

    def draw(i):
        return layer(x + 0.0 * tf.cast(i, tf.float32))

    if mapped:
        with pytest.raises(RuntimeError, match=r"tf\.map_fn"):
            tf.vectorized_map(draw, tf.range(3))
    else:
        draws = tf.map_fn(draw, tf.range(3), fn_output_signature=tf.float32)
        assert len(np.unique(draws)) == 3
