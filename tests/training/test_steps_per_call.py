"""Several steps in a call train as one by one, and nobody sees a difference."""

import gc
import io
import re
import weakref
from contextlib import redirect_stdout

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tfpbnn.networks.calls import Graph
from tfpbnn.training import steps_per_call

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 4)).astype("float32")
Y = X[:, :1] + 0.1 * RNG.normal(size=(50, 1)).astype("float32")


class Steps(keras.callbacks.Callback):
    """How many steps a call did, as seen after each epoch."""

    def __init__(self):
        super().__init__()
        self.numbers = []

    def on_epoch_end(self, epoch, logs=None):
        self.numbers.append(self.model.steps_per_execution)


class Traced(keras.layers.Layer):
    """Counts how often it is traced for training."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def call(self, inputs, training=False):
        self.count += bool(training)
        return inputs


def network(*more):
    return tfpbnn.Sequential(
        [keras.Input((4,)), tfpbnn.layers.DenseFlipout(2, seed=1), *more]
    )


def ensemble():
    def build():
        return keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(2)]
        )

    return tfpbnn.ensembles.DeepEnsemble(build, 3)


def compiled(make=network, **kwargs):
    keras.utils.set_random_seed(0)
    model = make()
    model.compile("adam", tfpbnn.likelihoods.Normal(), **kwargs)
    return model


def steps_of(model, *args, callbacks=(), **kwargs):
    steps = Steps()
    kwargs = {"batch_size": 8, "verbose": 0} | kwargs
    model.fit(*(args or (X, Y)), callbacks=[steps, *callbacks], **kwargs)
    assert model.steps_per_execution == 1
    (number,) = set(steps.numbers)
    return number


@pytest.mark.parametrize(
    ("make", "kwargs"),
    [
        (network, {}),
        (network, {"validation_split": 0.2}),
        (network, {"sample_weight": np.arange(50.0)}),
        (ensemble, {"validation_data": (X[:9], Y[:9])}),
    ],
    ids=["plain", "validation", "weighted", "ensemble"],
)
def test_a_fit_is_the_same(make, kwargs, monkeypatch):
    """With a last batch that is smaller, and a last call of fewer steps."""

    def fit():
        model = compiled(make)
        with monkeypatch.context() as patch:
            patch.setattr(steps_per_call, "_MOST_STEPS", most)
            history = model.fit(
                X, Y, batch_size=8, epochs=3, verbose=0, **kwargs
            )
        return model.get_weights(), history.history

    most = 1
    weights, history = fit()
    most = 4
    same_weights, same_history = fit()
    for one, other in zip(weights, same_weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert history.keys() == same_history.keys()
    for name, values in history.items():
        np.testing.assert_allclose(values, same_history[name], rtol=1e-5)


@pytest.mark.parametrize("make", [network, ensemble])
def test_small_steps_are_done_together(make):
    assert steps_of(compiled(make)) == 7  # of 8 rows, and 2
    assert steps_of(compiled(make), batch_size=1) == 32
    data = (X[:9], Y[:9])
    assert steps_of(compiled(make), validation_data=data) == 7


def test_large_steps_are_not(monkeypatch):
    """A step takes 6 operations for each of 8 rows and 16 parameters."""
    monkeypatch.setattr(steps_per_call, "_MOST_FLOPS", 3 * 6 * 8 * 16)
    assert steps_of(compiled()) == 3


def test_each_position_of_a_row_counts():
    layers = [
        tfpbnn.layers.Conv1DFlipout(2, 3, padding="same"),
        keras.layers.Flatten(),
        tfpbnn.layers.DenseFlipout(2),
    ]
    model = keras.Sequential([keras.Input((10, 5)), *layers])
    # loc and scale: 2 * (10 * (3 * 5 * 2) + 20 * 2)
    count = steps_per_call._flops_per_row(model, np.zeros((1, 10, 5)))
    assert count == 6 * 2 * (10 * 30 + 40)


def test_a_model_is_read_once_and_anew_with_other_layers(monkeypatch):
    read = []

    def counted(model):
        read.append(model)
        return Graph(model)

    monkeypatch.setattr(steps_per_call, "Graph", counted)
    model, x = keras.Sequential([keras.Input((4,))]), np.zeros((1, 4))
    model.add(keras.layers.Dense(3, trainable=False))  # costs no less
    found = [steps_per_call._flops_per_row(model, x) for _ in range(2)]
    assert (found, len(read)) == ([6 * 12, 6 * 12], 1)
    model.add(keras.layers.Dense(2))
    assert steps_per_call._flops_per_row(model, x) == 6 * (12 + 6)
    del read[:]
    known = weakref.ref(model)
    del model
    gc.collect()
    assert known() is None


def test_a_loss_that_keras_can_not_make_again():
    def loss(y, outputs):
        return keras.ops.square(y - outputs)

    x = keras.Input((4,))
    model = tfpbnn.Model(x, keras.layers.Dense(1)(x))
    model.compile("sgd", loss)
    assert steps_of(model) > 1


def test_left_alone():
    stream = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)
    assert steps_of(compiled(), stream, batch_size=None) == 1
    assert steps_of(compiled(), steps_per_epoch=3) == 1
    assert steps_of(compiled(), validation_data=stream) == 1
    assert steps_of(compiled(run_eagerly=True)) == 1
    model = compiled(steps_per_execution=3)
    model.fit(X, Y, verbose=0)
    assert model.steps_per_execution == 3


def test_callbacks_see_every_batch():
    seen = []

    class Sees(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(batch)

    assert steps_of(compiled(), callbacks=[Sees()]) == 1
    looks = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, **_: seen.append(batch)
    )
    assert steps_of(compiled(), callbacks=[looks]) == 1
    assert seen == [*range(7), *range(7)]


def test_checkpoints_of_epochs_leave_steps_together(tmp_path):
    for frequency, expected in [("epoch", 7), (2, 1)]:
        checkpoint = keras.callbacks.ModelCheckpoint(
            tmp_path / "model.keras", save_freq=frequency
        )
        assert steps_of(compiled(), callbacks=[checkpoint]) == expected
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.steps_per_execution == 1


def test_functions_are_kept_by_their_number_of_steps(recwarn):
    """Two of training and two of testing, whatever is called in between."""
    traced = Traced()
    model = compiled(lambda: network(traced))
    seen = []
    for _ in range(3):
        model.fit(X, Y, batch_size=10, validation_data=(X, Y), verbose=0)
        functions = [model.train_function, model.test_function]
        model.evaluate(X, Y, batch_size=10, verbose=0)
        model.train_on_batch(X[:10], Y[:10])
        functions += [model.train_function, model.test_function]
        seen.append((*functions, traced.count))
    assert seen[0] == seen[1] == seen[2]
    assert len(set(functions)) == 4
    assert not [w for w in recwarn if "ran out of data" in str(w.message)]
    model.compile("sgd", "mse")
    model.fit(X, Y[:, [0, 0]], batch_size=10, verbose=0)
    assert traced.count > seen[0][-1]


def test_the_bar_ends_at_the_last_step():
    shown = io.StringIO()
    with redirect_stdout(shown):
        compiled().fit(X, Y, batch_size=5, verbose=1)
        compiled().fit(X[:14], Y[:14], batch_size=2, verbose=1)
    numbers = re.findall(r"(\d+)/(\d+)", shown.getvalue())
    assert numbers
    assert all(int(number) <= int(total) for number, total in numbers)
