import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests import fresh
from tfpbnn.networks.reading import can_read

X = np.random.default_rng(0).normal(size=(30, 3)).astype("float32")
Y = X[:, :1]


@keras.saving.register_keras_serializable("tests")
class Subclassed(tfpbnn.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = tfpbnn.layers.DenseFlipout(1)

    def call(self, x):
        return self.inner(x)


def functional():
    inputs = keras.Input((3,))
    return tfpbnn.Model(inputs, tfpbnn.layers.DenseFlipout(1)(inputs))


MODELS = {
    "sequential": lambda: tfpbnn.Sequential([tfpbnn.layers.DenseFlipout(1)]),
    "functional": functional,
    "subclassed": Subclassed,
}


def compiled(kind):
    model = MODELS[kind]()
    model.compile("sgd", "mse")
    return model


def kl_weight(model):
    layer = model.inner if isinstance(model, Subclassed) else model.layers[-1]
    return float(layer.kl_weight.numpy())


@pytest.mark.parametrize("kind", MODELS)
def test_fit_weights_by_the_number_of_examples(kind):
    model = compiled(kind)
    history = model.fit(X, Y, epochs=2, batch_size=7, verbose=0)
    np.testing.assert_allclose(kl_weight(model), 1 / 30)
    assert len(history.history["kl"]) == 2


def test_data_forms():
    batches = tf.data.Dataset.from_tensor_slices((X, Y)).batch(10)
    for args, kwargs, expected in [
        ((batches,), {}, 30),
        ((X, Y), {"validation_split": 0.2}, 24),
        ((X, Y, 10, 1), {}, 30),
        ((), {"x": X, "y": Y}, 30),
    ]:
        model = compiled("sequential")
        model.fit(*args, verbose=0, **kwargs)
        np.testing.assert_allclose(kl_weight(model), 1 / expected, rtol=1e-6)


def test_unknown_length_is_an_error_unless_weighted_by_hand():
    endless = tf.data.Dataset.from_tensor_slices((X, Y)).batch(10).repeat()
    model = compiled("sequential")
    with pytest.raises(ValueError, match="KLWeight"):
        model.fit(endless, steps_per_epoch=3, verbose=0)
    callback = tfpbnn.callbacks.KLWeight(30)
    model.fit(endless, steps_per_epoch=3, verbose=0, callbacks=[callback])
    np.testing.assert_allclose(kl_weight(model), 1 / 30)


def test_a_callback_is_left_in_charge():
    model = compiled("sequential")
    callback = tfpbnn.callbacks.KLWeight(1000)
    model.fit(X, Y, verbose=0, callbacks=callback)
    np.testing.assert_allclose(kl_weight(model), 1 / 1000)


def test_layers_own_weights_need_no_length():
    model = tfpbnn.Sequential([tfpbnn.layers.DenseFlipout(1, kl_weight=0.5)])
    model.compile("sgd", "mse")
    endless = tf.data.Dataset.from_tensor_slices((X, Y)).batch(10).repeat()
    model.fit(endless, steps_per_epoch=2, verbose=0)
    assert kl_weight(model) == 0.5


def test_a_deterministic_model_trains_as_in_keras():
    model = tfpbnn.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    history = model.fit(X, Y, verbose=0)
    assert "kl" not in history.history


def test_training_again_on_more_data():
    model = compiled("sequential")
    model.fit(X[:10], Y[:10], verbose=0)
    np.testing.assert_allclose(kl_weight(model), 1 / 10)
    model.fit(X, Y, verbose=0)
    np.testing.assert_allclose(kl_weight(model), 1 / 30)


@pytest.mark.parametrize("name", ["x", "y"])
def test_nan_is_refused(name):
    arrays = {"x": X.copy(), "y": Y.copy()}
    arrays[name][2] = np.nan
    with pytest.raises(ValueError, match=f"`{name}` must be finite"):
        compiled("sequential").fit(**arrays, verbose=0)


def test_classes_are_kerass():
    model = functional()
    assert isinstance(model, tfpbnn.Model)
    assert isinstance(model, keras.Model)
    assert isinstance(tfpbnn.Sequential(), keras.Sequential)
    # Making a functional model leaves the class fit for subclassing.
    assert Subclassed()(X).shape == (30, 1)
    names = [base.__name__ for base in tfpbnn.Model.__mro__]
    assert "Functional" not in names


@pytest.mark.parametrize("kind", MODELS)
def test_round_trip(kind, tmp_path):
    model = compiled(kind)
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again) is type(model)
    for a, b in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    again.fit(X[:10], Y[:10], verbose=0)
    np.testing.assert_allclose(kl_weight(again), 1 / 10)


def test_clone():
    clone = keras.models.clone_model(functional())
    assert isinstance(clone, tfpbnn.Model)
    clone.compile("sgd", "mse")
    clone.fit(X, Y, verbose=0)
    np.testing.assert_allclose(kl_weight(clone), 1 / 30)


TWO_REPLICAS = """
import numpy as np, tensorflow as tf, keras, tfpbnn
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    layer = tfpbnn.layers.DenseReparameterization(
        4, seed=1, use_bias=False, kl_weight=0.5)
    layer.build((None, 3))
rows = strategy.run(tf.function(lambda: layer(tf.ones([1, 3]), training=True)))
a, b = (row.numpy() for row in strategy.experimental_local_results(rows))
assert np.abs(a - b).min() > 0, "replicas drew the same noise"
"""


def test_replicas_draw_their_own_noise():
    fresh.run(TWO_REPLICAS)


def test_a_subclass_may_be_given_inputs_and_outputs():
    """Keras would change `tfpbnn.Model` itself, for all that come after."""

    class Own(tfpbnn.Model):
        def __init__(self, units):
            x = keras.Input((4,))
            super().__init__(x, tfpbnn.layers.DenseFlipout(units)(x))

    class Plain(tfpbnn.Model):
        pass

    bases = tfpbnn.Model.__bases__
    x = keras.Input((4,))
    plain = Plain(inputs=x, outputs=tfpbnn.layers.DenseFlipout(2)(x))
    for model in (Own(2), plain):
        assert can_read(model)
        model.compile("adam", tfpbnn.likelihoods.Normal())
        logs = model.fit(np.ones((8, 4)), np.ones(8), verbose=0).history
        assert "kl" in logs
    assert tfpbnn.Model.__bases__ == bases
    assert not issubclass(tfpbnn.Model, type(keras.Model(x, x)))
