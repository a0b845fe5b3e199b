"""Figures of scores, against the numbers of `metrics` and loops."""

import matplotlib.figure
import numpy as np
import pytest

from tfpbnn import likelihoods, metrics, plots
from tfpbnn.prediction.results import (
    ClassificationPredictive,
    RegressionPredictive,
)

RNG = np.random.default_rng(0)
NUMBERS = RegressionPredictive(
    RNG.normal(size=(20, 60, 2)), likelihoods.Normal()
)
CLASSES = ClassificationPredictive(
    RNG.normal(size=(20, 60, 3)), likelihoods.Categorical()
)
Y = RNG.normal(size=60)
LABELS = RNG.integers(0, 3, 60)
WEIGHTS = RNG.integers(0, 3, 60).astype(float)
HISTORY = {"loss": [3.0, 2.0], "kl": [8.0, 4.0], "kl_weight": [0.1, 0.1]}
# Each with the arguments that it is to be called with.
FIGURES = {
    "calibration_curve": (NUMBERS, Y),
    "confusion_by_confidence": (CLASSES, LABELS),
    "elbo": (HISTORY,),
    "error_by_stddev": (NUMBERS, Y),
    "event_calibration": (CLASSES, LABELS),
    "fan_chart": (NUMBERS,),
    "kl_by_layer": ({"dense": 3.0},),
    "out_of_distribution": (CLASSES, CLASSES[:20]),
    "pit_histogram": (NUMBERS, Y),
    "reliability_diagram": (CLASSES, LABELS),
    "risk_coverage": (CLASSES, LABELS),
    "variance_split": (NUMBERS,),
    "weight_posteriors": ({"kernel": (np.ones(3), np.ones(3))},),
}
WITH_TARGETS = [
    "calibration_curve",
    "confusion_by_confidence",
    "error_by_stddev",
    "event_calibration",
    "pit_histogram",
    "reliability_diagram",
    "risk_coverage",
]


def drawn(figure):
    """Lists the numbers in a figure: lines, bars and bands."""
    figure.draw_without_rendering()
    found = []
    for ax in figure.axes:
        found += [np.stack(line.get_data()) for line in ax.lines]
        found += [np.array([p.get_height(), p.get_x()]) for p in ax.patches]
        found += [
            path.vertices
            for part in ax.collections
            for path in part.get_paths()
        ]
        found += [np.asarray(image.get_array()) for image in ax.images]
    return found


def same(first, second):
    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_a_figure_has_names_and_keeps_the_title(name):
    figure = getattr(plots, name)(*FIGURES[name], title="a title")
    assert isinstance(figure, matplotlib.figure.Figure)
    figure.draw_without_rendering()
    assert figure.axes[0].get_xlabel()
    titles = [ax.get_title() for ax in figure.axes] + [figure.get_suptitle()]
    assert "a title" in titles
    for ax in figure.axes:
        legend = ax.get_legend()
        if legend is not None:  # it is below the axes, where no data are
            assert legend.get_window_extent().y1 <= ax.bbox.y0


@pytest.mark.parametrize("name", WITH_TARGETS)
def test_rows_of_weight_0_are_left_out(name):
    """And it does not matter what their targets are."""
    p, y = FIGURES[name]
    plot, counts = getattr(plots, name), WEIGHTS > 0
    changed = np.where(counts, y, np.max(y))
    found = plot(p, changed, sample_weight=counts)
    same(drawn(found), drawn(plot(p[counts], y[counts])))


@pytest.mark.parametrize("name", WITH_TARGETS)
def test_masked_places_are_left_out(name):
    p, y = FIGURES[name]
    plot, mask = getattr(plots, name), WEIGHTS > 0
    masked = type(p)(p.outputs, p.likelihood, mask=mask)
    same(drawn(plot(masked, y)), drawn(plot(p[mask], y[mask])))


def test_masked_rows_have_no_variance():
    mask = WEIGHTS > 0
    masked = RegressionPredictive(
        NUMBERS.outputs, NUMBERS.likelihood, mask=mask
    )
    figures = plots.variance_split(masked), plots.variance_split(NUMBERS[mask])
    same(*map(drawn, figures))


def test_event_calibration():
    ax, bars = plots.event_calibration(
        CLASSES, LABELS, event=2, num_bins=4
    ).axes
    p = CLASSES.probabilities[:, 2]
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    bins = [b for b in range(4) if np.any((p * 4).astype(int) == b)]
    assert len(dots) == len(bins)
    for dot, b in zip(dots, bins, strict=True):
        inside = (p * 4).astype(int) == b
        np.testing.assert_allclose(dot.get_xdata(), [p[inside].mean()])
        share = np.mean(LABELS[inside] == 2)
        np.testing.assert_allclose(dot.get_ydata(), [share])
    assert sum(bar.get_height() for bar in bars.patches) == 60


def test_confusion_by_confidence():
    figure = plots.confusion_by_confidence(CLASSES, LABELS, threshold=0.5)
    sure = CLASSES.probabilities.max(axis=-1) >= 0.5
    for ax, rows in zip(figure.axes, [sure, ~sure], strict=True):
        found = np.zeros((3, 3))
        for text in ax.texts:
            column, row = text.get_position()
            found[row, column] = float(text.get_text())
        expected = np.zeros((3, 3))
        for label, predicted in zip(
            LABELS[rows], CLASSES.labels[rows], strict=True
        ):
            expected[label, predicted] += 1
        np.testing.assert_array_equal(found, expected)


def test_pit_histogram():
    figure = plots.pit_histogram(NUMBERS, Y, num_bins=5)
    heights = [p.get_height() for p in figure.axes[0].patches[1:]]
    expected, _ = np.histogram(NUMBERS.pit(Y), 5, (0, 1), density=True)
    np.testing.assert_allclose(heights, expected)


def test_error_by_stddev():
    figure = plots.error_by_stddev(NUMBERS, Y, num_bins=3)
    dots, diagonal, line = figure.axes[0].lines
    stddev, error = NUMBERS.stddev[:, 0], np.abs(Y - NUMBERS.mean[:, 0])
    np.testing.assert_allclose(dots.get_data(), [stddev, error])
    np.testing.assert_array_equal(*diagonal.get_data())
    lowest = np.argsort(stddev)[:20]
    np.testing.assert_allclose(
        [line.get_xdata()[0], line.get_ydata()[0]],
        [
            np.sqrt(np.mean(stddev[lowest] ** 2)),
            np.sqrt(np.mean(error[lowest] ** 2)),
        ],
    )


def test_risk_coverage_is_that_of_metrics():
    figure = plots.risk_coverage(CLASSES, LABELS, by="mutual_information")
    line, best, level = figure.axes[0].lines
    curve = metrics.risk_coverage_curve(
        LABELS, CLASSES, by="mutual_information"
    )
    np.testing.assert_allclose(line.get_data(), curve[:2])
    # The best order keeps what is right first.
    wrong = np.mean(CLASSES.labels != LABELS)
    np.testing.assert_allclose(best.get_data()[1][[0, -1]], [0, wrong])
    np.testing.assert_allclose(level.get_ydata(), wrong)
    several = plots.risk_coverage(dict.fromkeys("abcdefgh", CLASSES), LABELS)
    texts = [t.get_text() for t in several.axes[0].get_legend().get_texts()]
    assert texts == list("abcdefgh")
    looks = {
        (line.get_color(), line.get_linestyle())
        for line in several.axes[0].lines
    }
    assert len(looks) == 8


def test_out_of_distribution_is_that_of_metrics():
    other = RNG.normal(size=40) + 1
    figure = plots.out_of_distribution(Y, other)
    label = figure.axes[1].get_legend().get_texts()[1].get_text()
    auroc = np.mean(other[:, None] > Y)
    assert label == f"AUROC {auroc:.3f}"
    assert metrics.auroc(*metrics.in_and_out(Y, other)) == pytest.approx(auroc)


def test_fan_chart():
    figure = plots.fan_chart(
        NUMBERS, np.arange(60) * 2, Y, history=[1.0, 2.0], levels=[0.5, 0.9]
    )
    ax = figure.axes[0]
    median, before, observed = ax.lines
    np.testing.assert_allclose(median.get_ydata(), NUMBERS.quantile(0.5)[:, 0])
    np.testing.assert_allclose(before.get_xdata(), [-4, -2])
    np.testing.assert_allclose(observed.get_ydata(), Y)
    steps = RegressionPredictive(
        NUMBERS.outputs.reshape(20, 2, 30, 2), NUMBERS.likelihood
    )
    params = NUMBERS.outputs.reshape(20, 2, 30, 2)
    targets = RegressionPredictive(
        np.concatenate([params[..., 0], params[..., 1]], axis=-1),
        NUMBERS.likelihood,
    )
    for of_rows in (steps, targets):
        line = plots.fan_chart(of_rows, row=1).axes[0].lines[0]
        right = NUMBERS.quantile(0.5)[30:, 0]
        np.testing.assert_allclose(line.get_ydata(), right, rtol=1e-5)
    for given, row in [(steps, None), (targets[:1], None), (NUMBERS, 3)]:
        with pytest.raises(ValueError, match="must have two steps or more"):
            plots.fan_chart(given, row=row)
    with pytest.raises(ValueError, match=r"each of the 60 steps\. Received: 3"):
        plots.fan_chart(NUMBERS, y=np.zeros(3))


def test_elbo():
    bound, likelihood, kl = plots.elbo(HISTORY).axes[0].lines
    np.testing.assert_allclose(bound.get_ydata(), [-3, -2])
    np.testing.assert_allclose(
        likelihood.get_ydata() + kl.get_ydata(), bound.get_ydata()
    )
    np.testing.assert_allclose(kl.get_ydata(), [-0.8, -0.4])
    with pytest.raises(ValueError, match=r"without \['kl', 'kl_weight'\]"):
        plots.elbo({"loss": [1.0]})


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ("error_by_stddev(CLASSES, LABELS)", TypeError, "a regression predict"),
        (
            "event_calibration(NUMBERS, Y)",
            TypeError,
            "a classification predict",
        ),
        ("event_calibration(CLASSES, LABELS, event=3)", ValueError, "0 to 2"),
        (
            "confusion_by_confidence(CLASSES, LABELS, class_names='ab')",
            ValueError,
            "each of the 3 classes",
        ),
        ("kl_by_layer([1.0])", TypeError, "KLs by the name"),
        ("weight_posteriors([1.0])", TypeError, "by the name of the weights"),
        (
            "weight_posteriors({'a': (np.ones(3), np.ones(2))})",
            ValueError,
            "as many standard deviations",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        eval(f"plots.{call}")
