"""Targets, losses, weights and outputs go together by their names."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tfpbnn import layers, likelihoods

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 3)).astype("float32")
W = RNG.uniform(1, 2, 20)
# In the order of the alphabet these would be the other way round.
Y = {"price": 10 + X[:, 0], "area": -10 + X[:, 1]}
OPTIONS = {"num_samples": 3, "seed": 0, "draws": "coherent", "verbose": 0}


def make(outputs, loss):
    """A model with outputs in a list or a dict, of an input of its own."""
    inputs = keras.Input((3,))
    made = {
        name: layers.DenseFlipout(2, name=name)(inputs)
        for name in ("price", "area")
    }
    if outputs is dict:
        structure = made
    else:
        structure = outputs(made.values()) if outputs else made["price"]
    model = tfpbnn.Model(inputs, structure)
    model.compile("adam", loss)
    return model


BOTH = {"price": likelihoods.Normal(), "area": likelihoods.Laplace()}


@pytest.fixture(scope="module")
def as_list():
    return make(list, BOTH)


@pytest.fixture(scope="module")
def as_dict():
    return make(dict, BOTH)


@pytest.mark.parametrize("kind", ["as_list", "as_dict"])
def test_targets_and_weights_find_their_outputs(kind, request):
    model = request.getfixturevalue(kind)
    found = tfpbnn.predict(model, X, **OPTIONS)
    if kind == "as_list":
        found = dict(zip(("price", "area"), found, strict=True))
    assert type(found["area"].likelihood) is likelihoods.Laplace
    expected = {
        f"{name}_{score}": value
        for name in Y
        for score, value in found[name].evaluate(Y[name], W).items()
    }
    turned = {"area": Y["area"], "price": Y["price"]}
    ways = [(Y, W), (turned, {"area": W, "price": W})]
    in_order = list(Y) if kind == "as_list" else sorted(Y)
    ways.append(([Y[name] for name in in_order], [W, W]))
    for y, weights in ways:
        scores = tfpbnn.evaluate(model, X, y, sample_weight=weights, **OPTIONS)
        assert scores == expected
        assert scores.per["price_nll"] == "row"
    batches = tf.data.Dataset.from_tensor_slices((X, turned, W)).batch(7)
    scores = tfpbnn.evaluate(model, batches, **OPTIONS)
    for name, value in expected.items():
        assert scores[name] == pytest.approx(value, rel=1e-4)


@pytest.mark.parametrize(
    ("y", "weights", "message"),
    [
        ({"price": Y["price"]}, None, r"`y` .*without \['area'\]"),
        ({**Y, "rooms": W}, None, r"`y` .*the unknown \['rooms'\]"),
        (
            {"Price": W, "area": W},
            None,
            r"without .*'price'.*unknown .*'Price'",
        ),
        ([W], None, r"each of the model's 2 outputs, \['price', 'area'\]"),
        (W, None, "Received: 1"),
        (Y, {"price": W}, r"`sample_weight` .*without \['area'\]"),
        (Y, [W, W, W], "`sample_weight` .*Received: 3"),
    ],
)
def test_missing_and_unknown_names_raise(y, weights, message, as_list):
    with pytest.raises(ValueError, match=message):
        tfpbnn.evaluate(as_list, X, y, sample_weight=weights, **OPTIONS)


def test_losses_for_unknown_or_no_outputs_raise(as_list):
    for likelihood, message in (
        (BOTH | {"rooms": likelihoods.Normal()}, r"unknown \['rooms'\]"),
        ([None, None], "an entry for one of the model's outputs"),
        ([likelihoods.Normal()] * 3, "each of the model's 2 outputs"),
    ):
        with pytest.raises(ValueError, match=message):
            tfpbnn.predict(as_list, X, likelihood=likelihood, **OPTIONS)


@pytest.mark.parametrize("keep_draws", [True, False])
def test_outputs_without_a_loss_are_passed_over(keep_draws):
    one = {"price": likelihoods.Normal()}
    of_dict, of_list = make(dict, one), make(list, [None, likelihoods.Normal()])
    options = OPTIONS | {"keep_draws": keep_draws}
    found = tfpbnn.predict(of_dict, X, **options)
    assert list(found) == ["price"]
    none, area = tfpbnn.predict(of_list, X, **options)
    assert none is None
    assert area.mean.shape == (20, 1)
    for model, name, ways in (
        (of_dict, "price", [{"price": W}, {"price": W, "area": None}, W, [W]]),
        (of_list, "area", [[None, W], [W], {"area": W}, W]),
    ):
        scores = [tfpbnn.evaluate(model, X, y, **OPTIONS) for y in ways]
        assert f"{name}_nll" in scores[0]
        assert all(score == scores[0] for score in scores)


def test_one_output():
    model = make(None, likelihoods.Normal())
    expected = tfpbnn.evaluate(model, X, W, **OPTIONS)
    assert "nll" in expected
    for y in ({"price": W}, [W], list(W), W[:, None]):
        assert tfpbnn.evaluate(model, X, y, **OPTIONS) == expected
    with pytest.raises(ValueError, match=r"\['price'\].*unknown \['cost'\]"):
        tfpbnn.evaluate(model, X, {"cost": W}, **OPTIONS)


def test_a_subclassed_model_and_a_layer_that_makes_two_outputs():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.price = layers.DenseFlipout(2)
            self.area = layers.DenseFlipout(2)

        def call(self, x):
            return {"price": self.price(x), "area": self.area(x)}

    model = Own()
    model(X)
    model.compile("adam", BOTH)
    scores = tfpbnn.evaluate(model, X, Y, **OPTIONS)
    assert {"price_nll", "area_nll"} <= set(scores)
    a, b = keras.Input((3,)), keras.Input((3,))
    layer = layers.DenseFlipout(2, name="d")
    twice = tfpbnn.Model([a, b], [layer(a), layer(b)])
    twice.compile("adam", likelihoods.Normal())
    scores = tfpbnn.evaluate(twice, [X, -X], [W, W], **OPTIONS)
    assert {"d_nll", "d_1_nll"} <= set(scores)


def test_exports_leave_out_outputs_without_a_loss(tmp_path):
    model = make(dict, {"price": likelihoods.Normal()})
    tfpbnn.export(model, tmp_path / "1", num_samples=2)
    served = tf.saved_model.load(str(tmp_path / "1"))
    names = served.signatures["serving_default"].structured_outputs
    assert "price_mean" in names
    assert not any(name.startswith("area") for name in names)
