"""One check that every layer goes through."""

import json

import keras
import numpy as np
import tensorflow as tf

from tests import fresh
from tfpbnn import random


def check_layer(cls, kwargs, x):
    """Config, shapes, sharing, freezing and training."""
    check_untrained(cls, kwargs, x)
    check_fit(cls, kwargs, x)


def check_untrained(cls, kwargs, x):
    """All but training, which takes the most time."""
    check_config(cls, kwargs, x)
    check_shapes(cls, kwargs, x)
    check_kl_once(cls, kwargs, x)
    check_frozen(cls, kwargs, x)


def check_config(cls, kwargs, x):
    layer = cls(**kwargs)
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    layer(x)
    assert layer.get_config() == again.get_config(), "building changed it"
    config = keras.saving.serialize_keras_object(layer)
    loaded = keras.saving.deserialize_keras_object(config, safe_mode=True)
    assert loaded.get_config() == layer.get_config()
    assert config["registered_name"] == f"tfpbnn>layers.{type(layer).__name__}"
    paths = [v.path for v in layer.weights]
    for name in layer._weight_names:
        if name != "bias" or layer.use_bias:
            posterior = getattr(layer, f"{name}_posterior")
            assert posterior.path == f"{layer.name}/{name}_posterior"
            assert posterior.loc.path in paths


def check_shapes(cls, kwargs, x):
    layer = cls(**kwargs)
    symbolic = layer(keras.Input(shape=x.shape[1:], dtype=x.dtype))
    assert symbolic.shape == layer.compute_output_shape((None, *x.shape[1:]))
    eager = layer(x)
    assert tuple(symbolic.shape[1:]) == tuple(eager.shape[1:])
    assert len(layer(x[:1])) == 1


def check_fit(cls, kwargs, x):
    for jit_compile in (False, True):
        check_training([cls(**(kwargs | {"kl_weight": 0.1}))], x, jit_compile)


def check_training(layers, x, jit_compile):
    """A step trains every variable of layers side by side: one compilation."""
    inputs = keras.Input(x.shape[1:], dtype=x.dtype)
    model = keras.Model(inputs, [layer(inputs) for layer in layers])
    model.compile("adam", ["mse"] * len(layers), jit_compile=jit_compile)
    y = [np.zeros((len(x), *output.shape[1:])) for output in model.outputs]
    before = [np.array(v.numpy()) for v in model.trainable_variables]
    history = model.fit(x, y, verbose=0)
    assert np.all(np.isfinite(history.history["loss"]))
    for a, b in zip(before, model.trainable_variables, strict=True):
        assert np.any(a != b.numpy()), f"{b.path} was not trained"


_LOAD = """
import json, sys
import keras, numpy as np, tfpbnn
for folder in json.loads(sys.argv[1]):
    x = np.load(folder + "/x.npy")
    model = keras.saving.load_model(folder + "/model.keras")
    again = type(model).from_config(model.get_config())
    again.load_weights(folder + "/model.weights.h5")
    for i, m in enumerate((model, again)):
        np.save(f"{folder}/y{i}.npy", m(x, training=False))
        np.save(f"{folder}/kl{i}.npy", np.sum(m.losses))
"""


def check_save(cases, tmp_path):
    """Weights, noise and KL are the same in a fresh process, in safe mode.

    Args:
        cases: (model, x) pairs; one process for all.
        tmp_path: an empty folder.
    """
    folders, expected = [], []
    for number, (model, x) in enumerate(cases):
        folder = tmp_path / str(number)
        folder.mkdir()
        model(x)  # the noise has moved on from its start
        model.save(folder / "model.keras")
        model.save_weights(folder / "model.weights.h5")
        np.save(folder / "x.npy", x)
        y = np.asarray(model(x, training=False))
        expected.append((y, np.sum(model.losses)))
        folders.append(str(folder))
    fresh.run(_LOAD, json.dumps(folders))
    for folder, (y, kl) in zip(folders, expected, strict=True):
        for i in range(2):
            found = np.load(f"{folder}/y{i}.npy")
            np.testing.assert_allclose(found, y, rtol=1e-5, atol=1e-6)
            found = np.load(f"{folder}/kl{i}.npy")
            np.testing.assert_allclose(found, kl, rtol=1e-4)


def check_kl_once(cls, kwargs, x):
    """A layer used in two places of a model counts its KL once."""
    kwargs = without_activity_regularizer(kwargs)
    layer = cls(**(kwargs | {"kl_weight": 1.0}))
    inputs = keras.Input(x.shape[1:], dtype=x.dtype)
    model = keras.Model(inputs, layer(inputs) + layer(inputs))
    model(x)
    model(x)
    once = cls(**(kwargs | {"kl_weight": 1.0}))
    once(x)
    once.set_weights(layer.get_weights())
    assert len(model.losses) == len(once.losses) > 0
    np.testing.assert_allclose(sum(model.losses), sum(once.losses), rtol=1e-5)


def check_frozen(cls, kwargs, x):
    layer = cls(**without_activity_regularizer(kwargs))
    layer(x)
    layer.trainable = False
    assert layer.losses == []
    assert layer.trainable_variables == []
    layer.trainable = True
    assert len(layer.losses) > 0


def without_activity_regularizer(kwargs):
    """Its loss is not the weights': it counts once per call."""
    return {k: v for k, v in kwargs.items() if k != "activity_regularizer"}


def draws(model, x, count, seed=0):
    """`count` outputs of one draw each, `[count, ...]`."""

    @tf.function(autograph=False)
    def run():
        def one(i):
            with random.draw_scope(random.fold(random.as_key(seed), i)):
                return model(x, training=False)

        return tf.map_fn(one, tf.range(count), fn_output_signature=tf.float32)

    return run().numpy()
