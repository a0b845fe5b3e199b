"""What the package reads of Keras's private attributes is still there."""

import copy

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfpbnn.base import keras_private

CHANGED = (
    f"Keras {keras.__version__} has changed a private attribute: find another "
    "way in tfpbnn/base/keras_private.py, in "
)


def test_functional_class():
    x = keras.Input((2,))
    cls = keras_private.FUNCTIONAL
    message = CHANGED + "FUNCTIONAL"
    assert type(keras.Model(x, keras.layers.Dense(1)(x))) is cls, message
    assert issubclass(cls, keras.Model), message


def test_held_layers():
    cells = [keras.layers.LSTMCell(2), keras.layers.GRUCell(3)]
    layer = keras.layers.Bidirectional(keras.layers.RNN(cells))
    every = keras_private.held_layers(layer)
    direct = keras_private.held_layers(layer, recursive=False)
    message = CHANGED + "held_layers"
    assert direct == [layer.forward_layer, layer.backward_layer], message
    kinds = [type(part).__name__ for part in every]
    assert kinds.count("LSTMCell") == kinds.count("GRUCell") == 2, message
    assert layer not in every, message


def test_settings_of():
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    before = keras_private.settings_of(layer)
    layer(np.ones((1, 3)))
    message = CHANGED + "settings_of"
    assert keras_private.settings_of(layer) == before, message
    assert before["units"] == 2, message


def test_mask_of():
    message = CHANGED + "mask_of"
    layer = keras.layers.Masking()
    for x in (np.ones((1, 3, 2), "float32"), keras.Input((3, 2))):
        assert keras_private.mask_of(layer(x)) is not None, message
    assert keras_private.mask_of(tf.ones(2)) is None, message


def test_with_mask():
    """By a loss, in a graph and outside of one."""
    loss, y = keras.losses.MeanAbsoluteError(), tf.constant([[1.0], [5.0]])

    def step():
        y_pred = tf.zeros([2, 1])
        keras_private.with_mask(y_pred, tf.constant([True, False]))
        return loss(y, y_pred)

    message = CHANGED + "with_mask"
    assert float(step()) == float(tf.function(step)()) == 1.0, message


def test_compile_arguments():
    metric = keras.metrics.MeanSquaredError()
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=[metric], weighted_metrics=["mae"])
    found = keras_private.compile_arguments(model)
    message = CHANGED + "compile_arguments"
    assert list(found["metrics"]) == [metric], message
    assert list(found["weighted_metrics"]) == ["mae"], message


def test_is_called_by_fit():
    seen = []

    class Model(keras.Sequential):
        def evaluate(self, *args, **kwargs):
            seen.append(keras_private.is_called_by_fit(kwargs))
            return super().evaluate(*args, **kwargs)

    model = Model([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    data = np.ones((2, 2)), np.ones((2, 1))
    model.fit(*data, validation_data=data, verbose=0)
    model.evaluate(*data, verbose=0)
    assert seen == [True, False], CHANGED + "is_called_by_fit"


def test_loss_tracker():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    tracker = keras_private.loss_tracker(model)
    message = CHANGED + "loss_tracker"
    assert tracker is model.metrics[0], message
    assert tracker.name == "loss", message


def test_loss_of_outputs():
    dense = keras.layers.Dense(1, kernel_regularizer="l2")
    model = keras.Sequential([keras.Input((1,)), dense])
    model.compile("sgd", "mse")
    y, y_pred = tf.constant([[1.0], [3.0]]), tf.zeros([2, 1])
    found = keras_private.loss_of_outputs(model, y, y_pred, tf.ones(2))
    assert float(found) == 5.0, CHANGED + "loss_of_outputs"


def test_adam_moments():
    """Also of two variables of one path, of which names tell nothing."""
    variables = [keras.Variable(np.ones(3), name="v") for _ in range(2)]
    optimizer = keras.optimizers.Adam()
    optimizer.apply([tf.constant([2.0, 2, 2]), tf.ones(3)], variables)
    message = CHANGED + "adam_moments"
    for variable, gradient in zip(variables, (2, 1), strict=True):
        first, second = keras_private.adam_moments(optimizer, variable)
        np.testing.assert_allclose(
            first, [0.1 * gradient] * 3, 1e-5, err_msg=message
        )
        np.testing.assert_allclose(
            second, [0.001 * gradient**2] * 3, 1e-5, err_msg=message
        )
    other = keras.Variable(np.ones(3))
    assert keras_private.adam_moments(optimizer, other) is None
    unbuilt = keras.optimizers.Adam()
    assert keras_private.adam_moments(unbuilt, other) is None


@pytest.mark.parametrize("name", ["Attention", "AdditiveAttention"])
def test_apply_scores(name):
    """Keras calls it of the layer, and multiplies nothing after it."""
    calls = []

    class Attention(getattr(keras.layers, name)):
        pass

    def apply(self, scores, value, scores_mask=None, training=False):
        calls.append(tuple(scores.shape))
        return 7 * tf.ones_like(value), scores

    setattr(Attention, keras_private.APPLY_SCORES, apply)
    x = np.ones((1, 3, 2), "float32")
    y = Attention()([x, x])
    message = CHANGED + "APPLY_SCORES"
    assert calls == [(1, 3, 3)], message
    np.testing.assert_array_equal(y, 7 * x, err_msg=message)


def test_nodes_by_depth():
    x = keras.Input((2,))
    dense, other = keras.layers.Dense(2), keras.layers.Dense(2)
    model = keras.Model(x, dense(x))
    same = keras_private.nodes_by_depth(model, lambda layer: layer)
    message = CHANGED + "nodes_by_depth"
    for name, value in same.items():
        assert vars(model)[name] is value, message
    other.build((None, 2))
    instead = {dense: other}
    changed = keras_private.nodes_by_depth(
        model, lambda layer: instead.get(layer, layer)
    )
    # Keras's walk along what is no user's.
    new = object.__new__(type(model))
    vars(new).update(vars(model) | changed)
    ones = np.ones((1, 2), "float32")
    np.testing.assert_array_equal(new(ones), other(ones), err_msg=message)
    assert np.any(model(ones) != other(ones))


def test_sharing():
    dense = keras.layers.Dense(2)
    wrapped = [keras.layers.TimeDistributed(dense) for _ in range(2)]
    copies = {}
    with keras_private.sharing([dense], copies):
        configs = [keras.saving.serialize_keras_object(w) for w in wrapped]
        again = copy.deepcopy(configs[0])  # reading one takes from it
        new = [keras.saving.deserialize_keras_object(c) for c in configs]
    message = CHANGED + "sharing"
    assert new[0].layer is new[1].layer is copies[id(dense)], message
    assert new[0].layer is not dense, message
    new = keras.saving.deserialize_keras_object(again)
    assert new.layer is not copies[id(dense)], message


def test_tell_apart(tmp_path):
    class Told(keras.layers.TimeDistributed):
        def get_config(self):
            keras_private.tell_apart([self.layer])
            return super().get_config()

    inputs = keras.Input((3, 2))
    dense = keras.layers.Dense(2)
    model = keras.Model(inputs, Told(dense)(Told(dense)(inputs)))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", {"Told": Told})
    assert len(loaded.weights) == 2, CHANGED + "tell_apart"


def test_lambda_arguments():
    layer = keras.layers.Lambda(
        lambda x, y: x + y, output_shape=(2,), arguments={"y": 1.0}
    )
    given = keras_private.lambda_arguments(layer)
    new = keras.layers.Lambda(**given)
    message = CHANGED + "lambda_arguments"
    assert new.get_config() == layer.get_config(), message
    assert new.function is layer.function, message


def test_is_seed_state():
    layer = keras.layers.Dropout(0.5)
    (state,) = layer.variables
    message = CHANGED + "is_seed_state"
    assert keras_private.is_seed_state(state), message
    written = []

    class Noted(keras.StatelessScope):
        def add_update(self, update):
            written.append(update[0])

    with Noted():
        keras.random.normal((2,))
    assert list(map(keras_private.is_seed_state, written)) == [True], message
    dense = keras.layers.Dense(2)
    dense.build((None, 2))
    assert not any(map(keras_private.is_seed_state, dense.weights)), message


def test_variables_of_an_optimizer():
    a, b, other = (keras.Variable(np.ones(2)) for _ in range(3))
    optimizer = keras.optimizers.SGD()
    optimizer.build([a, b])
    message = CHANGED + "slot_index"
    assert keras_private.slot_index(optimizer, b) == 1, message
    assert keras_private.slot_index(optimizer, b.value) == 1, message
    assert keras_private.slot_index(optimizer, other) is None, message
    found = keras_private.trained_variables(optimizer)
    assert found[0] is a, CHANGED + "trained_variables"


def compiled():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1, global_clipnorm=1.0), "mse")
    return model


def test_exchange_losses():
    model, message = compiled(), CHANGED + "exchange_losses"
    ones = tf.ones([3, 1])
    assert not keras_private.exchange_losses(model, lambda loss: loss), message
    before = float(model.compute_loss(None, ones, 3 * ones, None))

    def exchange(loss):
        return lambda *args: 10 * loss(*args)

    assert keras_private.exchange_losses(model, exchange), message
    after = float(model.compute_loss(None, ones, 3 * ones, None))
    assert [before, after] == [4.0, 40.0], message
    assert model.loss == "mse", message


@pytest.mark.parametrize(
    "loss",
    [
        keras.losses.Huber(),
        keras.losses.get("mse"),
        keras.losses.MeanSquaredError(reduction="mean_with_sample_weight"),
    ],
    ids=["class", "function", "weights"],
)
def test_summed(loss):
    if not isinstance(loss, keras.losses.Loss):
        model = compiled()  # wraps functions
        model.compute_loss(None, tf.ones([3, 1]), tf.ones([3, 1]), None)
        found = []
        keras_private.exchange_losses(model, found.append)
        loss = found[0]
    y = tf.constant([[1.0], [5.0]])
    y_pred = keras_private.with_mask(
        tf.zeros([2, 1]), tf.constant([True, False])
    )
    ones = keras_private.summed(loss, lambda y, _: tf.ones_like(y[:, 0]))
    message = CHANGED + "summed"
    assert float(ones(y, y_pred, tf.constant([7.0, 8.0]))) == 7.0, message
    assert float(ones(y, tf.zeros([2, 1]))) == 2.0, message
    assert loss.reduction != "sum", message


def test_clipped():
    optimizer = compiled().optimizer
    (found,) = keras_private.clipped(optimizer, [tf.constant([3.0, 4.0])])
    np.testing.assert_allclose(found, [0.6, 0.8], rtol=1e-6)


def test_begin_at_epoch():
    class Begin(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            keras_private.begin_at_epoch(self.model, 3)

    model, x = compiled(), np.ones((4, 2))
    history = model.fit(x, x[:, :1], epochs=5, verbose=0, callbacks=[Begin()])
    assert history.epoch == [3, 4], CHANGED + "begin_at_epoch"


@pytest.mark.parametrize("name", ["_maybe_symbolic_build", "_make_function"])
def test_steps_of_replicas(name):
    message = CHANGED + "StepsOfReplicas"
    assert callable(getattr(keras.Model, name, None)), message
