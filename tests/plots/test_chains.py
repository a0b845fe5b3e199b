import matplotlib.figure
import matplotlib.pyplot
import numpy as np
import pytest

from tfpbnn import plots
from tfpbnn.diagnostics import convergence

RNG = np.random.default_rng(0)
DRAWS = {
    "scale": RNG.gamma(1.0, size=(3, 40)),
    "f": RNG.normal(size=(3, 40, 2)),
}
X, Y = np.linspace(1, -1, 20), RNG.normal(size=(20, 1))
PREDICTIONS = RNG.normal(size=(3, 40, 20, 1))


def drawn(figure):
    assert isinstance(figure, matplotlib.figure.Figure)
    figure.draw_without_rendering()
    assert not matplotlib.pyplot.get_fignums()  # none stays in pyplot's list
    return [ax for ax in figure.axes if ax.get_visible()]


def test_trace():
    axes = drawn(plots.trace(DRAWS, title="chains"))
    assert len(axes) == 6
    titles = [ax.get_title() for ax in axes[::2]]
    assert titles == ["scale", "f[0]", "f[1]"]
    found = [line.get_ydata() for line in axes[1].lines]
    np.testing.assert_array_equal(found, DRAWS["scale"])
    assert len(drawn(plots.trace(DRAWS, ["f"], max_elements=1))) == 2


def test_rank():
    (ax,) = drawn(plots.rank(DRAWS, ["scale"]))
    counts = np.array([bar.get_height() for bar in ax.patches])
    bars = counts.reshape((3, -1))
    np.testing.assert_allclose(bars.sum(1), bars.sum(1)[0])


def test_pair():
    axes = drawn(plots.pair(DRAWS))
    assert len(axes) == 3
    points = axes[0].collections[0].get_offsets()
    np.testing.assert_allclose(points[:, 0], DRAWS["scale"].ravel())
    np.testing.assert_allclose(points[:, 1], DRAWS["f"][..., 0].ravel())


def test_divergences_are_marked():
    diverging = np.arange(120).reshape((3, 40)) % 10 == 0
    data = convergence.arviz().from_dict(
        posterior=DRAWS, sample_stats={"diverging": diverging}
    )
    (ax,) = drawn(plots.pair(data, ["f"]))
    (marks,) = ax.lines
    np.testing.assert_allclose(marks.get_xdata(), DRAWS["f"][..., 0][diverging])


def test_chain_predictions():
    (ax,) = drawn(plots.chain_predictions(PREDICTIONS, X, Y))
    means = [line.get_ydata() for line in ax.lines[:3]]
    np.testing.assert_allclose(means, PREDICTIONS.mean(1)[:, ::-1, 0])
    edges = ax.collections[1].get_paths()[0].vertices[:, 1]
    low = np.percentile(PREDICTIONS[1, ..., 0], 5, axis=0)
    np.testing.assert_allclose(edges.min(), low.min())
    np.testing.assert_array_equal(ax.lines[3].get_xydata(), np.c_[X, Y])
    drawn(plots.chain_predictions(PREDICTIONS[..., 0]))


@pytest.mark.parametrize(
    ("plot", "message"),
    [
        (lambda: plots.trace(X), "`draws` must be arrays.*ndarray"),
        (lambda: plots.rank(DRAWS, ["g"]), r"`names` must be of.*\['g'\]"),
        (lambda: plots.pair(DRAWS, ["scale"]), "two numbers or more"),
        (lambda: plots.trace(DRAWS, max_elements=0), "max_elements=0"),
        (lambda: plots.trace(DRAWS, ax=[None]), "`ax` must be 3 x 2 axes"),
        (
            lambda: plots.chain_predictions(X),
            r"`predictions` must be of shape.*\(20,\)",
        ),
        (
            lambda: plots.chain_predictions(PREDICTIONS, X[:3]),
            r"`x` must have one number for each of the 20 rows.*\(3,\)",
        ),
        (
            lambda: plots.chain_predictions(PREDICTIONS, X, Y[:3]),
            r"`y` must have one number for each of the 20 rows",
        ),
    ],
)
def test_what_can_not_be_drawn(plot, message):
    with pytest.raises((TypeError, ValueError), match=message):
        plot()
