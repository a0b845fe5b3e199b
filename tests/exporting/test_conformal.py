"""Served sets and intervals are those of `predict`."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.calibration import made
from tests.exporting.runtimes import c_runtime
from tests.layers.table import normal
from tfpbnn import calibration, layers, likelihoods

X = normal(60, 3)
NEW = normal(3, 3) * 2
SAMPLES = 4
UNITS = np.array([100.0, 140.0])

# Output: its size, its likelihood, a predictor and what its `fit` is given.
TABLE = {
    "lac": (3, likelihoods.Categorical(), calibration.LAC, {}),
    "aps": (3, likelihoods.Categorical(), lambda: calibration.APS(False), {}),
    "raps": (
        4,
        likelihoods.Categorical(),
        lambda: calibration.RAPS(0.1, 1, randomized=False),
        {},
    ),
    "each": (
        3,
        likelihoods.Categorical(),
        calibration.LAC,
        {"groups": "class"},
    ),
    "yes": (1, likelihoods.Bernoulli(), calibration.LAC, {}),
    "absolute": (4, likelihoods.Normal(), calibration.AbsoluteResidual, {}),
    "normalized": (
        2,
        likelihoods.Normal().adapt(UNITS),
        calibration.NormalizedResidual,
        {},
    ),
    "cqr": (4, likelihoods.Normal(), calibration.CQR, {"coverage": 0.7}),
    "none": (2, likelihoods.Normal(), None, {}),
}
PREDICTORS = [name for name, row in TABLE.items() if row[2] is not None]


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    x = keras.Input((3,), name="features")
    h = layers.DenseReparameterization(8, "tanh")(x)
    heads = {
        name: keras.layers.Dense(row[0], name=name)(h)
        for name, row in TABLE.items()
    }
    model = keras.Model(x, heads)
    model.compile("sgd", {name: row[1] for name, row in TABLE.items()})
    return model


def fitted(model, draws="auto", names=PREDICTORS):
    p = tfpbnn.predict(model, X, SAMPLES, seed=3, draws=draws)
    found = {}
    for name in names:
        *_, make, kwargs = TABLE[name]
        y = p[name].sample(1, seed=1)[0]
        if name == "each":
            y = np.arange(60) % 3  # enough of each
        found[name] = make().fit(p[name], y, **{"coverage": 0.8} | kwargs)
    return found


def expected(predictor, p):
    if p.likelihood.is_classification:
        return {"sets": predictor.sets(p)}
    return dict(zip(("lower", "upper"), predictor.interval(p), strict=True))


@pytest.fixture(scope="module")
def served(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("conformal") / "1"
    found = fitted(model)
    kwargs = {"signatures": ["seeded", "samples", "deterministic"]}
    tfpbnn.export(model, path, SAMPLES, conformal=found, quantiles=[], **kwargs)
    seeds: np.ndarray = np.full(len(NEW), 5, np.int64)
    answers = c_runtime().run(path, "seeded", features=NEW, seed=seeds)
    return path, found, answers


def assert_answers(answers, name, predictor, model, seed):
    """Each row is answered as if it came alone."""
    for row in range(len(NEW)):
        one = NEW[row : row + 1]
        p = tfpbnn.predict(model, one, SAMPLES, seed=seed, draws="marginal")
        for kind, value in expected(predictor, p[name]).items():
            answer = answers[f"{name}_conformal_{kind}"][row]
            np.testing.assert_allclose(answer, value[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", PREDICTORS)
def test_answers_are_those_of_predict(name, model, served):
    _, found, answers = served
    assert_answers(answers, name, found[name], model, 5)


def test_only_signatures_with_such_predictions_have_them(served):
    path, found, _ = served
    traced = tf.saved_model.load(str(path)).signatures
    for signature in ("samples", "deterministic"):
        names = traced[signature].structured_outputs
        assert not [name for name in names if "conformal" in name]
    names = traced["seeded"].structured_outputs
    assert not [name for name in names if name.startswith("none_conformal")]
    card = json.loads((path / "model_card.json").read_text())
    assert card["conformal"]["cqr"] == {"class": "CQR", "coverage": 0.7}
    assert set(card["conformal"]) == set(found)


@pytest.fixture(scope="module")
def small():
    """A model with the output "lac" and one more."""
    x = keras.Input((3,), name="features")
    sizes = {"lac": 3, "normalized": 2}
    heads = {
        name: layers.DenseReparameterization(size, name=name)(x)
        for name, size in sizes.items()
    }
    model = keras.Model(x, heads)
    model.compile("sgd", {name: TABLE[name][1] for name in sizes})
    return model


def test_one_pass_is_answered_by_one_pass(small, tmp_path):
    names = ["lac", "normalized"]
    one = fitted(small, "mean", names)
    path = tmp_path / "1"
    tfpbnn.export(
        small, path, SAMPLES, signatures=["deterministic"], conformal=one
    )
    served = tf.saved_model.load(str(path)).signatures["deterministic"]
    found = served(features=tf.constant(NEW))
    p = tfpbnn.predict(small, NEW, draws="mean")
    for name in names:
        for kind, value in expected(one[name], p[name]).items():
            answer = found[f"{name}_conformal_{kind}"]
            np.testing.assert_allclose(answer, value, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:.*Interpreter is deprecated")
def test_litert_has_them(small, tmp_path):
    found = fitted(small, names=["lac", "normalized"])
    found["lac"] = several(calibration.RAPS(0.1, 1, randomized=False))
    path = tmp_path / "model.tflite"
    kwargs = {"format": "litert", "draws": "fixed", "seed": 2}
    tfpbnn.export(small, path, SAMPLES, conformal=found, **kwargs)
    runner = tf.lite.Interpreter(str(path)).get_signature_runner()
    answers = runner(features=NEW)
    for name, predictor in found.items():
        assert_answers(answers, name, predictor, small, 2)


def labels(size, draws=1):
    outputs, y = made.classes(60, size, draws=draws)
    return made.labels(outputs), y


def lac(p, y, **kwargs):
    return calibration.LAC().fit(p, y, **kwargs)


def several(predictor=None):
    return (predictor or calibration.LAC()).fit(*labels(3, SAMPLES))


# What is given for the output "lac", and what is said of it.
BAD = {
    "not fitted": (calibration.LAC, ValueError, "must be fitted on held-out"),
    "random": (
        lambda: calibration.APS().fit(*labels(3, SAMPLES)),
        ValueError,
        r"same sets each time.*APS\(randomized=False\)",
    ),
    "groups": (
        lambda: lac(*labels(3, SAMPLES), groups=np.arange(60) % 2),
        ValueError,
        "without weights, and without groups",
    ),
    "weights": (
        lambda: lac(*labels(3, SAMPLES), sample_weight=np.ones(60)),
        ValueError,
        "without weights, and without groups",
    ),
    "one pass": (
        lambda: lac(*labels(3)),
        ValueError,
        'fitted to those of "deterministic", and signatures=',
    ),
    "another size": (
        lambda: lac(*labels(4, SAMPLES)),
        ValueError,
        "one of size 3, where `fit` had one of size 4",
    ),
    "another map": (
        lambda: lac(
            calibration.Temperature()
            .fit(*labels(3, SAMPLES))
            .transform(labels(3, SAMPLES)[0]),
            labels(3)[1],
        ),
        ValueError,
        "calibrated as in `fit`",
    ),
    "numbers": (
        lambda: calibration.AbsoluteResidual().fit(
            tfpbnn.prediction.RegressionPredictive(
                normal(SAMPLES, 40, 6), likelihoods.Normal()
            ),
            normal(40, 3),
        ),
        ValueError,
        "must be used for predictions of numbers",
    ),
    "a stream": (
        lambda: calibration.AdaptiveConformal(several()),
        TypeError,
        "must be a fitted LAC",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_predictors(name, small, tmp_path):
    make, error, words = BAD[name]
    kwargs = {"signatures": ["serving_default"], "quantiles": []}
    given = {"lac": make()}
    with pytest.raises(error, match=words):
        tfpbnn.export(small, tmp_path / "1", conformal=given, **kwargs)
    assert not list(tmp_path.iterdir())


def test_unknown_outputs(small, tmp_path):
    with pytest.raises(ValueError, match=r"unknown \['size'\]"):
        tfpbnn.export(small, tmp_path / "1", conformal={"size": several()})
