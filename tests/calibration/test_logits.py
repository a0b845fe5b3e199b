"""Maps of logits, against searches by scipy and the numbers that made data."""

import numpy as np
import pytest
from scipy import optimize, special, stats

from tests.calibration import made
from tfpbnn import calibration, likelihoods
from tfpbnn.calibration import fitting


def nll(map_of, logits, y, weights=None):
    """The negative log-likelihood of a mixture over draws, in NumPy."""
    p = special.softmax(map_of(logits), axis=-1).mean(axis=0)
    return -np.average(np.log(p[np.arange(len(y)), y]), weights=weights)


def matrix_map(numbers, size):
    matrix = numbers[:-size].reshape(size, size)
    return lambda z: z @ matrix + numbers[-size:]


def odir(numbers, size, factor=0.01):
    matrix = numbers[:-size].reshape(size, size)
    off = np.sum(matrix**2) - np.sum(np.diag(matrix) ** 2)
    offsets = np.mean(numbers[-size:] ** 2)
    return factor * (off / (size * (size - 1)) + offsets)


def dirichlet_map(numbers, size):
    linear = matrix_map(numbers, size)
    return lambda z: linear(special.log_softmax(z, axis=-1))


# Name: the map by its numbers, where a search begins, and the penalty.
IDENTITY = np.concatenate([np.eye(3).ravel(), np.zeros(3)])
MAPS = {
    "Temperature": (lambda t: lambda z: z * np.exp(-t[0]), [0.0], None),
    "VectorScaling": (
        lambda t: lambda z: z * t[:3] + t[3:],
        [1.0, 1, 1, 0, 0, 0],
        None,
    ),
    "MatrixScaling": (lambda t: matrix_map(t, 3), IDENTITY, odir),
    "Dirichlet": (lambda t: dirichlet_map(t, 3), IDENTITY, odir),
}


@pytest.mark.parametrize("draws", [1, 4])
@pytest.mark.parametrize("name", MAPS)
def test_minimum_is_that_of_scipy(name, draws):
    map_of, start, penalty = MAPS[name]
    z, y = made.classes(150, factor=2.0, draws=draws)
    weights = np.random.default_rng(1).uniform(0.5, 2, len(y))

    def loss(t):
        value = nll(map_of(t), z, y, weights)
        return value if penalty is None else value + penalty(t, 3)

    best = optimize.minimize(loss, start, tol=1e-12, method="BFGS")
    found = getattr(calibration, name)()
    found.fit_arrays(z, y, weights)
    numbers = found.fitted["numbers"]
    assert loss(numbers) <= best.fun + 1e-9
    assert np.max(np.abs(optimize.approx_fprime(numbers, loss))) < 1e-5
    p = made.labels(z)
    assert found.transform(p).nll(y, weights) == pytest.approx(
        nll(map_of(numbers), z, y, weights), rel=1e-6
    )


@pytest.mark.parametrize("name", ["MatrixScaling", "Dirichlet"])
@pytest.mark.parametrize("penalty", [0.01, 0.0])
def test_searches_of_matrices_are_short(name, penalty, monkeypatch):
    """Though log-probabilities have a mean far from 0.

    Of 50,000 rows and 100 classes each step is half a second.
    """
    calls = []
    make = fitting._objective

    def counted(*arguments):
        objective = make(*arguments)
        return lambda at: calls.append(at) or objective(at)

    monkeypatch.setattr(fitting, "_objective", counted)
    z, y = made.classes(2000, 10, factor=2.0)
    z[0] += 0.3 * np.roll(z[0], 1, axis=-1)
    getattr(calibration, name)(penalty, penalty).fit_arrays(z, y)
    assert len(calls) < 60


def test_temperature_is_the_best_of_a_grid():
    z, y = made.classes(500, factor=3.0)
    found = calibration.Temperature().fit_arrays(z, y).temperature
    grid = np.exp(np.linspace(0, 2, 2001))
    best = grid[np.argmin([nll(lambda z, t=t: z / t, z, y) for t in grid])]
    assert found == pytest.approx(best, rel=2e-3)


def test_calibrated_models_are_found_calibrated_and_others_not():
    """The sum of squared errors is chi-square; false alarms are 1e-6."""
    count = 10
    errors = {1.0: [], 2.0: []}
    for factor, found in errors.items():
        for seed in range(count):
            z, y = made.classes(400, factor=factor, seed=seed)
            one = calibration.Temperature().fit_arrays(z, y)
            found.append((one.temperature - 1) / one.standard_error)
    low, high = stats.chi2.ppf([5e-7, 1 - 5e-7], count)
    assert low < np.sum(np.square(errors[1.0])) < high
    # That an overconfident model is missed has less than a chance of 1e-6.
    assert np.min(errors[2.0]) > 3


def test_known_temperature_is_recovered():
    z, y = made.classes(20000, factor=2.5)
    found = calibration.Temperature().fit_arrays(z, y)
    z_score = (found.temperature - 2.5) / found.standard_error
    assert abs(z_score) < stats.norm.isf(5e-7)


@pytest.mark.parametrize("name", [*MAPS, "Platt"])
def test_held_out_scores_are_better(name):
    z, y = made.classes(2000, factor=3.0)
    new_z, new_y = made.classes(2000, factor=3.0, seed=1)
    likelihood = likelihoods.Categorical()
    if name == "Platt":
        likelihood = likelihoods.Bernoulli()
        rng = np.random.default_rng(0)
        y, new_y = (
            (rng.uniform(size=a.shape[1:]) < special.expit(a[0] / 3)).astype(
                int
            )
            for a in (z, new_z)
        )
    found = getattr(calibration, name)().fit_arrays(z, y, None, likelihood)
    p = made.labels(new_z, likelihood)
    before, after = p.evaluate(new_y), found.transform(p).evaluate(new_y)
    assert after["nll"] < before["nll"] - 0.1
    assert after["brier"] < before["brier"]
    assert after["ece"] < before["ece"] / 2


def test_platt_is_the_minimum_of_smoothed_labels():
    rng = np.random.default_rng(0)
    z = 2 * rng.standard_normal((1, 200, 2))
    y = (rng.uniform(size=(200, 2)) < special.expit(z[0])).astype(int)
    found = calibration.Platt()
    found.fit_arrays(z, y, likelihood=likelihoods.Bernoulli())
    for label in range(2):
        hits = y[:, label].sum()
        soft = np.where(
            y[:, label], (hits + 1) / (hits + 2), 1 / (200 - hits + 2)
        )

        def loss(t, z=z[0, :, label], soft=soft):
            p = special.expit(t[0] * z + t[1])
            return -np.mean(soft * np.log(p) + (1 - soft) * np.log1p(-p))

        best = optimize.minimize(loss, [1.0, 0.0], tol=1e-12)
        numbers = [found.scales[label], found.offsets[label]]
        np.testing.assert_allclose(numbers, best.x, atol=1e-4)


def test_weights_are_rows_that_are_there_more_often():
    z, y = made.classes(100, factor=2.0)
    counts = np.random.default_rng(0).integers(0, 3, len(y))
    rows = np.repeat(np.arange(len(y)), counts)
    for name in ("Temperature", "MatrixScaling"):
        weighted = getattr(calibration, name)().fit_arrays(z, y, counts)
        repeated = getattr(calibration, name)().fit_arrays(z[:, rows], y[rows])
        np.testing.assert_allclose(
            weighted.fitted["numbers"], repeated.fitted["numbers"], atol=1e-4
        )


def test_probabilities_are_calibrated_as_their_logits():
    z, y = made.classes(300, factor=1.3)
    z = np.clip(z, -6, 6)  # probabilities below 1e-7 are taken for that
    p = special.softmax(z, axis=-1)
    by_p = likelihoods.Categorical(from_logits=False)
    for name in ("Temperature", "Dirichlet"):
        cls = getattr(calibration, name)
        a = cls().fit_arrays(z, y).transform(made.labels(z))
        found = cls().fit_arrays(p, y, likelihood=by_p)
        b = found.transform(made.labels(p, by_p))
        np.testing.assert_allclose(a.probabilities, b.probabilities, atol=1e-5)
    z = z[..., :1]
    y = (y == 0).astype(int)
    yes = likelihoods.Bernoulli(from_logits=False)
    a = calibration.Platt().fit_arrays(z, y, None, likelihoods.Bernoulli())
    b = calibration.Platt().fit_arrays(special.expit(z), y, None, yes)
    np.testing.assert_allclose(a.fitted["numbers"], b.fitted["numbers"], 1e-4)
    np.testing.assert_allclose(
        a.transform(made.labels(z, likelihoods.Bernoulli())).mean,
        b.transform(made.labels(special.expit(z), yes)).mean,
        atol=1e-6,
    )


def test_what_does_not_count_has_no_influence():
    """Masked steps, ignored labels and weights of 0, whatever is there."""
    z, y = made.classes(60, factor=2.0, places=(5,))
    mask = np.random.default_rng(0).uniform(size=y.shape) < 0.7
    flat = calibration.Temperature().fit_arrays(z[:, mask], y[mask])
    bad_z, bad_y = z.copy(), np.where(mask, y, 255)
    bad_z[:, ~mask] = np.nan
    ignoring = likelihoods.Categorical(ignore_class=255)
    masked = made.labels(bad_z, mask=mask)
    fits = [
        calibration.Temperature().fit(masked, bad_y),
        calibration.Temperature().fit(made.labels(bad_z, ignoring), bad_y),
        calibration.Temperature().fit(made.labels(bad_z), bad_y, mask * 2.0),
    ]
    for found in fits:
        assert found.temperature == pytest.approx(flat.temperature, rel=1e-6)
    soft = np.eye(3)[y]
    hot = calibration.Temperature().fit(made.labels(z), soft, mask)
    assert hot.temperature == pytest.approx(flat.temperature, rel=1e-6)


def all_right():
    z, _ = made.classes(50)
    return z, np.argmax(z[0], axis=-1)


BAD = {
    "no errors": (
        lambda: calibration.Temperature().fit_arrays(*all_right()),
        "some are predicted wrongly",
    ),
    "no errors of vectors": (
        lambda: calibration.VectorScaling().fit_arrays(*all_right()),
        "predicted wrongly|did not find",
    ),
    "chance": (
        lambda: calibration.Temperature().fit_arrays(
            made.classes(60)[0], made.classes(60, seed=3)[1]
        ),
        "better than by chance",
    ),
    "a class is missing": (
        lambda: calibration.VectorScaling().fit_arrays(
            made.classes(50)[0], made.classes(50)[1] % 2
        ),
        "labels of all 3 classes",
    ),
    "one row": (
        lambda: calibration.Temperature().fit_arrays([[1.0, 2.0]], [1]),
        "some are predicted wrongly",
    ),
    "labels out of range": (
        lambda: calibration.Temperature().fit_arrays([[1.0, 2.0]], [2]),
        "`y` must hold labels",
    ),
    "lengths": (
        lambda: calibration.Temperature().fit_arrays([[1.0, 2.0]], [1, 1]),
        "one row for each",
    ),
    "NaN": (
        lambda: calibration.Temperature().fit_arrays([[np.nan, 2.0]], [1]),
        "finite outputs",
    ),
    "numbers": (
        lambda: calibration.Temperature().fit(
            made.normal(made.numbers(5)[0]), np.zeros(5)
        ),
        "predictions of labels",
    ),
    "matrix of yes and no": (
        lambda: calibration.MatrixScaling().fit_arrays(
            [[1.0, 2.0]], [[1, 0]], likelihood=likelihoods.Bernoulli()
        ),
        "one label of K classes",
    ),
    "platt of classes": (
        lambda: calibration.Platt().fit_arrays([[1.0, 2.0]], [1]),
        "yes-or-no",
    ),
    "not fitted": (
        lambda: calibration.Temperature().transform(
            made.labels(made.classes(5)[0])
        ),
        "fitted on held-out data first",
    ),
    "no temperature": (
        lambda: calibration.Temperature().temperature,
        "must be fitted to have",
    ),
    "other classes": (
        lambda: (
            calibration.VectorScaling()
            .fit_arrays(*made.classes(100))
            .transform(made.labels(made.classes(5, 4)[0]))
            .mean
        ),
        "as many logits as it was fitted to, 3",
    ),
    "a draw's map over the mixture's": (
        lambda: calibration.Temperature().fit(
            calibration.Isotonic()
            .fit_arrays(*made.classes(100))
            .transform(made.labels(made.classes(100)[0])),
            made.classes(100)[1],
        ),
        r"fitted before calibrators .* by Isotonic\(\)\. Fit it to the raw",
    ),
    "over another": (
        lambda: (
            calibration.Isotonic()
            .fit_arrays(*made.classes(100))
            .transform(
                calibration.Temperature()
                .fit_arrays(*made.classes(100))
                .transform(made.labels(made.classes(100)[0]))
            )
        ),
        r"must be raw, .*by Temperature\(\), where that in `fit` had none",
    ),
    "probabilities for logits": (
        lambda: calibration.Temperature().fit_arrays(
            special.softmax(made.classes(60)[0], -1), made.classes(60)[1]
        ),
        "`outputs` must be logits",
    ),
    "logits for probabilities": (
        lambda: calibration.Temperature().fit_arrays(
            *made.classes(60),
            likelihood=likelihoods.Categorical(from_logits=False),
        ),
        "outputs that are probabilities",
    ),
    "penalty": (
        lambda: calibration.MatrixScaling(off_diagonal=-1.0),
        "`off_diagonal` must be",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, words = BAD[name]
    with pytest.raises(ValueError, match=words):
        call()
