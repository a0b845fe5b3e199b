"""Served sets and intervals are those of `predict`."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.exporting.runtimes import c_runtime
from tests.layers.table import normal
from tfpbnn import calibration, layers, likelihoods

X = normal(60, 3)
NEW = normal(3, 3) * 2
SAMPLES = 4
LARGEST = np.finfo("float32").max
GROUPS = np.arange(60) % 2
WEIGHTS = np.random.default_rng(0).uniform(0.5, 2.0, 60)
UNITS = np.array([100.0, 140.0])

# Output: its size, its likelihood, a predictor and what its `fit` is given.
TABLE = {
    "raps": (
        4,
        likelihoods.Categorical(),
        lambda: calibration.RAPS(0.1, 1, randomized=False),
        {},
    ),
    "yes": (1, likelihoods.Bernoulli(), calibration.LAC, {}),
    "normalized": (
        2,
        likelihoods.Normal().adapt(UNITS),
        calibration.NormalizedResidual,
        {},
    ),
    "cqr": (4, likelihoods.Normal(), calibration.CQR, {"coverage": 0.7}),
    "random": (3, likelihoods.Categorical(), calibration.APS, {}),
    "penalized": (
        4,
        likelihoods.Categorical(),
        lambda: calibration.RAPS(0.1, 1, seed=7),
        {"groups": GROUPS},
    ),
    "steps": (
        3,
        likelihoods.Categorical(),
        calibration.APS,
        {"groups": np.stack([GROUPS, 1 - GROUPS], -1)},
    ),
    "named": (
        2,
        likelihoods.Normal(),
        calibration.AbsoluteResidual,
        {"groups": np.array(["a", "bé"])[GROUPS]},
    ),
    "weighted": (
        4,
        likelihoods.Normal(),
        calibration.AbsoluteResidual,
        {"sample_weight": WEIGHTS},
    ),
    "weighted_groups": (
        3,
        likelihoods.Categorical(),
        calibration.LAC,
        {"sample_weight": WEIGHTS, "groups": GROUPS == 1},
    ),
    "weighted_labels": (
        3,
        likelihoods.Categorical(),
        calibration.APS,
        {"sample_weight": WEIGHTS, "groups": "class"},
    ),
    "none": (2, likelihoods.Normal(), None, {}),
}
# What the three rows bring; no held-out row is as heavy as the last one.
BROUGHT = {
    "groups": lambda groups: groups[:3],
    "sample_weight": lambda _: np.float32([0.2, 1.0, 300.0]),
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
    steps = keras.layers.RepeatVector(2)(h)
    heads["steps"] = keras.layers.Dense(3, name="steps")(steps)
    model = keras.Model(x, heads)
    model.compile("sgd", {name: row[1] for name, row in TABLE.items()})
    return model


def fitted(model, draws="auto", names=PREDICTORS):
    p = tfpbnn.predict(model, X, SAMPLES, seed=3, draws=draws)
    found = {}
    for name in names:
        *_, make, kwargs = TABLE[name]
        y = p[name].sample(1, seed=1)[0]
        if name == "weighted_labels":
            y = np.arange(60) % 3  # enough of each
        found[name] = make().fit(p[name], y, **{"coverage": 0.8} | kwargs)
    return found


def brought(name):
    """What the new rows bring to a predictor, by name."""
    given = TABLE[name][3].items()
    return {
        kind: BROUGHT[kind](value)
        for kind, value in given
        if kind in BROUGHT and not isinstance(value, str)
    }


def expected(predictor, p, **asked):
    if p.likelihood.is_classification:
        return {"sets": predictor.sets(p, **asked)}
    found = predictor.interval(p, **asked)
    return dict(zip(("lower", "upper"), found, strict=True))


@pytest.fixture(scope="module")
def served(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("conformal") / "1"
    found = fitted(model)
    kwargs = {"signatures": ["seeded", "samples", "deterministic"]}
    tfpbnn.export(model, path, SAMPLES, conformal=found, quantiles=[], **kwargs)
    inputs = {"features": NEW, "seed": np.arange(5, 5 + len(NEW))}
    for name in PREDICTORS:
        for kind, value in brought(name).items():
            inputs[f"{name}_conformal_{kind}"] = value
    answers = c_runtime().run(path, "seeded", **inputs)
    alone = [
        tfpbnn.predict(model, x[None], SAMPLES, seed=seed, draws="marginal")
        for seed, x in enumerate(NEW, 5)
    ]
    return path, found, answers, alone


def assert_answers(answers, name, predictor, alone, asked):
    """Each row is answered as if it came alone."""
    for row, p in enumerate(alone):
        one = {kind: value[row : row + 1] for kind, value in asked.items()}
        for kind, value in expected(predictor, p[name], **one).items():
            answer = answers[f"{name}_conformal_{kind}"][row]
            # LiteRT's differences end at the largest number.
            np.testing.assert_allclose(
                np.clip(answer, -LARGEST, LARGEST),
                np.clip(value[0], -LARGEST, LARGEST),
                rtol=1e-4,
                atol=1e-4,
            )


@pytest.mark.parametrize("name", PREDICTORS)
def test_answers_are_those_of_predict(name, served):
    _, found, answers, alone = served
    asked = brought(name)
    if found[name].is_randomized:
        asked["seed"] = np.arange(5, 5 + len(NEW))
    assert_answers(answers, name, found[name], alone, asked)


def test_only_signatures_with_such_predictions_have_them(served):
    path, found, *_ = served
    traced = tf.saved_model.load(str(path)).signatures
    for signature in ("samples", "deterministic"):
        names = traced[signature].structured_outputs
        assert not [name for name in names if "conformal" in name]
    names = traced["seeded"].structured_outputs
    assert not [name for name in names if name.startswith("none_conformal")]
    card = json.loads((path / "model_card.json").read_text())
    assert card["conformal"]["cqr"] == {"class": "CQR", "coverage": 0.7}
    assert card["conformal"]["named"]["groups"] == ["a", "bé"]
    assert set(card["conformal"]) == set(found)


def small_model():
    """A model with two outputs."""
    x = keras.Input((3,), name="features")
    sizes = {"penalized": 4, "weighted": 4}
    heads = {
        name: layers.DenseReparameterization(size, name=name)(x)
        for name, size in sizes.items()
    }
    model = keras.Model(x, heads)
    model.compile("sgd", {name: TABLE[name][1] for name in sizes})
    return model


@pytest.fixture(scope="module")
def small():
    return small_model()


def test_one_pass_is_answered_by_one_pass(small, tmp_path):
    names = ["penalized", "weighted"]
    one = fitted(small, "mean", names)
    path = tmp_path / "1"
    tfpbnn.export(
        small, path, SAMPLES, signatures=["deterministic"], conformal=one
    )
    served = tf.saved_model.load(str(path)).signatures["deterministic"]
    found = served(**inputs_of_one_pass())
    p = tfpbnn.predict(small, NEW, draws="mean")
    for name in names:
        asked = brought(name) | uniforms_of(one[name])
        for kind, value in expected(one[name], p[name], **asked).items():
            answer = found[f"{name}_conformal_{kind}"]
            np.testing.assert_allclose(answer, value, rtol=1e-4, atol=1e-4)


UNIFORMS = np.float32([0.1, 0.5, 0.95])


def uniforms_of(predictor):
    return {"uniforms": UNIFORMS} if predictor.is_randomized else {}


def inputs_of_one_pass():
    return {
        "features": NEW,
        "penalized_conformal_groups": brought("penalized")["groups"],
        "penalized_conformal_uniforms": UNIFORMS,
        "weighted_conformal_sample_weight": brought("weighted")[
            "sample_weight"
        ],
    }


def run_litert(path, inputs):
    return tf.lite.Interpreter(str(path)).get_signature_runner()(**inputs)


def run_onnx(path, inputs):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(path))
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


@pytest.mark.filterwarnings("ignore:.*Interpreter is deprecated")
@pytest.mark.parametrize("format", ["litert", "onnx"])
def test_other_formats_have_them(format, small, tmp_path):
    """Random numbers, groups and weights come with the rows."""
    names = ["penalized", "weighted"]
    found = fitted(small, names=names)
    path = tmp_path / "model"
    kwargs = {"format": format, "draws": "fixed", "seed": 2}
    tfpbnn.export(small, path, SAMPLES, conformal=found, **kwargs)
    inputs = inputs_of_one_pass()
    run = {"litert": run_litert, "onnx": run_onnx}[format]
    answers = run(path, inputs)
    alone = [
        tfpbnn.predict(small, x[None], SAMPLES, seed=2, draws="marginal")
        for x in NEW
    ]
    for name, predictor in found.items():
        asked = brought(name) | uniforms_of(predictor)
        assert_answers(answers, name, predictor, alone, asked)
    # Where no number makes sense, there is none; other rows stay.
    inputs["penalized_conformal_groups"] = np.array([0, 9, 1])
    inputs["penalized_conformal_uniforms"] = np.float32([0.1, 0.5, 1.5])
    inputs["weighted_conformal_sample_weight"] = np.float32([-1, np.nan, 1])
    bad = run(path, inputs)
    sets, low = (
        bad[f"{name}_conformal_{kind}"]
        for name, kind in (("penalized", "sets"), ("weighted", "lower"))
    )
    before = answers["penalized_conformal_sets"]
    np.testing.assert_array_equal(sets[0], before[0])
    assert np.isnan(sets[1:]).all()
    np.testing.assert_array_equal(np.isnan(low[:, 0]), [True, True, False])
    for kind in ("mean", "variance"):
        np.testing.assert_array_equal(
            bad[f"weighted_{kind}"], answers[f"weighted_{kind}"]
        )


@pytest.fixture(scope="module")
def sure():
    """An export of a model whose draws are all the same, and its sets."""
    x = keras.Input((3,), name="features")
    dense = layers.DenseReparameterization(4)
    model = keras.Sequential([x, dense])
    scale = dense.kernel_posterior.untransformed_scale
    scale.assign(keras.ops.full(scale.shape, -30.0))
    model.compile("sgd", likelihoods.Categorical())
    p = tfpbnn.predict(model, X, SAMPLES, seed=0)
    y = p.sample(1, seed=1)[0]
    return model, calibration.APS().fit(p, y, coverage=0.7)


@pytest.mark.parametrize("signature", ["serving_default", "dynamic"])
def test_random_numbers_are_each_rows_own(signature, sure, tmp_path):
    """Of rows that are alike, as many have a label as numbers allow it.

    So the coverage is the same, whatever rows come together. False alarms are
    1e-6 for each label.
    """
    model, found = sure
    kwargs = {"signatures": [signature], "conformal": found}
    tfpbnn.export(model, tmp_path / "1", SAMPLES, **kwargs)
    served = tf.saved_model.load(str(tmp_path / "1")).signatures[signature]
    count = 4000
    alike: np.ndarray = np.repeat(NEW[:1], count, axis=0)
    inputs = {"features": tf.constant(alike)}
    if signature == "dynamic":
        inputs["num_samples"] = tf.constant(SAMPLES)
        inputs["seed"] = tf.constant(-1, tf.int64)
    answers = [served(**inputs)["conformal_sets"].numpy() for _ in range(2)]
    p = tfpbnn.predict(model, alike, SAMPLES, seed=0)
    evenly = (np.arange(count) + 0.5) / count
    expected = found.sets(p, uniforms=evenly).mean(axis=0)
    assert np.any((expected > 0.05) & (expected < 0.95))
    spread = np.sqrt(expected * (1 - expected) / count)
    for one in answers:
        assert np.all(abs(one.mean(axis=0) - expected) <= 4.9 * spread)
    # Another request has others, by chance alone.
    both = (answers[0] * answers[1]).mean(axis=0)
    assert np.all(abs(both - expected**2) <= 4.9 * spread + 1e-3)
    if signature == "dynamic":
        inputs |= {"seed": tf.constant(5, tf.int64)}
        one = served(**inputs)["conformal_sets"]
        np.testing.assert_array_equal(one, found.sets(p, seed=5))
