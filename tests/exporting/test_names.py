"""Columns have the names of people's data, on the server too."""

import collections

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.exporting import table
from tests.layers.table import normal
from tfpbnn import layers, likelihoods

L = keras.layers


def columns(*names, is_named):
    """A model of columns that count differently, so that none is another."""
    inputs = {
        name: keras.Input((1,), name=name if is_named else None)
        for name in names
    }
    scaled = [x * (3.0**i) for i, x in enumerate(inputs.values())]
    y = layers.DenseFlipout(2)(L.Concatenate()(scaled))
    return table.compiled(keras.Model(inputs, y))


def rows(*names):
    return {name: normal(3, 1) for name in names}


def served(model, path, **kwargs):
    kwargs = {"signatures": ["deterministic"]} | kwargs
    tfpbnn.export(model, path / "1", 2, **kwargs)
    signatures = tf.saved_model.load(str(path / "1")).signatures
    return signatures["deterministic"]


@pytest.mark.filterwarnings("ignore:When providing `inputs` as a dict")
@pytest.mark.parametrize("is_named", [True, False])
@pytest.mark.parametrize(
    ("own", "name"),
    [
        ("1stFlrSF", "arg_1stFlrSF"),
        ("_id", "arg__id"),
        ("hours-per-week", "hours_per_week"),
        ("hours per week", "hours_per_week"),
        ("fixed.acidity", "fixed_acidity"),
        ("pH", "pH"),
        ("x:0", "x_0"),
        ("inputs_1", "inputs_1"),
    ],
)
def test_names_are_those_of_keras(own, name, is_named, tmp_path):
    model = columns(own, "age", is_named=is_named)
    x = rows(own, "age")
    function = served(model, tmp_path, warmup=x)
    given = {name: x[own], "age": x["age"]}
    found = function(**{k: tf.constant(v) for k, v in given.items()})["mean"]
    expected = tfpbnn.predict(model, x, draws="mean", verbose=0).mean
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:When providing `inputs` as a dict")
@pytest.mark.parametrize("is_named", [True, False])
@pytest.mark.parametrize("name", ["größe", "日本", "naïve", "class", "self"])
def test_names_that_tensorflow_lacks_are_named(name, is_named, tmp_path):
    model = columns(name, "age", is_named=is_named)
    with pytest.raises(ValueError, match=f"the input '{name}'"):
        served(model, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:When providing `inputs` as a dict")
@pytest.mark.parametrize(
    "names",
    [("a-b", "a_b"), ("1a", "arg_1a"), ("a b", "a.b"), ("seed", "age")],
)
def test_names_that_clash_are_named(names, tmp_path):
    with pytest.raises(ValueError, match=f"inputs.*{names[0]}.*clash as"):
        served(columns(*names, is_named=True), tmp_path)


def test_an_ordered_dict_has_its_own_order(tmp_path):
    """Others go by the alphabet; names follow values in both."""
    x = collections.OrderedDict(
        z=keras.Input((1,), name="z"), a=keras.Input((1,), name="a")
    )
    h = L.Concatenate()([x["z"], 10.0 * x["a"]])
    y = collections.OrderedDict(
        later=layers.DenseFlipout(2)(h), first=L.Dense(1)(0.1 * h)
    )
    losses = {"first": likelihoods.Poisson(), "later": likelihoods.Normal()}
    model = table.compiled(keras.Model(x, y), losses)
    # Keras, too, takes the values of another dict for those of other keys.
    rows = collections.OrderedDict(z=normal(3, 1), a=normal(3, 1))
    function = served(model, tmp_path)
    found = function(**{k: tf.constant(v) for k, v in rows.items()})
    expected = tfpbnn.predict(model, rows, draws="mean", verbose=0)
    plain = model.predict(rows, verbose=0)["first"]
    np.testing.assert_allclose(expected["first"].mean, np.exp(plain), rtol=1e-3)
    for name, p in expected.items():
        np.testing.assert_allclose(found[f"{name}_mean"], p.mean, rtol=1e-4)
