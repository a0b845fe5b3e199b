"""What `fit` of this package's models says of targets, before training."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tfpbnn import ensembles, likelihoods
from tfpbnn.training import data_checks

X = np.zeros((6, 3), "float32")
LABELS = np.array([0, 1, 2, 0, 1, 2])
SPARSE = "sparse_categorical_crossentropy"


def model(units, loss, shape=(3,), cls=tfpbnn.Model, before=()):
    inputs = outputs = keras.Input(shape)
    for layer in (*before, keras.layers.Dense(units)):
        outputs = layer(outputs)
    made = cls(inputs, outputs)
    made.compile("sgd", loss)
    return made


def changed(y, index, value):
    y = np.array(y)
    y[index] = value
    return y


@pytest.mark.parametrize(
    ("units", "loss", "y", "match"),
    [
        (
            3,
            likelihoods.Categorical(),
            changed(LABELS, 4, 3),
            r"`y` must hold labels from 0 to 2 .* Received: 3 at index \(4,\), "
            "the first of 1 values",
        ),
        (3, likelihoods.Categorical(), LABELS - 1, r"-1 at index \(0,\).* 2 v"),
        (3, likelihoods.Categorical(), LABELS[:, None] + 0.5, r"0.5 at .*0, 0"),
        (3, SPARSE, LABELS + 1, r"3 at index \(2,\), the first of 2"),
        (
            3,
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            tf.constant(LABELS + 1),
            "labels from 0 to 2",
        ),
        (1, "binary_crossentropy", LABELS / 1.0, r"0 or 1. Received: 2.0 at"),
        (1, likelihoods.Bernoulli(), LABELS, r"2 at index \(2,\)"),
        (1, likelihoods.Poisson(), LABELS + 0.5, "counts, 0 or more"),
        (1, likelihoods.Poisson(), -LABELS, r"-1 at index \(1,\)"),
        ([2, 3], None, None, r"`y` of the output `b` must hold .* 3 at index"),
    ],
)
def test_targets_that_are_refused(units, loss, y, match):
    if loss is None:
        made, y = several(), {"a": LABELS % 2, "b": changed(LABELS, 0, 3)}
        with pytest.raises(ValueError, match=match):
            made.fit(X, [y["a"], y["b"]], verbose=0)
    else:
        made = model(units, loss)
    with pytest.raises(ValueError, match=match):
        made.fit(X, y, verbose=0)


def several():
    inputs = keras.Input((3,))
    outputs = {
        "b": keras.layers.Dense(3)(inputs),
        "a": keras.layers.Dense(2)(inputs),
    }
    made = tfpbnn.Model(inputs, outputs)
    loss = likelihoods.Categorical()
    made.compile("sgd", {"a": loss, "b": loss})
    return made


class OwnStep(tfpbnn.Sequential):
    def compute_loss(self, x, y, *args, **kwargs):
        return super().compute_loss(x, tf.maximum(y, 0), *args, **kwargs)


def own_loss(y, outputs):
    return keras.losses.sparse_categorical_crossentropy(
        tf.maximum(y, 0), outputs, True
    )


own_loss.__name__ = SPARSE  # as a user may well call it
MISSING = keras.losses.SparseCategoricalCrossentropy(True, ignore_class=-1)
PADDED = np.array([[1, 2, -1, -1], [1, -1, -1, -1]])


@pytest.mark.parametrize(
    ("made", "x", "y"),
    [
        (model(3, MISSING), X, LABELS - 1),
        (model(3, own_loss), X, LABELS - 1),
        (several(), X, {"a": LABELS % 2, "b": LABELS.astype("uint8")}),
        (model(3, "categorical_crossentropy"), X, 7 * np.eye(3)[LABELS]),
        (model(3, likelihoods.Categorical()), X, np.eye(3)[LABELS] * 0.5),
        (model(1, "poisson"), X, LABELS + 0.5),
        (model(1, "binary_crossentropy"), X, LABELS == 1),
        (model(2, "mse"), X, -LABELS[:, None] * np.ones(2)),
        (
            model(
                3,
                likelihoods.Categorical(),
                (4,),
                before=[keras.layers.Embedding(3, 2, mask_zero=True)],
            ),
            PADDED + 1 - (PADDED > 0),
            PADDED,
        ),
    ],
)
def test_what_can_be_trained_is_not_refused(made, x, y):
    made.fit(x, y, verbose=0)


def test_own_steps_weights_and_streams_are_left_alone():
    made = OwnStep([keras.Input((3,)), keras.layers.Dense(3)])
    made.compile("sgd", likelihoods.Categorical())
    made.fit(X, LABELS - 1, verbose=0)
    weighted = model(1, "binary_crossentropy")
    weighted.fit(X, LABELS - 1, sample_weight=1.0 * (LABELS > 0), verbose=0)
    stream = tf.data.Dataset.from_tensors((X, LABELS))
    model(3, SPARSE).fit(stream, verbose=0)


@pytest.mark.parametrize("dtype", [str, object])
def test_names_are_no_targets(dtype):
    made = model(3, likelihoods.Categorical())
    with pytest.raises(TypeError, match=r"`y` must hold numbers.*: '?0'? and"):
        made.fit(X, LABELS.astype(dtype), verbose=0)


def test_a_model_without_its_outputs_says_so_in_training():
    made = tfpbnn.Sequential([keras.layers.Dense(3)])
    made.compile("sgd", likelihoods.Categorical())
    with pytest.raises(tf.errors.InvalidArgumentError, match="labels from 0"):
        made.fit(X, LABELS + 1, verbose=0)
    with pytest.raises(ValueError, match="3 at index"):
        made.fit(X, LABELS + 1, verbose=0)


def changed_rows(name, value):
    """Arguments with a validation set, one of whose arrays has a wrong row."""
    given = {"x": X, "y": LABELS, "val_x": X, "val_y": LABELS}
    given[name] = changed(given[name].astype("float32"), 2, value)
    validation = (given.pop("val_x"), given.pop("val_y"))
    return given | {"validation_data": validation}


def network(*_):
    return model(3, likelihoods.Categorical(), cls=keras.Model)


def posterior():
    weights = network().get_weights()
    return ensembles.WeightSamples.from_weights(network(), [weights] * 2)


MODELS = {
    "model": lambda: model(3, likelihoods.Categorical()),
    "stacked": lambda: ensembles.DeepEnsemble(network, 2),
    "mixed": lambda: ensembles.MixedEnsemble([network(), network()]),
    "shared": lambda: ensembles.to_batch_ensemble(network(), 2),
    "collected": posterior,
}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("y", np.nan, r"`y` must be finite.*index \(2,\)"),
        ("x", np.inf, r"`x` must be finite.*index \(2, 0\)"),
        ("y", 3, r"`y` must hold labels.* Received: 3.0 at index \(2,\)"),
        ("val_x", np.nan, "`x` of `validation_data` must be finite"),
        ("val_y", np.nan, "`y` of `validation_data` must be finite"),
        ("val_y", 3, "`y` of `validation_data` must hold labels"),
    ],
)
def test_all_models_look_at_all_data(kind, name, value, match):
    made, given = MODELS[kind](), changed_rows(name, value)
    if kind != "collected":
        with pytest.raises(ValueError, match=match):
            made.fit(**given, verbose=0)
    x, y = given["x"], given["y"]
    if name.startswith("val"):
        x, y = given["validation_data"]
    with pytest.raises(
        ValueError, match=match.replace(" of `validation_data`", "")
    ):
        made.evaluate(x, y, verbose=0)


def test_fit_looks_at_validation_data_once(monkeypatch):
    looked = []
    check = data_checks.check_data
    monkeypatch.setattr(
        data_checks,
        "check_data",
        lambda *args: (looked.append(1), check(*args)),
    )
    model = tfpbnn.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.ones((8, 3)), np.ones((8, 1))
    data = {"validation_data": (x, y)}
    model.fit(x, y, epochs=3, verbose=0, **data)
    model.evaluate(x, y, verbose=0)
    assert len(looked) == 2


NAMED = {
    "unknown": ({"a": 1, "b": 1, "c": 1}, r"\['c'\] are unknown"),
    "missing": ({"a": 1}, r"\['b'\] missing"),
    "both": ({"a": 1, "c": 1}, r"\['c'\] are unknown, and \['b'\] missing"),
}


@pytest.fixture(scope="module")
def named():
    x = keras.Input((3,))
    heads = [keras.layers.Dense(1, name=name)(x) for name in "ab"]
    made = {
        "list": tfpbnn.Model(x, heads),
        "dict": tfpbnn.Model(x, dict(zip("ab", heads, strict=True))),
        "one": tfpbnn.Model(x, heads[0]),
    }
    for each in made.values():
        each.compile("sgd", "mse")
    return made


@pytest.mark.parametrize(
    ("method", "form"),
    [
        ("fit", "arrays"),
        ("fit", "dataset"),
        ("fit", "validation"),
        ("evaluate", "arrays"),
        ("evaluate", "dataset"),
    ],
)
@pytest.mark.parametrize("kind", ["list", "dict"])
@pytest.mark.parametrize("case", NAMED)
def test_names_of_targets_are_those_of_outputs(named, case, kind, form, method):
    names, match = NAMED[case]
    y = {name: np.zeros((6, 1)) for name in names}
    given, more = (X, y), {}
    if form != "arrays":
        given = (tf.data.Dataset.from_tensor_slices(given).batch(3),)
    if form == "validation":
        more = {"validation_data": given[0]}
        given = (X, {name: np.zeros((6, 1)) for name in "ab"})
    with pytest.raises(ValueError, match=match):
        getattr(named[kind], method)(*given, verbose=0, **more)


def test_one_output_takes_no_names(named):
    with pytest.raises(ValueError, match=r"must be an array, .* \['a'\]"):
        named["one"].fit(X, {"a": np.zeros(6)}, verbose=0)


def test_outputs_without_a_loss_need_no_target(named):
    model = tfpbnn.Model(named["dict"].inputs, named["dict"].output)
    model.compile("sgd", {"a": "mse"})
    model.evaluate(X, {"a": np.zeros(6)}, verbose=0)
