"""Data in the forms that people bring, and what counts in them."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from scipy import stats

import tfpbnn
from tfpbnn.densities.problem import Problem

ROWS, STEPS, NOISE = 12, 3, 0.5
rng = np.random.default_rng(0)
X = rng.normal(size=(ROWS, STEPS)).astype("float32")
Y = rng.normal(size=(ROWS, 1)).astype("float32")
WEIGHTS = rng.random(ROWS).astype("float32")
NORMAL = tfpbnn.likelihoods.Normal(scale=NOISE)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        rows = slice(4 * index, 4 * index + 4)
        return X[rows], Y[rows], WEIGHTS[rows]


def dataset(*arrays):
    return tf.data.Dataset.from_tensor_slices(arrays).batch(5)


def generator():
    yield from (Batches()[index] for index in range(3))


@pytest.fixture(scope="module")
def line():
    return keras.Sequential([keras.Input((STEPS,)), keras.layers.Dense(1)])


def log_likelihood(model, x, y, weights=None, likelihood=NORMAL):
    """The likelihood's term at the model's own weights."""
    problem = Problem(model, x, y, likelihood, "normal", True, weights)
    parameters = problem.parameters
    vector = parameters.vector_of([np.asarray(v) for v in parameters.variables])
    return problem.density.terms(vector)["likelihood"]


def each(model, y=Y):
    """The log-density of each row's target, by scipy."""
    (weight, bias) = map(np.asarray, model.get_weights())
    return stats.norm.logpdf(y, X @ weight + bias, NOISE)[:, 0]


FORMS = {
    "arrays": lambda: (X, Y, WEIGHTS),
    "one axis": lambda: (X, Y[:, 0], WEIGHTS),
    "a column of weights": lambda: (X, Y, WEIGHTS[:, None]),
    "float64": lambda: (*(a.astype("float64") for a in (X, Y)), WEIGHTS),
    "tensors": lambda: tuple(map(tf.constant, (X, Y, WEIGHTS))),
    "pandas": lambda: (
        pd.DataFrame(X, columns=list("abc")),
        pd.Series(Y[:, 0], name="y"),
        # An index that pandas would align by, and Keras doesn't.
        pd.Series(WEIGHTS, index=np.arange(ROWS)[::-1]),
    ),
    "tf.data": lambda: (dataset(X, Y, WEIGHTS), None, None),
    "PyDataset": lambda: (Batches(), None, None),
    "generator": lambda: (generator(), None, None),
    "weights beside a dataset": lambda: (dataset(X, Y), None, WEIGHTS),
    "targets beside a dataset": lambda: (dataset(X), Y, WEIGHTS),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_data(line, form):
    found = log_likelihood(line, *FORMS[form]())
    np.testing.assert_allclose(found, WEIGHTS @ each(line), rtol=1e-5)


def test_values_of_weight_zero_do_not_matter(line):
    weights = (np.arange(ROWS) % 2).astype("float32")
    y = np.where(weights[:, None] > 0, Y, np.nan)
    found = log_likelihood(line, X, y, weights)
    np.testing.assert_allclose(found, each(line)[1::2].sum(), rtol=1e-5)


def test_integer_targets_are_numbers(line):
    y = np.arange(ROWS)
    found = log_likelihood(line, X, y)
    np.testing.assert_allclose(found, each(line, y[:, None]).sum(), rtol=1e-5)


def test_weights_of_places():
    model = keras.Sequential([keras.Input((STEPS, 1)), keras.layers.Dense(1)])
    weights = rng.random((ROWS, STEPS))
    (kernel, bias) = model.get_weights()
    loc = X * kernel[0, 0] + bias[0]
    expected = (weights * stats.norm.logpdf(X, loc, NOISE)).sum()
    found = log_likelihood(model, X[..., None], X[..., None], weights)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_weights_of_each_output():
    """A dict as for targets; and the weights that `to_arviz` takes."""
    inputs = keras.Input((STEPS,))
    heads = {n: keras.layers.Dense(1, name=n) for n in "ab"}
    model = keras.Model(inputs, {n: head(inputs) for n, head in heads.items()})
    y = {"a": Y, "b": 2 * Y}
    weights = {"a": WEIGHTS, "b": np.ones(ROWS)}
    found = log_likelihood(model, X, y, weights, dict.fromkeys("ab", NORMAL))
    expected = sum(
        weights[n]
        @ stats.norm.logpdf(y[n][:, 0], (X @ head.kernel.numpy())[:, 0], NOISE)
        for n, head in heads.items()
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_penalties_are_named():
    layer = keras.layers.Dense(1, kernel_regularizer="l2", name="shrunk")
    model = keras.Sequential([keras.Input((STEPS,)), layer])
    with pytest.warns(UserWarning, match=r"penalties of the layers \['shrunk"):
        found = log_likelihood(model, X, Y)
    np.testing.assert_allclose(found, each(model).sum(), rtol=1e-5)


def classes(units=2):
    return keras.Sequential([keras.Input((STEPS,)), keras.layers.Dense(units)])


def constrained():
    layer = keras.layers.Dense(1, kernel_constraint="non_neg", name="bound")
    return keras.Sequential([keras.Input((STEPS,)), layer])


CATEGORICAL = tfpbnn.likelihoods.Categorical()
REFUSED = {
    "labels beyond the last": (
        classes,
        (X, np.arange(ROWS) % 4, None, CATEGORICAL),
        "`y` must hold labels from 0 to 1.*Received: 2 at index",
    ),
    "negative counts": (
        lambda: classes(1),
        (X, Y, None, tfpbnn.likelihoods.Poisson()),
        "`y` must hold counts",
    ),
    "no targets": (classes, (X, None), "`y` must be given"),
    "no targets in a dataset": (classes, (dataset(X), None), "`y` must be"),
    "no rows": (classes, (dataset(X[:0]), None), "`x` must have one row"),
    "no end": (classes, (dataset(X, Y).repeat(), None), "`x` must be finite"),
    "rows of many lengths": (
        classes,
        (iter([(X[:2, :2], Y[:2]), (X, Y)]), None),
        "`x` must have batches of one shape.*Pad",
    ),
    "weights of other rows": (
        lambda: classes(1),
        (X, Y, WEIGHTS[:5]),
        "`sample_weight` must be",
    ),
    "constraints": (
        constrained,
        (X, Y),
        r"constraints on \['bound/kernel'\].*Take them out",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case):
    make, arguments, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        log_likelihood(make(), *arguments)


def test_names_of_classes_are_refused():
    names = np.array(["cat", "dog"] * (ROWS // 2))
    with pytest.raises(TypeError, match=r"`y` must hold numbers.*cat"):
        log_likelihood(classes(), X, names, None, CATEGORICAL)
