"""Every posterior answers on servers as `predict` does."""

import time

import keras
import numpy as np
import pytest

import tfpbnn
from tests.exporting import runtimes, table
from tests.prediction.test_pieces import differences
from tests.statistics import FALSE_FAIL
from tfpbnn import particles
from tfpbnn.prediction.results import ClassificationPredictive, Predictive

SAMPLES = 16
LEVELS = [0.05, 0.5, 0.95]
REGRESSION = [
    "mean",
    "variance",
    "epistemic_variance",
    "aleatoric_variance",
    "quantiles",
]
LABELS = [
    "probabilities",
    "predictive_entropy",
    "expected_entropy",
    "mutual_information",
]


@pytest.fixture(scope="module", params=runtimes.found(), ids=lambda r: r.name)
def runtime(request):
    runtime = request.param()
    yield runtime
    runtime.close()


# Quantiles take half of an export's time, and are of outputs alone: here of
# each likelihood, and of draws and members.
HAVE_QUANTILES = (
    table.variational,
    table.concrete_dropout,
    table.deep_ensemble,
    table.residual,
    table.several,
)


@pytest.fixture(scope="module", params=table.ALL, ids=lambda f: f.__name__)
def served(request, tmp_path_factory):
    """An entry of the table and the path of its export."""
    keras.utils.set_random_seed(1)
    entry = request.param()
    path = tmp_path_factory.mktemp(request.param.__name__) / "1"
    quantiles = None if request.param in HAVE_QUANTILES else []
    tfpbnn.export(
        entry.model, path, SAMPLES, quantiles=quantiles, **entry.kwargs
    )
    return entry, path


def predict(entry, x=None, num_samples=SAMPLES, **kwargs):
    """Of each output by name; of one output by an empty name."""
    x = entry.x if x is None else x
    p = tfpbnn.predict(entry.model, x, num_samples, verbose=0, **kwargs)
    if isinstance(p, Predictive):
        return {"": p}
    if not isinstance(p, dict):
        p = dict(zip(entry.model.output_names, p, strict=True))
    return {f"{name}_": p[name] for name in p}


def expected(p, only=None):
    is_label = isinstance(p, ClassificationPredictive)
    names = LABELS if is_label else REGRESSION
    return {
        name: np.moveaxis(p.quantile(LEVELS), 0, 1)
        if name == "quantiles"
        else getattr(p, name)
        for name in names
        if only is None or name in only
    }


def rows(inputs, chosen):
    return keras.tree.map_structure(lambda a: a[chosen], inputs)


def assert_answers(answers, predictions, only=None):
    """Float32 in the graph, float64 in `predict`."""
    for prefix, p in predictions.items():
        for name, value in expected(p, only).items():
            np.testing.assert_allclose(
                answers[prefix + name], value, rtol=1e-3, atol=3e-5
            )


def assert_all(answers, predictions):
    """Of all that was exported."""
    for prefix, p in predictions.items():
        kept = {
            name.removeprefix(prefix)
            for name in answers
            if name.startswith(prefix)
        }
        assert len(kept) >= 4
        assert_answers(answers, {prefix: p}, kept)


def test_signatures_have_rows_first(served, runtime):
    entry, path = served
    found = runtime.signatures(path)
    names = {"serving_default", "samples", "deterministic", "seeded"}
    assert set(found) == names
    for name, (inputs, outputs) in found.items():
        more = {"seed"} if name == "seeded" else set()
        assert set(inputs) == set(entry.inputs) | more
        for _, _, shape in [*inputs.values(), *outputs.values()]:
            assert shape[0] is None
            assert None not in shape[1:]
    assert tfpbnn.lint_export(path) == []


def test_means_are_those_of_predict(served, runtime):
    entry, path = served
    answers = runtime.run(path, "deterministic", **entry.inputs)
    draws = particles.draw_function(entry.model, entry.x)
    predictions = predict(entry, draws="mean" if draws.has_mean else "auto")
    kept = (
        "mean",
        "aleatoric_variance",
        "probabilities",
        "predictive_entropy",
    )
    if draws.has_mean or draws.num_draws:  # others: see test_export
        assert_answers(answers, predictions, kept)
    names = {f"{o}{k}" for o, p in predictions.items() for k in expected(p)}
    assert set(answers) == {n for n in names if n.endswith(kept)} - {
        n for n in names if n.endswith("epistemic_variance")
    }


def test_a_seed_answers_as_predict_whatever_is_beside_it(served, runtime):
    entry, path = served
    seeds = np.array([7, -3, 7, 2**40 + 1, 5][: len(_first(entry.inputs))])
    answers = runtime.run(path, "seeded", seed=seeds, **entry.inputs)
    for row in (0, 1):
        kind = "marginal" if entry.has_apart else "coherent"
        one = predict(
            entry, rows(entry.x, [row]), seed=int(seeds[row]), draws=kind
        )
        assert_all(rows(answers, [row]), one)
    order = [1, 0, 1]
    other = runtime.run(
        path, "seeded", seed=seeds[order], **rows(entry.inputs, order)
    )
    for name, value in other.items():
        np.testing.assert_allclose(
            value, answers[name][order], rtol=1e-3, atol=3e-5, err_msg=name
        )


def test_each_request_has_draws_of_its_own(served, runtime):
    """And each row and number of rows an answer of the right shape."""
    entry, path = served
    function = particles.draw_function(entry.model, entry.x)
    is_random = function.num_draws is None
    for count in (1, len(_first(entry.inputs))):
        chosen = rows(entry.inputs, slice(count))
        one, two = (
            runtime.run(path, "serving_default", **chosen) for _ in range(2)
        )
        for name, value in one.items():
            assert len(value) == count
            assert np.isfinite(value).all()
            if name.endswith(("epistemic_variance", "mutual_information")):
                same = np.array_equal(value, two[name])
                assert same != (is_random and bool(np.any(value > 1e-9)))


def test_answers_have_the_distribution_of_predict(served, runtime):
    """Of `samples`, by `differences`: mean, variance and whole distribution.

    800 draws of two rows against 2,000: errors of the mean by 0.4 standard
    deviations are seen, which is what a missing layer's noise makes.
    """
    entry, path = served
    two = rows(entry.inputs, slice(2))
    answers = [runtime.run(path, "samples", **two) for _ in range(50)]
    x = rows(entry.x, slice(2))
    predictions = predict(entry, x, 2000, seed=3)
    for prefix, p in predictions.items():
        name = prefix[:-1] or "outputs"
        draws = np.concatenate([answer[name] for answer in answers], axis=1)
        draws = np.moveaxis(draws, 1, 0)
        if p.num_samples < SAMPLES:  # an ensemble's members
            members = draws[: p.num_samples]
            np.testing.assert_allclose(members, p.outputs, rtol=1e-5)
            continue
        is_random = np.ptp(p.outputs, axis=0) > 1e-6
        theirs, ours = p.outputs[:, is_random], draws[:, is_random]
        np.testing.assert_allclose(
            draws[:, ~is_random], p.outputs[:800, ~is_random], rtol=1e-5
        )
        if is_random.any():
            found = differences(ours, theirs)
            assert found.min() > FALSE_FAIL / len(found)


def test_a_row_that_is_not_finite_is_answered_with_nan(served, runtime):
    entry, path = served
    bad = {n: np.array(v) for n, v in entry.inputs.items()}
    name = next((n for n, v in bad.items() if v.dtype == np.float32), None)
    if name is None:
        pytest.skip("it has no inputs of floats")
    bad[name][1].flat[0] = np.nan
    for signature in ("serving_default", "deterministic", "samples"):
        for value in runtime.run(path, signature, **bad).values():
            assert np.isnan(value[1]).all()
            assert np.isfinite(value[0]).all()


def test_wrong_shapes_name_the_input(served, runtime):
    entry, path = served
    for name, value in entry.inputs.items():
        if value.ndim == 1:
            continue
        for wrong in (value[..., :1], value[..., np.newaxis]):
            given = entry.inputs | {name: wrong}
            message = f"`{name}` must have shape .rows, {value.shape[1]}"
            with pytest.raises(RuntimeError, match=message):
                runtime.run(path, "serving_default", **given)


def _first(inputs):
    return next(iter(inputs.values()))


def test_threads_never_share_draws(tmp_path, runtime):
    """8 threads, 500 requests each."""
    entry = table.variational()
    tfpbnn.export(entry.model, tmp_path / "1", 4, signatures=["samples"])
    start = time.monotonic()
    answers, errors, _ = runtime.stress(
        tmp_path / "1", "samples", 8, 500, features=table.X[:1]
    )
    assert not errors
    assert time.monotonic() - start < 100
    draws = np.concatenate([a["outputs"] for a in answers], axis=1)[0]
    assert len(np.unique(draws, axis=0)) == len(draws) == 16_000
