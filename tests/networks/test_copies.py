"""Copies of models are the same functions, with layers of any kind."""

import keras
import numpy as np
import pytest

import tfpbnn
from tfpbnn.ensembles import to_batch_ensemble, to_masksembles
from tfpbnn.layers import MCDropout, MCWrapper

X = np.random.default_rng(0).normal(5, 3, (16, 3)).astype("float32")
MSE = tfpbnn.likelihoods.Normal(scale=1.0)


class Block(keras.layers.Layer):
    """Is not registered, and has the config that Keras writes for it."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(units)
        self.drop = keras.layers.Dropout(0.2)

    def call(self, x):
        return self.drop(self.dense(x))


class Shift(keras.layers.Layer):
    """Has a state that is no weight."""

    shift = 0.0

    def call(self, x):
        return x + self.shift

    def save_own_variables(self, store):
        store["shift"] = np.asarray(self.shift)

    def load_own_variables(self, store):
        self.shift = float(np.asarray(store["shift"]))


def adapted():
    normalization = keras.layers.Normalization()
    normalization.adapt(X)
    shift = Shift()
    shift.shift = 2.0
    return keras.Sequential(
        [
            keras.Input((3,)),
            normalization,
            shift,
            keras.layers.Dense(8, "relu"),
            keras.layers.Dropout(0.1),
            keras.layers.Dense(2),
        ]
    )


COPIES = {
    "to_variational": tfpbnn.to_variational,
    "mc_dropout": tfpbnn.mc_dropout,
    "and_back": lambda m: tfpbnn.to_deterministic(tfpbnn.to_variational(m)),
    "prune": lambda m: tfpbnn.prune(tfpbnn.to_variational(m), keep=1.0),
}


@pytest.mark.parametrize("name", COPIES)
def test_states_that_are_no_weights_are_copied(name):
    model = adapted()
    with tfpbnn.random.draw_scope(None):
        found = COPIES[name](model)(X)
    np.testing.assert_allclose(found, model(X), atol=1e-5)


def test_members_are_normalized_as_they_were():
    model = adapted()
    model.compile("sgd", MSE)
    ensemble = tfpbnn.ensembles.DeepEnsemble(model, num_members=2)
    ensemble.set_member(0, model)
    np.testing.assert_allclose(ensemble.members[0](X), model(X), atol=1e-5)


@pytest.mark.parametrize("name", ["to_variational", "mc_dropout"])
def test_vocabularies_are_copied(name):
    words = np.array([["red"], ["green"], ["blue"]])
    lookup = keras.layers.StringLookup(output_mode="one_hot")
    lookup.adapt(words)
    inputs = keras.Input((1,), dtype="string")
    hidden = keras.layers.Dropout(0.2)(keras.layers.Dense(4)(lookup(inputs)))
    model = keras.Model(inputs, keras.layers.Dense(1)(hidden))
    words = keras.ops.convert_to_tensor(words)
    with tfpbnn.random.draw_scope(None):
        found = COPIES[name](model)(words)
    np.testing.assert_allclose(found, model(words), atol=1e-6)


def test_a_block_of_a_users_own_gets_random_dropout():
    model = keras.Sequential([keras.Input((3,)), Block(8)])
    mc = tfpbnn.mc_dropout(model)
    (wrapper,) = mc.layers
    assert isinstance(wrapper, MCWrapper)
    assert wrapper.layer is not model.layers[0]
    with tfpbnn.random.draw_scope(None):
        np.testing.assert_allclose(mc(X), model(X), atol=1e-6)


def test_dropout_is_put_behind_operators_too():
    inputs = keras.Input((3,))
    hidden = keras.ops.relu(keras.layers.Dense(4, name="a")(inputs))
    hidden = hidden + keras.layers.Dense(4, name="b")(hidden)
    model = keras.Model(inputs, keras.layers.Dense(1, name="c")(hidden))
    mc = tfpbnn.mc_dropout(model, rate=0.5)
    found = [x.name for x in mc.layers if isinstance(x, MCDropout)]
    assert found == ["b_dropout", "c_dropout"]


class Own(keras.Sequential):
    """A model of a class of its own, made as Keras's are."""


def test_classes_names_and_paths_stay():
    inner = Own(
        [keras.Input((3,)), keras.layers.Dense(3), keras.layers.Dropout(0.1)],
        name="inner",
    )
    inputs = keras.Input((3,))
    drop = keras.layers.Dropout(0.2, name="drop")
    outputs = keras.layers.Add()([drop(inner(inputs)), drop(inputs)])
    model = keras.Model(inputs, outputs)
    mc = tfpbnn.mc_dropout(model)
    assert type(mc.get_layer("inner")) is Own
    names = {layer.name for layer in mc.layers}
    assert {layer.name for layer in model.layers} < names
    assert len(names) == len(model.layers) + 1
    paths = [v.path for v in mc.trainable_variables]
    assert paths == [v.path for v in model.trainable_variables]


@pytest.mark.parametrize(
    "copy", [tfpbnn.to_variational, lambda m: to_masksembles(m, 2)]
)
def test_a_mode_that_is_set_in_a_call_stays(copy):
    inputs = keras.Input((3,))
    norm = keras.layers.BatchNormalization(name="norm")
    hidden = norm(keras.layers.Dense(4)(inputs), training=False)
    outputs = keras.layers.Dense(2)(keras.layers.Dropout(0.1)(hidden))
    new = copy(keras.Model(inputs, outputs))
    new(X)
    calls = tfpbnn.networks.calls.Graph(new).calls
    (call,) = [call for call in calls if call.op.name == "norm"]
    assert call.mode == {"training": False}


def test_frozen_models_stay_frozen():
    inner = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(3)], name="inner"
    )
    inner.trainable = False
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inner(inputs)))
    for new in (
        tfpbnn.to_variational(model),
        tfpbnn.mc_dropout(model, rate=0.1),
        to_batch_ensemble(model, 2),
    ):
        assert not new.get_layer("inner").trainable
        assert len(new.trainable_variables) > 0
        held = new.get_layer("inner").variables
        assert not any(v.trainable for v in held)
