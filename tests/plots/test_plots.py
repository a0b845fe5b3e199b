import keras
import matplotlib.figure
import numpy as np
import pytest

from tfpbnn import likelihoods, plots
from tfpbnn.prediction.results import (
    ClassificationPredictive,
    RegressionPredictive,
)

RNG = np.random.default_rng(0)
REGRESSION = RegressionPredictive(
    RNG.normal(size=(20, 30, 4)), likelihoods.Normal()
)
CLASSES = ClassificationPredictive(
    RNG.normal(size=(20, 30, 3)), likelihoods.Categorical()
)
Y = RNG.normal(size=(30, 2))
LABELS = RNG.integers(0, 3, 30)


def axes(figure):
    assert isinstance(figure, matplotlib.figure.Figure)
    figure.draw_without_rendering()
    (ax,) = figure.axes
    return ax


@pytest.mark.parametrize("x", [None, np.linspace(1, 0, 30)])
def test_predictive_band(x):
    ax = axes(plots.predictive_band(REGRESSION, x, Y, target=1))
    bands, (line, points) = ax.collections, ax.lines
    assert len(bands) == 2
    place = np.argsort(line.get_xdata()) if x is None else slice(None, None, -1)
    mean = REGRESSION.mean[:, 1]
    expected = np.sort(mean) if x is None else mean[place]
    np.testing.assert_allclose(line.get_ydata(), expected)
    assert set(points.get_ydata()) == set(Y[:, 1])
    # The outer band's edges are the ends of the 90 % intervals.
    edges = bands[0].get_paths()[0].vertices[:, 1]
    lower, upper = REGRESSION.interval(0.9)
    np.testing.assert_allclose(edges.max(), upper[:, 1].max())
    np.testing.assert_allclose(edges.min(), lower[:, 1].min())


def test_predictive_band_needs_an_x_per_row():
    with pytest.raises(ValueError, match="each of the 30 rows"):
        plots.predictive_band(REGRESSION, np.zeros(7))


def test_calibration_curve():
    ax = axes(plots.calibration_curve(REGRESSION, Y))
    observed = ax.lines[1]
    pit = REGRESSION.pit(Y)
    level = observed.get_xdata()[25]
    assert observed.get_ydata()[25] == np.mean(pit <= level)


def test_reliability_diagram():
    ax = axes(plots.reliability_diagram(CLASSES, LABELS, num_bins=5))
    confidence, right = CLASSES.confidence(LABELS)
    for bar in ax.patches:
        left = bar.get_x()
        inside = (confidence >= left) & (confidence < left + 0.2)
        np.testing.assert_allclose(bar.get_height(), right[inside].mean())
    with pytest.raises(ValueError, match="num_bins=0"):
        plots.reliability_diagram(CLASSES, LABELS, num_bins=0)


@pytest.mark.parametrize("kind", [REGRESSION, CLASSES])
def test_uncertainty_histogram(kind):
    ax = axes(plots.uncertainty_histogram({"a": kind, "b": kind[:9]}))
    labels = [t.get_text() for t in ax.get_legend().get_texts()]
    assert labels == ["a", "b"]
    areas = [
        sum(p.get_width() * p.get_height() for p in group)
        for group in ax.containers
    ]
    np.testing.assert_allclose(areas, 1.0)
    assert axes(plots.uncertainty_histogram(kind)).get_legend() is None


def test_weight_snr():
    snr = {"a/kernel": RNG.gamma(1.0, size=(40, 9)), "b/kernel": np.ones(4)}
    snr["a/kernel"][:10] = 0
    snr["b/kernel"][:] = 10.0
    figure = plots.weight_snr(snr, title="weights")
    ax, curve = figure.axes
    labels = [t.get_text() for t in ax.get_legend().get_texts()]
    assert labels == list(snr)
    # Pruned weights are missing from their layer's area. (Outlines run along
    # the bins and back along zero; a few small ratios are off the axis.)
    for patch, area in zip(ax.patches, (0.75, 1.0), strict=True):
        x, y = patch.get_xy().T
        found = np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2)
        np.testing.assert_allclose(found, area, atol=0.01)
    (line,) = curve.lines
    decibels, share = line.get_data()
    joined = np.concatenate([np.ravel(r) for r in snr.values()])
    for i in (0, 250, 499):
        above = np.mean(joined >= 10 ** (decibels[i] / 20) * (1 - 1e-9))
        np.testing.assert_allclose(share[i], above)
    np.testing.assert_allclose(decibels[-1], 20.0)


def test_weight_snr_of_many_layers():
    figure = plots.weight_snr({f"{i}/kernel": np.ones(3) for i in range(9)})
    labels = [t.get_text() for t in figure.axes[0].get_legend().get_texts()]
    assert labels == ["0/kernel", "8/kernel"]


@pytest.mark.parametrize("snr", [{}, {"a": np.zeros(3)}])
def test_weight_snr_of_nothing(snr):
    with pytest.raises(ValueError, match="`snr` must have ratios above 0"):
        plots.weight_snr(snr)


def test_weight_snr_of_a_model():
    match = r"as tfpbnn\.signal_to_noise\(model\) gives .* type Sequential"
    with pytest.raises(TypeError, match=match):
        plots.weight_snr(keras.Sequential())


@pytest.mark.parametrize(
    ("plot", "message"),
    [
        (lambda: plots.predictive_band(CLASSES), "regression.*Classification"),
        (
            lambda: plots.calibration_curve(CLASSES, LABELS),
            "regression.*Classification",
        ),
        (lambda: plots.calibration_curve(Y, REGRESSION), "Received: ndarray"),
        (
            lambda: plots.reliability_diagram(REGRESSION, Y),
            "classification.*RegressionPredictive",
        ),
        (lambda: plots.member_predictions(Y), "Received: ndarray"),
        (
            lambda: plots.member_predictions(REGRESSION, y=Y[:3]),
            r"`y` must have one row for each of the 30 rows.*\(3, 2\)",
        ),
    ],
)
def test_predictions_of_the_wrong_kind(plot, message):
    with pytest.raises((TypeError, ValueError), match=message):
        plot()


def test_given_axes_are_drawn_on():
    ax = matplotlib.figure.Figure().add_subplot()
    assert plots.calibration_curve(REGRESSION, Y, ax=ax) is ax.figure


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install tfpbnn\[plots\]"):
        plots.uncertainty_histogram(CLASSES)


def test_member_predictions():
    x = np.linspace(1, 0, 30)
    ax = axes(
        plots.member_predictions(REGRESSION, x, Y, max_members=7, target=1)
    )
    *members, mean, points = ax.lines
    assert len(members) == 7
    order = slice(None, None, -1)
    for number, line in enumerate(members):
        expected = REGRESSION.outputs[number, order, 1]
        np.testing.assert_allclose(line.get_ydata(), expected)
    np.testing.assert_allclose(mean.get_ydata(), REGRESSION.mean[order, 1])
    np.testing.assert_allclose(points.get_ydata(), Y[:, 1])
    ax = axes(plots.member_predictions(CLASSES, target=2))
    assert len(ax.lines) == 21
    with pytest.raises(ValueError, match=r"for each of the 30 rows.*: 3"):
        plots.member_predictions(REGRESSION, [1, 2, 3])


@pytest.mark.parametrize("p", [REGRESSION, CLASSES])
def test_draws_differ_by_the_epistemic_variance(p):
    assert p.draw_means.shape[:2] == (20, 30)
    np.testing.assert_allclose(p.draw_means.mean(0), p.mean)
    np.testing.assert_allclose(p.draw_means.var(0), p.epistemic_variance)


MASK = RNG.random((6, 5)) < 0.6
MASK[0, 0] = True


def of_steps(outputs, likelihood):
    """A prediction of padded steps, and one of the steps that count alone."""
    kind = RegressionPredictive
    if likelihood.is_classification:
        kind = ClassificationPredictive
    outputs[:, ~MASK] = 1e3
    return kind(outputs, likelihood, mask=MASK), kind(
        outputs[:, MASK], likelihood
    )


def lines(figure):
    return [np.array(line.get_xydata()) for line in axes(figure).lines]


def test_padded_places_are_in_no_figure():
    p, q = of_steps(RNG.normal(size=(9, 6, 5, 2)), likelihoods.Normal())
    y = np.where(MASK, RNG.normal(size=MASK.shape), np.nan)
    x = np.arange(30.0).reshape(6, 5)
    for plot in (plots.predictive_band, plots.member_predictions):
        for given in (None, x):
            found = lines(plot(p, given, y))
            expected = lines(
                plot(q, None if given is None else x[MASK], y[MASK])
            )
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_allclose(a, b)
    classes, kept = of_steps(
        RNG.normal(size=(9, 6, 5, 3)), likelihoods.Categorical()
    )
    labels = np.where(MASK, RNG.integers(0, 3, MASK.shape), -1)
    for plot, one, other, targets in (
        (plots.calibration_curve, p, q, y),
        (plots.reliability_diagram, classes, kept, labels),
    ):
        found, expected = (
            lines(plot(one, targets)),
            lines(plot(other, targets[MASK])),
        )
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b)
    for one, other in ((p, q), (classes, kept)):
        found, expected = (
            [bar.get_height() for bar in axes(figure).patches]
            for figure in map(plots.uncertainty_histogram, (one, other))
        )
        assert found == expected


def bars(figure):
    return [(bar.get_x(), bar.get_height()) for bar in axes(figure).patches]


WEIGHTED = {
    "curve": (plots.calibration_curve, likelihoods.Normal(), 2),
    "labels": (plots.reliability_diagram, likelihoods.Categorical(), 3),
    "yes_or_no": (plots.reliability_diagram, likelihoods.Bernoulli(), 1),
    "histogram": (plots.uncertainty_histogram, likelihoods.Normal(), 2),
    "information": (plots.uncertainty_histogram, likelihoods.Categorical(), 3),
}


@pytest.mark.parametrize("of_places", [False, True])
@pytest.mark.parametrize("name", WEIGHTED)
def test_a_weight_is_a_number_of_rows(name, of_places):
    """Rows of weight 2 stand there twice; those of 0 are not looked at."""
    plot, likelihood, size = WEIGHTED[name]
    kind = type(CLASSES if likelihood.is_classification else REGRESSION)
    rng = np.random.default_rng(3)
    outputs = rng.normal(size=(9, 6, 5, size))
    y = rng.integers(0, 2, (6, 5)).astype(float)
    shape = (6, 5) if of_places else (6,)
    weights = np.tile([2, 1, 0], np.prod(shape))[: np.prod(shape)]
    weights = weights.reshape(shape)
    counts = np.ravel(np.broadcast_to(weights.reshape(6, -1), (6, 5)))
    p, q = (
        kind(each, likelihood)
        for each in (
            outputs,
            np.repeat(outputs.reshape(9, 30, size), counts, axis=1),
        )
    )
    targets = [np.where(counts.reshape(6, 5) > 0, y, np.nan)]
    repeated = [np.repeat(y, counts)]
    if plot is plots.uncertainty_histogram:
        targets, repeated = [], []
    found = plot(p, *targets, sample_weight=weights)
    expected = plot(q, *repeated)
    np.testing.assert_allclose(bars(found), bars(expected))
    # The second line is the curve, or an interval, which is another.
    first = 1 if plot is plots.calibration_curve else 2
    for a, b in list(zip(lines(found), lines(expected), strict=True))[first::2]:
        np.testing.assert_allclose(a, b)


def test_weights_that_do_not_fit_are_refused():
    p = RegressionPredictive(RNG.normal(size=(4, 6, 2)), likelihoods.Normal())
    for weights, match in (
        (np.ones(5), r"one weight for each row.*\(5,\)"),
        (-np.ones(6), "0 or more"),
        (np.zeros(6), "a place that counts"),
    ):
        with pytest.raises(ValueError, match=match):
            plots.calibration_curve(p, np.zeros(6), sample_weight=weights)
    with pytest.raises(ValueError, match="by the names of the groups"):
        plots.uncertainty_histogram({"a": p}, sample_weight=np.ones(6))
