"""`fit` and `evaluate` take data in each form that Keras's take, and more."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import tfpbnn
from tests.prediction import inputs
from tests.prediction.inputs import DENSE, FORMS, SPARSE, WORDS, N, Y

# The forms of each network whose way to Keras differs.
CASES = {
    "dense": ("array", "float64", "DataFrame", "nullable", "sparse", "torch"),
    "sparse": ("csr_matrix", "csc_matrix", "duplicates in rows", "unordered"),
    "words": ("tensor", "objects", "strings", "bytes", "Series", "categories"),
    "ragged": ("RaggedTensor", "int64"),
    "optional": ("None", "by name"),
    "columns": ("arrays", "vectors", "Series", "other order"),
}
PAIRS = [(name, form) for name in CASES for form in CASES[name]]


def fitted(name, form, **kwargs):
    """What an epoch in the given order leaves behind, and says."""
    model = inputs.make(name, "tfpbnn")
    x = FORMS[name][form]()
    kwargs = {"verbose": 0, "batch_size": 5, "shuffle": False} | kwargs
    logs = model.fit(x, Y, **kwargs).history
    return model.get_weights()[0], logs["loss"], logs["kl_weight"]


@pytest.fixture(scope="module")
def expected():
    return {name: fitted(name, CASES[name][0]) for name in CASES}


@pytest.mark.parametrize(("name", "form"), PAIRS)
def test_fit_learns_the_same_of_all_forms(expected, name, form):
    found = fitted(name, form)
    assert found[2] == [1 / N]
    for one, other in zip(found, expected[name], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_parts_for_validation_are_read_too(name):
    """Rows that are set aside count for nothing in the KL's weight."""
    model, x = inputs.make(name, "tfpbnn"), FORMS[name][CASES[name][-1]]
    kwargs = {"verbose": 0, "batch_size": 23}
    logs = model.fit(x(), Y, validation_split=0.2, **kwargs).history
    assert logs["kl_weight"] == [1 / 18]
    logs = model.fit(x(), Y, validation_data=(x(), Y), **kwargs).history
    assert logs["kl_weight"] == [1 / N]
    assert np.isfinite(logs["val_loss"][0])
    assert np.isfinite(model.evaluate(x(), Y, verbose=0))


def test_targets_of_pandas():
    """Labels of its own types are numbers; a Series is a column."""
    frame = pd.Series(Y)
    model = inputs.make("dense", "tfpbnn")
    for dtype in ("Int64", "category", "uint8", "Float64"):
        model.fit(DENSE, frame.astype(dtype), verbose=0)
        model.evaluate(DENSE, frame.astype(dtype), verbose=0)
    with pytest.raises(ValueError, match=r"`y` must be finite.*1 NaN"):
        model.fit(DENSE, frame.astype("Int64").mask(frame.index == 2))
    with pytest.raises(TypeError, match="`y` must hold numbers"):
        model.fit(DENSE, frame.map({0: "a", 1: "b", 2: "c"}))


@pytest.mark.parametrize(
    ("x", "match"),
    [
        (DENSE.astype(object), r"`x`.* must hold numbers or strings.*float"),
        (pd.DataFrame({"a": WORDS, "b": 1.0}), r"not both.*`dict\(frame\)`"),
        (np.zeros(N, "datetime64[D]"), r"dtype datetime64.*timedelta64"),
        (pd.Series(WORDS).where(WORDS != "a"), "not both.*Received: nan"),
    ],
)
def test_what_no_network_takes_is_refused(x, match):
    model = inputs.make("dense", "tfpbnn")
    for call in (
        lambda: model.fit(x, Y),
        lambda: model.evaluate(x, Y),
        lambda: tfpbnn.predict(model, x),
    ):
        with pytest.raises(TypeError, match=match):
            call()


def test_nan_in_sparse_and_ragged_data_is_found():
    sparse = SPARSE.copy()
    sparse.data[3] = np.nan
    ragged = tf.ragged.constant([[1.0], [np.nan, 2.0]])
    model = inputs.make("sparse", "tfpbnn")
    for x in (sparse, ragged):
        with pytest.raises(ValueError, match=r"`x` must be finite.*1 NaN"):
            model.fit(x, Y)
    with pytest.raises(ValueError, match=r"`x`.* must be finite.*1 NaN"):
        tfpbnn.predict(model, sparse)
