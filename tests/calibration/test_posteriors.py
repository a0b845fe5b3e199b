"""A calibrated posterior is calibrated wherever it goes."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests import fresh
from tests.calibration import posteriors
from tests.calibration.posteriors import KINDS, X
from tfpbnn import calibration, likelihoods
from tfpbnn.base import registry

NEW = X[:20]
PROGRAM = """
import json, sys
import keras, numpy as np, tfpbnn

x = np.load(sys.argv[1])
for path, draws in json.loads(sys.argv[2]).items():
    model = keras.saving.load_model(path)
    p = tfpbnn.predict(model, x, 4, seed=1, draws=draws)
    np.save(path + ".npy", [*p.probabilities.T, p.expected_entropy])
"""


def predict(model, name, **kwargs):
    draws = "mean" if name == "plain" else "auto"
    return tfpbnn.predict(model, NEW, 4, seed=1, draws=draws, **kwargs)


@pytest.fixture(scope="module")
def calibrated():
    """Each kind, raw and calibrated, on labels of half the logits."""
    found = {}
    for name, (make, methods) in KINDS.items():
        keras.utils.set_random_seed(0)
        model = make()
        draws = "mean" if name == "plain" else "auto"
        p = tfpbnn.predict(model, X, 4, seed=1, draws=draws)
        q = np.sqrt(p.probabilities)
        noise = np.random.default_rng(0).gumbel(size=q.shape)
        y = np.argmax(np.log(q) + noise, axis=-1)
        copy = model
        for method in methods:
            kwargs = {"num_samples": 4, "seed": 1}
            copy = calibration.calibrate(copy, X, y, method, **kwargs)
        found[name] = model, copy
    return found


@pytest.mark.parametrize("name", KINDS)
def test_predictions_are_calibrated(name, calibrated):
    model, copy = calibrated[name]
    raw = predict(model, name)
    assert raw.likelihood.recalibration is None
    assert type(copy) is type(model)
    p = predict(copy, name)
    np.testing.assert_array_equal(p.outputs, raw.outputs)
    fitted = p.likelihood.recalibration
    expected = fitted.transform(raw)
    np.testing.assert_allclose(p.probabilities, expected.probabilities)
    assert np.abs(p.probabilities - raw.probabilities).max() > 0.005
    averages = predict(copy, name, keep_draws=False)
    for ask in ("probabilities", "expected_entropy", "variance"):
        np.testing.assert_allclose(
            getattr(averages, ask), getattr(p, ask), atol=1e-6
        )
    labels = raw.labels
    scores = tfpbnn.evaluate(copy, NEW, labels, 4, seed=1, draws=p.draws)
    assert scores["nll"] == pytest.approx(p.nll(labels))
    kinds = []
    while fitted is not None:
        kinds.insert(0, registry.snake_case(type(fitted).__name__))
        fitted = fitted.over
    assert kinds == KINDS[name][1]


def test_files_are_loaded_in_a_fresh_process(calibrated, tmp_path):
    np.save(tmp_path / "x.npy", NEW)
    paths = {}
    for name, (_, copy) in calibrated.items():
        path = str(tmp_path / f"{name}.keras")
        copy.save(path)
        paths[path] = "mean" if name == "plain" else "auto"
    fresh.run(PROGRAM, str(tmp_path / "x.npy"), json.dumps(paths))
    for name, (_, copy) in calibrated.items():
        found = np.load(tmp_path / f"{name}.keras.npy")
        p = predict(copy, name)
        expected = [*p.probabilities.T, p.expected_entropy]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def answers(model, path, inputs, rows, names, **kwargs):
    (signature,) = kwargs["signatures"]
    tfpbnn.export(model, path / "1", 4, **kwargs)
    served = tf.saved_model.load(str(path / "1")).signatures[signature]
    if signature == "seeded":
        inputs = inputs | {"seed": tf.ones(rows, tf.int64)}
    return {name: served(**inputs)[name].numpy() for name in names}


@pytest.mark.parametrize("name", ["plain", "deep ensemble"])
def test_exports_answer_as_predict(name, calibrated, tmp_path):
    copy = calibrated[name][1]
    p = predict(copy, name)
    signature = "deterministic" if name == "plain" else "seeded"
    names = ["probabilities", "predictive_entropy"]
    inputs = {"inputs": tf.constant(NEW)}
    found = answers(copy, tmp_path, inputs, 20, names, signatures=[signature])
    for kind, values in found.items():
        np.testing.assert_allclose(values, getattr(p, kind), atol=1e-4)


@pytest.fixture(scope="module")
def several():
    keras.utils.set_random_seed(0)
    model = posteriors.several()
    p = tfpbnn.predict(model, X, 4, seed=1)
    y = {name: one.sample(1, 0)[0] for name, one in p.items()}
    for name in ("size", "price"):
        y[name] = p[name].mean + 1.5 * (y[name] - p[name].mean)
    kwargs = {"num_samples": 4, "seed": 1}
    before = calibration.calibrate(model, X, y, {"price": "scale"}, **kwargs)
    methods = {
        "kind": calibration.Dirichlet(),
        "sort": "histogram_binning",
        "yes": "bbq",
        "size": "scale",
        "price": calibration.IsotonicQuantiles(),
    }
    return model, y, calibration.calibrate(before, X, y, methods, **kwargs)


def test_outputs_have_calibrators_by_name(several):
    model, y, copy = several
    raw = tfpbnn.predict(model, NEW, 4, seed=1)
    found = tfpbnn.predict(copy, NEW, 4, seed=1)
    kinds = {
        "kind": "Dirichlet",
        "sort": "HistogramBinning",
        "yes": "BBQ",
        "size": "Scale",
        "price": "IsotonicQuantiles",
    }
    assert set(found) == set(kinds)
    for name, p in found.items():
        fitted = p.likelihood.recalibration
        assert type(fitted).__name__ == kinds[name]
        expected = fitted.transform(raw[name])
        np.testing.assert_allclose(p.mean, expected.mean)
        np.testing.assert_allclose(p.variance, expected.variance)
    price = found["price"].likelihood
    assert price.units is not None
    assert isinstance(price.recalibration.over, calibration.Scale)
    scores = tfpbnn.evaluate(copy, X, y, 4, seed=1)
    assert 0.7 < scores["price_coverage_90"] < 1


def test_an_export_of_all_calibrators(several, tmp_path):
    """Of several rows, since what is mapped is integrated for each."""
    _, _, copy = several
    rows = 3
    ask = {
        "kind": "probabilities",
        "sort": "mutual_information",
        "yes": "probabilities",
        "size": "aleatoric_variance",
        "price": "variance",
    }
    names = [f"{name}_{kind}" for name, kind in ask.items()]
    served = answers(
        copy,
        tmp_path,
        {"features": tf.constant(NEW[:rows])},
        rows,
        [*names, "price_mean", "price_quantiles"],
        signatures=["seeded"],
        quantiles=[0.1],
    )
    kwargs = {"seed": 1, "draws": "marginal"}
    for row in range(rows):  # each has the answer of its own request
        found = tfpbnn.predict(copy, NEW[row : row + 1], 4, **kwargs)
        for name, kind in [*ask.items(), ("price", "mean")]:
            np.testing.assert_allclose(
                served[f"{name}_{kind}"][row],
                getattr(found[name], kind)[0],
                rtol=1e-3,
            )
        np.testing.assert_allclose(
            served["price_quantiles"][row],
            found["price"].quantile([0.1])[0],
            1e-3,
        )


def test_lists_defaults_and_datasets(several):
    model, y, _ = several
    data = tf.data.Dataset.from_tensor_slices((X, y)).batch(50)
    a = calibration.calibrate(model, data, num_samples=4)
    b = calibration.calibrate(model, X, y, num_samples=4)
    kinds = {n: type(a.loss[n].recalibration).__name__ for n in y}
    assert kinds["kind"] == kinds["yes"] == "Temperature"
    assert kinds["size"] == kinds["price"] == "Scale"
    for name, loss in a.loss.items():
        for key, numbers in loss.recalibration.fitted.items():
            other = b.loss[name].recalibration.fitted[key]
            np.testing.assert_allclose(numbers, other, rtol=1e-4)
    one = calibration.calibrate(model, X, y, {"size": "scale"}, num_samples=4)
    assert one.loss["kind"].recalibration is None
    assert one.loss["size"].recalibration is not None


def test_the_model_stays_as_it_was(several):
    model, _, copy = several
    for loss in model.loss.values():
        assert loss.recalibration is None
    before = [np.array(w) for w in model.get_weights()]
    mine = copy.get_weights()
    copy.set_weights([0 * w for w in mine])
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    copy.set_weights(mine)


def test_a_likelihood_is_enough(several):
    """No copy of the model is needed to predict."""
    model, _, copy = several
    p = tfpbnn.predict(model, NEW, 4, seed=1, likelihood=copy.loss)
    q = tfpbnn.predict(copy, NEW, 4, seed=1)
    np.testing.assert_array_equal(p["price"].mean, q["price"].mean)
    plain = {n: one.recalibrated(None) for n, one in copy.loss.items()}
    p = tfpbnn.predict(model, NEW, 4, seed=1, likelihood=plain)
    q = tfpbnn.predict(model, NEW, 4, seed=1)
    np.testing.assert_array_equal(p["sort"].mean, q["sort"].mean)


def test_outputs_in_a_list():
    x = keras.Input((3,))
    heads = [keras.layers.Dense(k, name=f"head_{k}")(x) for k in (2, 3, 4)]
    model = keras.Model(x, heads)
    kind = likelihoods.Categorical()
    rng = np.random.default_rng(0)
    y = [rng.integers(0, 2, len(X)), rng.integers(0, 4, len(X))]
    for loss in ([kind, None, kind], {"head_2": kind, "head_4": kind}):
        model.compile("sgd", loss)
        copy = calibration.calibrate(
            model, X, y, ["vector_scaling", None, "isotonic"]
        )
        p = tfpbnn.predict(copy, NEW, draws="mean")
        assert p[1] is None
        kinds = [type(p[i].likelihood.recalibration) for i in (0, 2)]
        assert kinds == [calibration.VectorScaling, calibration.Isotonic]
    model.compile("sgd", kind)
    y.insert(1, rng.integers(0, 3, len(X)))
    copy = calibration.calibrate(model, X, y, "histogram_binning")
    p = tfpbnn.predict(copy, NEW, draws="mean")
    assert [len(one.likelihood.recalibration.fitted["knots"]) for one in p] == [
        2, 3, 4,
    ]  # fmt: skip


def test_models_that_were_not_compiled():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    y = np.random.default_rng(0).integers(0, 3, len(X))
    with pytest.raises(ValueError, match="never compiled with a loss"):
        calibration.calibrate(model, X, y)
    loss = likelihoods.Categorical()
    copy = calibration.calibrate(
        model, X, y, calibration.VectorScaling(), likelihood=loss
    )
    assert not model.compiled
    assert copy.loss.recalibration is not None


def test_training_on_warns():
    """The map would be one of other weights."""
    model = tfpbnn.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    loss = likelihoods.Categorical()
    y = np.argmax(X + np.random.default_rng(0).gumbel(size=X.shape), axis=-1)
    model.layers[0].set_weights([np.eye(3), np.zeros(3)])
    copy = calibration.calibrate(model, X, y, likelihood=loss)
    with pytest.warns(UserWarning, match=r"by Temperature\(\), which was fi"):
        copy.fit(X, y, verbose=0)


def test_bad_arguments(calibrated, several):
    model, copy = calibrated["plain"]
    y = np.zeros(len(X))
    with pytest.raises(ValueError, match="`method` must be a known name"):
        calibration.calibrate(model, X, y, "heat")
    with pytest.raises(TypeError, match="`method` must be"):
        calibration.calibrate(model, X, y, 3)
    with pytest.raises(ValueError, match="must be fitted before calibrators"):
        calibration.calibrate(copy, X, y)
    with pytest.raises(ValueError, match="`y` must be given"):
        calibration.calibrate(model, X)
    model, y, copy = several
    with pytest.raises(ValueError, match="`method` must have an entry"):
        calibration.calibrate(model, X, y, {"other": "temperature"})
    with pytest.raises(ValueError, match="`keep_draws` must be True"):
        tfpbnn.predict(copy, NEW, 4, keep_draws=False)
