"""Scores of numbers, batch by batch, against those of all rows at once."""

import keras
import numpy as np
import pytest

from tfpbnn import likelihoods, metrics
from tfpbnn.metrics import streaming
from tfpbnn.prediction.results import RegressionPredictive

LIKELIHOODS = {
    "normal": likelihoods.Normal(),
    "adapted": likelihoods.Normal().rescale([30.0, 0.2], [500.0, -3.0]),
    "laplace": likelihoods.Laplace(scale=0.7),
    "student_t": likelihoods.StudentT(df=4.0),
    "mixture": likelihoods.MixtureNormal(2),
    "poisson": likelihoods.Poisson(),
}
SCORES = {
    "rmse": (streaming.RMSE, metrics.rmse),
    "coverage": (streaming.Coverage, metrics.coverage),
    "interval_score": (streaming.IntervalScore, metrics.interval_score),
    "crps": (streaming.CRPS, metrics.crps),
}
UNKNOWN = {("mixture", "interval_score"), ("poisson", "interval_score")}


def case(name, count=30):
    """Targets `[n, 2]`, outputs `[n, P]`, and weights of which some are 0."""
    rng = np.random.default_rng(0)
    likelihood = LIKELIHOODS[name]
    outputs = rng.normal(size=(count, likelihood.params_size(2)))
    outputs = outputs.astype("float32")
    y = likelihood.marginals(outputs).sample(seed=0).numpy()
    weights = rng.integers(0, 3, count).astype("float32")
    return y, outputs, weights


CASES = [
    (name, score)
    for name in LIKELIHOODS
    for score in SCORES
    if (name, score) not in UNKNOWN
]


@pytest.mark.parametrize(("name", "score"), CASES)
def test_batches_add_up_to_the_score_of_all_rows(name, score):
    y, outputs, weights = case(name)
    make, function = SCORES[score]
    p = RegressionPredictive(outputs[np.newaxis], LIKELIHOODS[name])
    metric = make(LIKELIHOODS[name])
    y[weights == 0] = 7.0
    for rows in (slice(0, 11), slice(11, 12), slice(12, None)):
        metric.update_state(y[rows], outputs[rows], weights[rows])
    expected = function(y, p, sample_weight=weights)
    assert float(metric.result()) == pytest.approx(expected, rel=2e-4)
    metric.reset_state()
    metric.update_state(y, outputs)
    assert float(metric.result()) == pytest.approx(function(y, p), rel=2e-4)


@pytest.mark.parametrize(("name", "score"), sorted(UNKNOWN))
def test_unknown_quantiles_are_an_error(name, score):
    y, outputs, _ = case(name)
    with pytest.raises(ValueError, match="of which TFP knows the quantiles"):
        SCORES[score][0](LIKELIHOODS[name]).update_state(y, outputs)


def test_a_likelihood_of_labels_or_none_is_an_error():
    with pytest.raises(
        ValueError, match="`likelihood` must be that of the mod"
    ):
        streaming.RMSE(None)
    metric = streaming.CRPS(likelihoods.Bernoulli())
    with pytest.raises(ValueError, match="`likelihood` must be one of numbers"):
        metric.update_state(np.ones((3, 1)), np.ones((3, 1)))


def test_in_fit_and_in_a_file(tmp_path):
    """With the units, a nominal level, weights and XLA."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 3)).astype("float32")
    y = 400 + 50 * x[:, :1] + rng.normal(size=(64, 1)).astype("float32")
    weights = rng.integers(0, 2, 64).astype("float32")
    likelihood = likelihoods.Normal().adapt(y)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(
        "adam",
        likelihood,
        weighted_metrics=[
            streaming.RMSE(likelihood),
            streaming.CRPS(likelihood),
            streaming.Coverage(likelihood, 0.5),
            streaming.IntervalScore(likelihood, 0.5),
        ],
        jit_compile=True,
    )
    model.fit(x, y, sample_weight=weights, batch_size=16, verbose=0)
    path = tmp_path / "model.keras"
    model.save(path)
    p = RegressionPredictive(model.predict(x, verbose=0)[None], likelihood)
    expected = {
        "rmse": metrics.rmse(y, p, weights),
        "crps": metrics.crps(y, p, sample_weight=weights),
        "coverage": metrics.coverage(y, p, None, weights, nominal=0.5),
        "interval_score": metrics.interval_score(
            y, p, nominal=0.5, sample_weight=weights
        ),
    }
    found = keras.models.load_model(path).evaluate(
        x, y, sample_weight=weights, verbose=0, return_dict=True
    )
    found = {name: found[name] for name in expected}
    assert found == pytest.approx(expected, rel=1e-3)
