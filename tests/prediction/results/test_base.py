"""What predictions of any kind share."""

import numpy as np
import pytest
from scipy import special, stats

from tests.statistics import assert_correlation, assert_mean
from tfpbnn import likelihoods
from tfpbnn.prediction.results import (
    ClassificationPredictive,
    RegressionPredictive,
    base,
)


def scale_of(raw):
    return 1e-6 + np.logaddexp(0, raw)


def normals(shape, seed=0, **kwargs):
    outputs = np.random.default_rng(seed).standard_normal(shape)
    return RegressionPredictive(outputs, likelihoods.Normal(**kwargs))


def categories(shape, seed=0):
    outputs = np.random.default_rng(seed).standard_normal(shape)
    return ClassificationPredictive(outputs, likelihoods.Categorical())


# Name: a likelihood, outputs per target, and the log density by scipy.
LOG_DENSITIES = {
    "normal": (
        likelihoods.Normal(),
        lambda y, m, r: stats.norm.logpdf(y, m, scale_of(r)),
    ),
    "student_t": (
        likelihoods.StudentT(df=4.0),
        lambda y, m, r: stats.t.logpdf(y, 4, m, scale_of(r)),
    ),
    "poisson": (
        likelihoods.Poisson(),
        lambda y, m: stats.poisson.logpmf(y, np.exp(m)),
    ),
    "bernoulli": (
        likelihoods.Bernoulli(),
        lambda y, m: stats.bernoulli.logpmf(y, special.expit(m)),
    ),
}


@pytest.mark.parametrize("num_draws", [1, 7])
@pytest.mark.parametrize("num_targets", [1, 3])
@pytest.mark.parametrize("name", LOG_DENSITIES)
def test_log_prob_is_of_the_average_joint_likelihood(
    name, num_targets, num_draws
):
    likelihood, log_pdf = LOG_DENSITIES[name]
    rng = np.random.default_rng(0)
    size = likelihood.params_size(num_targets)
    outputs = 2 * rng.standard_normal((num_draws, 5, size))
    y = rng.integers(0, 2, (5, num_targets))
    kind = (
        ClassificationPredictive
        if likelihood.is_classification
        else RegressionPredictive
    )
    parameters = np.split(outputs, size // num_targets, axis=-1)
    joint = np.exp(log_pdf(y, *parameters).sum(axis=-1))
    expected = np.log(joint.mean(axis=0))
    p = kind(outputs, likelihood)
    np.testing.assert_allclose(p.log_prob(y), expected, rtol=1e-9)
    assert p.nll(y) == pytest.approx(-expected.mean(), rel=1e-9)
    if num_targets == 1:
        np.testing.assert_allclose(p.log_prob(y[:, 0]), expected, rtol=1e-9)


def test_log_prob_of_categories():
    p = categories((7, 5, 3))
    labels = np.array([0, 2, 1, 1, 0])
    probabilities = special.softmax(p.outputs, axis=-1).mean(axis=0)
    expected = np.log(probabilities[np.arange(5), labels])
    for y in (labels, labels[:, None], np.eye(3)[labels]):
        np.testing.assert_allclose(p.log_prob(y), expected, rtol=1e-9)


def test_log_prob_far_out_does_not_underflow():
    p = normals((4, 2, 1), scale=1.0)
    far = np.array([1e3, -1e4])
    parts = stats.norm.logpdf(far, p.outputs[..., 0])
    expected = special.logsumexp(parts, axis=0) - np.log(4)
    np.testing.assert_allclose(p.log_prob(far), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (slice(3, 7), [3, 4, 5, 6]),
        (slice(None, None, 4), [0, 4, 8]),
        (np.arange(9) % 4 == 1, [1, 5]),
        ([8, 2], [8, 2]),
        (5, [5]),
        (np.int64(-1), [8]),
        (slice(0, 0), []),
    ],
)
def test_slices_are_predictions_of_those_rows(rows, expected):
    p = normals((6, 9, 4))
    part = p[rows]
    assert type(part) is RegressionPredictive
    assert part.likelihood is p.likelihood
    assert (len(part), part.num_samples) == (len(expected), 6)
    np.testing.assert_array_equal(part.outputs, p.outputs[:, expected])
    np.testing.assert_allclose(part.mean, p.mean[expected])
    np.testing.assert_allclose(part.quantile(0.3), p.quantile(0.3)[expected])
    assert len(part.to_dict()["mean_0"]) == len(expected)


def test_rows_out_of_range_raise():
    with pytest.raises(IndexError):
        normals((6, 9, 2))[9]


def test_to_dict_names_targets_if_there_are_several():
    one, two = normals((6, 9, 2)), normals((6, 9, 4))
    assert list(one.to_dict()) == [
        "mean",
        "stddev",
        "epistemic_stddev",
        "aleatoric_stddev",
        "lower_90",
        "upper_90",
    ]
    np.testing.assert_array_equal(one.to_dict()["mean"], one.mean[:, 0])
    assert list(two.to_dict()) == [
        *(f"{name}_0" for name in one.to_dict()),
        *(f"{name}_1" for name in one.to_dict()),
    ]
    lower, upper = two.interval(0.9)
    np.testing.assert_allclose(two.to_dict()["lower_90_0"], lower[:, 0])
    np.testing.assert_allclose(two.to_dict()["upper_90_1"], upper[:, 1])
    np.testing.assert_allclose(
        two.to_dict()["epistemic_stddev_1"] ** 2, two.epistemic_variance[:, 1]
    )


def test_to_dict_of_categories():
    columns = categories((6, 9, 3)).to_dict()
    assert list(columns) == [
        "label",
        "probability",
        "predictive_entropy",
        "expected_entropy",
        "mutual_information",
    ]
    assert all(values.shape == (9,) for values in columns.values())


def test_to_pandas_has_the_columns_of_to_dict():
    pandas = pytest.importorskip("pandas")
    p = normals((6, 9, 4))
    frame = p.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert len(frame) == 9
    for name, values in p.to_dict().items():
        np.testing.assert_array_equal(frame[name], values)


@pytest.mark.parametrize(
    ("p", "head"),
    [
        (
            normals((6, 9, 2)),
            "Predictive: Normal regression, 9 rows, 6 draws",
        ),
        (
            categories((6, 2, 3)),
            "Predictive: Categorical classification, 2 rows, 6 draws",
        ),
        (
            ClassificationPredictive(
                np.zeros((3, 7, 1)), likelihoods.Bernoulli()
            ),
            "Predictive: Bernoulli classification, 7 rows, 3 draws",
        ),
        (
            normals((6, 0, 2)),
            "Predictive: Normal regression, 0 rows, 6 draws",
        ),
    ],
)
def test_repr_is_a_short_table(p, head):
    lines = repr(p).split("\n")
    assert lines[0] == f"{head}; nll is per row"
    assert lines[1].split() == list(p.to_dict())
    assert len(lines) == 2 + min(len(p), 5) + (len(p) > 5)
    for row in range(min(len(p), 5)):
        found = [float(number) for number in lines[2 + row].split()]
        expected = [values[row] for values in p.to_dict().values()]
        np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_repr_leaves_out_what_a_screen_does_not_hold():
    p = normals((6, 9, 8))  # of four targets
    *lines, last = repr(p).split("\n")
    shown = lines[1].split()
    assert max(map(len, lines)) <= 100
    assert shown == list(p.to_dict())[: len(shown)]
    assert last == f"  ... (and {24 - len(shown)} more columns)"


@pytest.mark.parametrize("rows_at_once", [1, 4])
@pytest.mark.parametrize(
    ("p", "y"),
    [
        (normals((5, 9, 4)), np.linspace(-2, 2, 18).reshape(9, 2)),
        (
            RegressionPredictive(
                np.linspace(-1, 3, 45).reshape(5, 9, 1), likelihoods.Poisson()
            ),
            np.arange(9),
        ),
        (categories((5, 9, 3)), np.arange(9) % 3),
    ],
    ids=["normal", "poisson", "categorical"],
)
def test_chunks_of_rows_do_not_change_results(monkeypatch, p, y, rows_at_once):
    def results():
        fresh = type(p)(p.outputs, p.likelihood)  # Moments are kept.
        return {
            "mean": fresh.mean,
            "variance": fresh.variance,
            "log_prob": fresh.log_prob(y),
            **fresh.to_dict(),
            **fresh.evaluate(y),
        }

    whole = results()
    per_row = p.num_samples * p.outputs.shape[-1]
    monkeypatch.setattr(base, "_CHUNK", per_row * rows_at_once)
    for name, values in results().items():
        np.testing.assert_allclose(values, whole[name], rtol=1e-9, err_msg=name)


def test_samples_have_the_shapes():
    assert normals((6, 9, 4)).sample(5).shape == (5, 9, 2)
    assert normals((6, 9, 3, 4)).sample(5).shape == (5, 9, 3, 2)
    labels = categories((6, 9, 3)).sample(50)
    assert labels.shape == (50, 9)
    assert set(np.unique(labels)) == {0, 1, 2}


def test_seeds_reproduce_samples():
    p = normals((6, 9, 4))
    np.testing.assert_array_equal(p.sample(5, seed=3), p.sample(5, seed=3))
    assert np.all(p.sample(5, seed=3) != p.sample(5, seed=4))
    assert np.all(p.sample(5) != p.sample(5))


def test_a_sample_is_one_draw_of_the_weights_for_all_rows():
    """Rows of draws that rise together do so in samples: false alarm 1e-6."""
    draw = np.random.default_rng(0).standard_normal((500, 1, 1))
    slopes = np.array([1.0, 2.0, -3.0])[:, None]
    noiseless = RegressionPredictive(
        draw * slopes, likelihoods.Normal(scale=1e-6)
    )
    samples = noiseless.sample(2000, seed=0)[..., 0]
    assert_correlation(samples[:, 0], samples[:, 1], 1)
    assert_correlation(samples[:, 0], samples[:, 2], -1)
    # All draws come up: the values are those of 500, most of them taken.
    assert len(np.unique(np.round(samples[:, 0], 3))) > 400


def test_noise_of_samples_is_independent_between_rows_and_targets():
    p = normals((1, 2, 4))
    samples = p.sample(5000, seed=0).reshape(5000, 4)
    for i in range(4):
        for j in range(i):
            assert_correlation(samples[:, i], samples[:, j], 0)


def test_samples_have_the_mixture_moments():
    """False alarms 1e-6 for each moment, where 40 000 draws are normal."""
    p = normals((8, 3, 4))
    samples = p.sample(40_000, seed=0).reshape(40_000, 6)
    mean, variance = p.mean.ravel(), p.variance.ravel()
    for i in range(6):
        assert_mean(samples[:, i], mean[i])
        assert_mean((samples[:, i] - mean[i]) ** 2, variance[i])


@pytest.mark.parametrize("num_samples", [0, -1, 2.5, None])
def test_bad_numbers_of_samples_raise(num_samples):
    with pytest.raises(ValueError, match="`num_samples` must be a positive"):
        normals((6, 9, 2)).sample(num_samples)


@pytest.mark.parametrize("shape", [(4,), (4, 2)])
def test_outputs_without_draws_raise(shape):
    with pytest.raises(ValueError, match="axes draws, rows and outputs"):
        RegressionPredictive(np.zeros(shape), likelihoods.Normal())


def test_outputs_that_do_not_fit_the_likelihood_raise():
    with pytest.raises(ValueError, match="not a multiple of 2"):
        normals((6, 9, 3))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.full(9, np.nan), "must hold finite numbers, not NaN"),
        (np.full(9, -np.inf), "must hold finite numbers, not NaN"),
        (np.zeros(8), "one row for each of the 9 predicted rows"),
        (0.0, "one row for each of the 9 predicted rows"),
        (np.zeros((9, 2)), r"describes 1 target\(s\) per row"),
        (np.zeros((9, 1, 1)), r"describes 1 target\(s\) per row"),
    ],
)
@pytest.mark.parametrize(
    "method", ["log_prob", "evaluate", "crps", "pit", "cdf", "rmse", "coverage"]
)
def test_bad_targets_raise(method, y, message):
    with pytest.raises(ValueError, match=message):
        getattr(normals((6, 9, 2)), method)(y)


@pytest.mark.parametrize(
    ("p", "bad", "message"),
    [
        (categories((6, 2, 3)), 3, "labels from 0 to 2 for 3 outputs"),
        (categories((6, 2, 3)), -1, "labels from 0 to 2"),
        (
            ClassificationPredictive(
                np.zeros((6, 2, 1)), likelihoods.Bernoulli()
            ),
            2,
            "labels 0 or 1",
        ),
        (
            RegressionPredictive(np.zeros((6, 2, 1)), likelihoods.Poisson()),
            -1,
            "counts, 0 or more",
        ),
    ],
)
def test_targets_out_of_range_raise(p, bad, message):
    for method in (p.log_prob, p.evaluate):
        with pytest.raises(ValueError, match=rf"{message}.*\[{bad}\]"):
            method([0, bad])
