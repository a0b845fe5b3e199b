"""Each likelihood answers as `predict`, in each kind of export.

One model has an output for each of them, so that each kind is written once.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.exporting import table
from tests.exporting.runtimes import c_runtime
from tests.exporting.test_formats import run_litert, run_onnx
from tests.exporting.test_served import (
    LABELS,
    REGRESSION,
    assert_answers,
    predict,
    rows,
)
from tfpbnn import layers, likelihoods
from tfpbnn.exporting.signatures import summaries
from tfpbnn.prediction.results.regression import RegressionPredictive

SAMPLES, SEED = 2, 3
MOMENTS = {*REGRESSION, *LABELS} - {"quantiles"}
# By the output's name: the loss, and the last layer's units and activation.
LOSSES = {
    "normal": (likelihoods.Normal(), 4, None),
    "normal_known": (likelihoods.Normal(scale=0.5), 2, None),
    "adapted": (
        likelihoods.Normal().adapt([[30.0, 2.0], [60.0, 1.0]]),
        4,
        None,
    ),
    "student": (likelihoods.StudentT(), 4, None),
    "student_df": (likelihoods.StudentT(df=None), 3, None),
    "laplace": (likelihoods.Laplace(), 4, None),
    "mixture": (likelihoods.MixtureNormal(2), 6, None),
    "poisson": (likelihoods.Poisson(), 2, None),
    "negative_binomial": (likelihoods.NegativeBinomial(), 2, None),
    "categorical": (likelihoods.Categorical(), 3, None),
    "bernoulli": (likelihoods.Bernoulli(), 2, None),
    "mse": ("mse", 2, None),
    "mae": ("mae", 2, None),
    "keras_poisson": ("poisson", 1, "softplus"),
    "sparse": ("sparse_categorical_crossentropy", 3, "softmax"),
    "binary": ("binary_crossentropy", 1, "sigmoid"),
}


@pytest.fixture(scope="module")
def entry():
    keras.utils.set_random_seed(1)
    x = keras.Input((3,), name="features")
    heads = {
        name: table.table.dense(units, activation)(x)
        for name, (_, units, activation) in LOSSES.items()
    }
    scale = layers.HomoscedasticScale()(table.table.dense(1)(x))
    model = keras.Model(x, heads | {"homoscedastic": scale})
    losses = {name: loss for name, (loss, *_) in LOSSES.items()}
    table.compiled(model, losses | {"homoscedastic": likelihoods.Normal()})
    x = table.X[:2]
    return table.Served(model, x, {"features": x}, has_apart=True)


@pytest.fixture(scope="module")
def expected(entry):
    """Of each row by itself, with its own noise."""
    kwargs = {"seed": SEED, "draws": "marginal"}
    numbers = range(len(entry.x))
    return [predict(entry, entry.x[[n]], SAMPLES, **kwargs) for n in numbers]


def assert_same(answers, expected):
    for row, predictions in enumerate(expected):
        assert_answers(rows(answers, [row]), predictions, MOMENTS)


def export(entry, path, **kwargs):
    tfpbnn.export(entry.model, path, SAMPLES, quantiles=[], **kwargs)


def test_fresh_draws(entry, expected, tmp_path):
    """Those of a seed."""
    export(entry, tmp_path / "1", signatures=["seeded"])
    runtime = c_runtime()
    seeds = np.full(len(entry.x), SEED, np.int64)
    answers = runtime.run(tmp_path / "1", "seeded", seed=seeds, **entry.inputs)
    assert_same(answers, expected)


def run_saved_model(path, entry):
    return c_runtime().run(path, "serving_default", **entry.inputs)


@pytest.mark.filterwarnings("ignore:.*Interpreter is deprecated")
@pytest.mark.parametrize(
    ("kind", "run"),
    [
        ("savedmodel", run_saved_model),
        ("litert", run_litert),
        ("onnx", run_onnx),
    ],
)
def test_fixed_draws(kind, run, entry, expected, tmp_path):
    if kind == "onnx":
        pytest.importorskip("tf2onnx", reason='needs the extra "onnx"')
    path = tmp_path / "1"
    fixed = {"draws": "fixed", "signatures": ["serving_default"]}
    export(entry, path, format=kind, seed=SEED, **fixed)
    assert_same(run(path, entry), expected)


NUMBERS = [
    name
    for name, (loss, *_) in LOSSES.items()
    if isinstance(loss, likelihoods.Likelihood) and not loss.is_classification
]


@pytest.mark.parametrize("name", NUMBERS)
def test_quantiles_of_a_graph(name):
    """With rows of unknown number, as in exports."""
    likelihood, units, _ = LOSSES[name]
    outputs = table.normal(SAMPLES, 1, units)

    @tf.function(input_signature=[tf.TensorSpec([SAMPLES, None, units])])
    def answers(outputs):
        return summaries.summarize(likelihood, outputs, [0.9])["quantiles"]

    p = RegressionPredictive(outputs, likelihood)
    np.testing.assert_allclose(
        answers(outputs)[:, 0], p.quantile(0.9), rtol=1e-3, atol=1e-5
    )
