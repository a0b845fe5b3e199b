"""Lint finds planted faults."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn

ROWS = tf.TensorSpec([None, 2], tf.float32, name="features")


def save(path, function, *specs):
    module = tf.Module()
    module.state = tf.Variable([0, 1])
    traced = tf.function(
        lambda *x: {"y": function(module, *x)}, autograph=False
    ).get_concrete_function(*specs)
    tf.saved_model.save(module, str(path), {"serving_default": traced})


def python(module, x):
    return tf.ensure_shape(
        tf.numpy_function(lambda a: a + np.float32(1), [x], tf.float32),
        [None, 2],
    )


def xla(module, x):
    return tf.function(lambda x: x * 2, jit_compile=True)(x)


def seeded(module, x):
    return x + tf.random.normal([2], seed=3)


def deep_in_a_loop(module, x):
    def body(i):
        return tf.random.uniform([2], seed=3) + tf.cast(i, tf.float32)

    noise = tf.map_fn(body, tf.range(3), fn_output_signature=tf.float32)
    return x + tf.reduce_sum(noise, 0)


def stateful(module, x):
    module.state.assign(module.state + 1)
    return x + tf.random.stateless_normal([2], module.state)


@pytest.mark.parametrize(
    ("function", "specs", "message"),
    [
        (python, [ROWS], "needs Python"),
        (xla, [ROWS], "must be compiled by XLA"),
        (seeded, [ROWS], "replays the same"),
        (deep_in_a_loop, [ROWS], "replays the same"),
        (stateful, [ROWS], "changes a variable"),
        (
            lambda _, x, n: x + n,
            [ROWS, tf.TensorSpec([], tf.float32, name="shift")],
            "input shift is a scalar",
        ),
        (
            lambda _, x: x,
            [tf.TensorSpec([None, 2], tf.float32, name="keras_tensor_3")],
            "keras_tensor_3 has no name of its own",
        ),
        (
            lambda _, x: tf.reduce_sum(x),
            [ROWS],
            "output y is a scalar",
        ),
        (
            lambda _, x: x,
            [tf.TensorSpec([4, 2], tf.float32, name="features")],
            "input features has 4 rows",
        ),
        (
            lambda _, x: tf.cast(x, tf.float16),
            [ROWS],
            "output y is DT_HALF",
        ),
    ],
)
def test_faults(function, specs, message, tmp_path, capsys):
    save(tmp_path, function, *specs)
    found = tfpbnn.lint_export(tmp_path)
    assert any(message in line for line in found), found
    assert message in capsys.readouterr().out


def looking(size):
    """A layer that knows no words yet, but how many there will be."""
    return keras.layers.StringLookup(
        max_tokens=size, output_mode="one_hot", pad_to_max_tokens=True
    )


@pytest.mark.parametrize("is_adapted", [True, False])
def test_tables_that_nothing_initializes(is_adapted, tmp_path):
    """One of two in the same graph; by any tool that wrote it."""
    full = keras.layers.StringLookup(vocabulary=["a"], output_mode="one_hot")
    look = looking(2)
    if is_adapted:
        look.adapt(["b"])
    words = keras.Input((1,), dtype="string", name="words")
    model = keras.Model(words, full(words) + look(words))
    model.export(str(tmp_path), verbose=False)
    found = tfpbnn.lint_export(tmp_path)
    assert len(found) == (0 if is_adapted else 2)  # Keras has two signatures
    assert all("nothing initializes the table" in line for line in found)


def test_models_with_empty_tables_are_not_exported(tmp_path):
    words = keras.Input((1,), dtype="string", name="words")
    chain = [words, looking(3), tfpbnn.layers.DenseFlipout(2)]
    model = keras.Sequential(chain)
    model.compile("adam", tfpbnn.likelihoods.Normal())
    with pytest.raises(ValueError, match="nothing initializes the table"):
        tfpbnn.export(model, tmp_path / "1")
    assert list(tmp_path.iterdir()) == []


def test_scalars_are_no_fault_without_batching(tmp_path):
    shift = tf.TensorSpec([], tf.float32, name="shift")
    save(tmp_path, lambda _, x, n: x + n, ROWS, shift)
    assert tfpbnn.lint_export(tmp_path, batching=False) == []


def test_sound_exports_have_none(tmp_path, capsys):
    """Noise of the raw op, and variables that only restoring writes."""

    def sound(module, x):
        key = tfpbnn.random.fresh_key()
        return x + tf.random.stateless_normal([2], key) + float(3)

    save(tmp_path, sound, ROWS)
    assert tfpbnn.lint_export(tmp_path) == []
    assert "no problems found" in capsys.readouterr().out


def test_there_must_be_a_model(tmp_path):
    with pytest.raises(FileNotFoundError, match="with a SavedModel in it"):
        tfpbnn.lint_export(tmp_path)
