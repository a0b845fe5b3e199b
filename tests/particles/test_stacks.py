"""A stack of weights gives what a loop over `set_weights` gives."""

import keras
import numpy as np
import pytest

from tests.layers.table import normal
from tests.particles import table
from tfpbnn.particles import stack_predict

L = keras.layers


def mlp():
    model = keras.Sequential(
        [keras.Input((3,)), L.Dense(4, "relu"), L.Dense(2)]
    )
    return model, normal(5, 3)


def cnn():
    layers = [
        L.Conv2D(3, 3, activation="relu"),
        L.BatchNormalization(),
        L.Dropout(0.5),
        L.GlobalAveragePooling2D(),
        L.Dense(2),
    ]
    return keras.Sequential([keras.Input((6, 6, 2)), *layers]), normal(
        5, 6, 6, 2
    )


def lstm():
    layers = [L.LSTM(3), L.Dense(2)]
    return keras.Sequential([keras.Input((4, 2)), *layers]), normal(5, 4, 2)


def several():
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    h = L.Dense(3, "tanh")(L.Concatenate()([a, b]))
    model = keras.Model([a, b], {"one": L.Dense(2)(h), "two": h})
    return model, [normal(5, 3), normal(5, 2)]


def drawn(variables, count=3):
    return [normal(count, *v.shape) for v in variables]


def one_by_one(model, variables, stacks, x):
    """A loop in Python; the weights are as before at its end."""
    before, found = model.get_weights(), []
    for values in zip(*stacks, strict=True):
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        found.append(model(x, training=False))
    model.set_weights(before)
    return keras.tree.map_structure(lambda *ys: np.stack(ys), *found)


@pytest.mark.parametrize("make", [mlp, cnn, lstm, several])
def test_it_is_a_loop_over_weights(make):
    model, x = table.settled(make)
    variables = model.trainable_variables
    stacks, before = drawn(variables), model.get_weights()
    expected = one_by_one(model, variables, stacks, x)
    for batch_size in (None, 2):
        found = stack_predict(model, stacks, x, batch_size)
        keras.tree.map_structure(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
            found,
            expected,
        )
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_some_variables_by_path_and_others_as_they_are():
    model, x = table.settled(cnn)
    paths = {v.path: v for v in model.variables}
    path = next(name for name in paths if name.endswith("moving_mean"))
    kernel = next(name for name in paths if "dense" in name)
    chosen = [paths[kernel], paths[path]]
    stacks = drawn(chosen, 2)
    by_path = dict(zip((kernel, path), stacks, strict=True))
    for factor in (1.0, 2.0):  # what others have is seen at each call
        model.weights[0].assign(factor * model.weights[0])
        np.testing.assert_allclose(
            stack_predict(model, by_path, x),
            one_by_one(model, chosen, stacks, x),
            rtol=1e-4,
            atol=1e-5,
        )


def test_layers_added_to_a_model_are_seen():
    model, x = mlp()
    stacks = drawn(model.trainable_variables)
    before = stack_predict(model, stacks, x)
    model.add(L.ReLU())
    after = stack_predict(model, stacks, x)
    np.testing.assert_allclose(after, np.maximum(before, 0), atol=1e-6)
    assert before.min() < 0


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda s: s[:-1], r"each of the model's 4 trainable.*Received: 3"),
        (lambda s: {"no/kernel": s[0]}, r"Received: \['no/kernel'\]. Known"),
        (lambda s: [s[0][:2], *s[1:]], r"the same S.*first axes \[2, 3\]"),
        (lambda s: [s[0][..., :1], *s[1:]], r"shape \[S, \*\(3, 4\)\].*3, 1"),
        (lambda s: [s[0][0, 0, 0], *s[1:]], r"first axes \[0, 3\]"),
    ],
)
def test_bad_stacks(change, match):
    model, x = mlp()
    stacks = change(drawn(model.trainable_variables))
    with pytest.raises(ValueError, match=match):
        stack_predict(model, stacks, x)
