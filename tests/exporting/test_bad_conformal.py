"""Predictors that can't be served are refused, with what to do."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.calibration import made
from tests.exporting.test_conformal import SAMPLES, small_model
from tests.layers.table import normal
from tfpbnn import calibration, layers, likelihoods
from tfpbnn.exporting.arguments import Arguments
from tfpbnn.exporting.signatures.conformal import Answers


@pytest.fixture(scope="module")
def small():
    return small_model()


def labels(size, draws=1):
    outputs, y = made.classes(60, size, draws=draws)
    return made.labels(outputs), y


def lac(p, y, **kwargs):
    return calibration.LAC().fit(p, y, **kwargs)


def several(predictor=None):
    return (predictor or calibration.LAC()).fit(*labels(4, SAMPLES))


# What is given for the output "penalized", and what is said of it.
BAD = {
    "not fitted": (calibration.LAC, ValueError, "must be fitted on held-out"),
    "groups": (
        lambda: lac(*labels(4, SAMPLES), groups=np.arange(60) % 2 + 0.5),
        ValueError,
        "groups that are texts, whole numbers or booleans",
    ),
    "one pass": (
        lambda: lac(*labels(4)),
        ValueError,
        'fitted to those of "deterministic", and signatures=',
    ),
    "another size": (
        lambda: lac(*labels(3, SAMPLES)),
        ValueError,
        "one of size 4, where `fit` had one of size 3",
    ),
    "another map": (
        lambda: lac(
            calibration.Temperature()
            .fit(*labels(4, SAMPLES))
            .transform(labels(4, SAMPLES)[0]),
            labels(4)[1],
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
    given = {"penalized": make()}
    with pytest.raises(error, match=words):
        tfpbnn.export(small, tmp_path / "1", conformal=given, **kwargs)
    assert not list(tmp_path.iterdir())


def test_unknown_outputs(small, tmp_path):
    with pytest.raises(ValueError, match=r"unknown \['size'\]"):
        tfpbnn.export(small, tmp_path / "1", conformal={"size": several()})


# What other formats can't say, and what is said of it.
LACKED = {
    "texts in onnx": (
        "onnx",
        lambda: {"penalized": lac(*labels(4, SAMPLES), groups=["a", "b"] * 30)},
        "whole numbers for format=.onnx., which compares no texts",
    ),
    "quantiles": (
        "litert",
        lambda: {"weighted": calibration.CQR().fit(*numbers(), coverage=0.5)},
        r"without quantiles, such as NormalizedResidual.*CQR\(level=None\)",
    ),
}


def test_mapped_quantiles_are_of_saved_models(small, tmp_path):
    outputs, y = made.numbers(60, draws=SAMPLES, targets=2)
    found = calibration.IsotonicQuantiles().fit(made.normal(outputs), y)
    loss = {
        **small.loss,
        "weighted": likelihoods.Normal().recalibrated(found),
    }
    kwargs = {"format": "onnx", "draws": "fixed", "likelihood": loss}
    with pytest.raises(ValueError, match="the output 'weighted', whose mom"):
        tfpbnn.export(small, tmp_path / "model", SAMPLES, **kwargs)


def numbers():
    outputs, y = made.numbers(20, draws=SAMPLES, targets=2)
    return made.normal(outputs), y


@pytest.mark.parametrize("name", LACKED)
def test_what_formats_lack(name, small, tmp_path):
    format, make, words = LACKED[name]
    kwargs = {"format": format, "draws": "fixed", "conformal": make()}
    with pytest.raises(ValueError, match=words):
        tfpbnn.export(small, tmp_path / "model", SAMPLES, **kwargs)


def test_examples_for_warm_up_have_groups_that_are_known():
    outputs, y = made.classes(60, 4, draws=SAMPLES, places=(2,))
    p = made.labels(outputs)
    groups = np.stack([np.arange(60) % 2, np.arange(60) % 2 + 5], -1)
    steps = calibration.APS().fit(p, y, 0.5, groups=groups)
    kwargs = {"groups": ["b", "a"] * 60, "sample_weight": np.ones(120)}
    flat = made.labels(outputs.reshape(SAMPLES, 120, 4))
    names = calibration.LAC().fit(flat, y.ravel(), 0.5, **kwargs)
    loss = likelihoods.Categorical()
    spec = {
        "steps": tf.TensorSpec([None, None, 4]),
        "names": tf.TensorSpec([None, 4]),
    }
    answers = Answers(
        {"steps": steps, "names": names},
        dict.fromkeys(spec, loss),
        spec,
        Arguments(SAMPLES, "fixed", None, None, "savedmodel"),
    )
    assert not answers.specs("deterministic")
    specs = answers.specs("serving_default")
    found = answers.example("serving_default", 3)
    assert (
        set(found)
        == set(specs)
        == {
            "steps_conformal_groups",
            "steps_conformal_uniforms",
            "names_conformal_groups",
            "names_conformal_sample_weight",
        }
    )
    for name, value in found.items():
        assert len(value) == 3
        assert specs[name].is_compatible_with(tf.constant(value))
    assert set(found["steps_conformal_groups"].ravel()) <= {0, 1, 5, 6}
    assert set(found["names_conformal_groups"]) <= {"a", "b"}


def test_names_that_clash(tmp_path):
    x = keras.Input((3,), name="conformal_groups")
    model = keras.Sequential([x, layers.DenseReparameterization(4)])
    model.compile("sgd", likelihoods.Categorical())
    found = lac(*labels(4, SAMPLES), groups=np.arange(60) % 2)
    kwargs = {"signatures": ["serving_default"], "conformal": found}
    with pytest.raises(ValueError, match=r"differ .*\['conformal_groups'\]"):
        tfpbnn.export(model, tmp_path / "1", SAMPLES, **kwargs)
