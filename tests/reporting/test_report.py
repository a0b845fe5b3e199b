"""Pages: numbers against `metrics`, and words against what is so."""

import html.parser
import shutil
import subprocess

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tfpbnn import likelihoods, metrics
from tfpbnn.prediction.results import (
    ClassificationPredictive,
    RegressionPredictive,
)

RNG = np.random.default_rng(0)
N = 400
LOGITS = 2 * RNG.normal(size=(1, N, 3)) + 0.3 * RNG.normal(size=(40, N, 3))
LABELS = np.array(
    [RNG.choice(3, p=p) for p in tf.nn.softmax(LOGITS[0]).numpy()]
)
# The mean, and a raw scale of standard deviation 1.
OUTPUTS = np.concatenate(
    [
        RNG.normal(size=(1, N, 1)) + 0.1 * RNG.normal(size=(40, N, 1)),
        np.full((40, N, 1), np.log(np.expm1(1))),
    ],
    axis=-1,
)
Y = OUTPUTS[0, :, 0] + RNG.normal(size=N)


def of_labels(sharpness=1.0):
    return ClassificationPredictive(
        sharpness * LOGITS, likelihoods.Categorical()
    )


def of_numbers(spread=1.0):
    """Its standard deviation is `spread` times what is right."""
    outputs = OUTPUTS.copy()
    outputs[..., 1] = np.log(np.expm1(spread))
    return RegressionPredictive(outputs, likelihoods.Normal())


PREDICTIONS = {"labels": (of_labels(), LABELS), "numbers": (of_numbers(), Y)}


def made(tmp_path, p, y, **options):
    options = {
        "n_boot": 50,
        "verbose": 0,
        "path": tmp_path / "r.html",
    } | options
    return tfpbnn.report(p, None, y, **options)


@pytest.mark.parametrize("kind", sorted(PREDICTIONS))
def test_scores_are_those_of_metrics(kind, tmp_path):
    p, y = PREDICTIONS[kind]
    weights = RNG.integers(0, 3, N).astype(float)
    found = made(tmp_path, p, y, x_ood=p[:100], sample_weight=weights)
    scores = {name: s.value for name, s in found.scores[""].items()}
    assert scores.pop("NLL") == pytest.approx(p.nll(y, weights))
    assert scores.pop("AUROC of other data") == pytest.approx(0.5, abs=0.1)
    expected = (
        {
            "Accuracy": metrics.accuracy(y, p, weights),
            "ECE": metrics.ece(y, p, sample_weight=weights),
        }
        if kind == "labels"
        else {
            "CRPS": metrics.crps(y, p, sample_weight=weights),
            "RMSE": metrics.rmse(y, p, weights),
        }
    )
    for name, value in expected.items():
        assert scores[name] == pytest.approx(value)
        assert scores[name].lower <= value <= scores[name].upper


def test_monte_carlo_errors_are_those_of_other_draws(tmp_path):
    """Within a factor that chi-squares of 9 and 59 degrees pass once in 10^5.

    (The sd of both estimates: a ratio of 0.28 to 1.9 for the root.)
    """
    draws = LOGITS[0] + RNG.normal(size=(2400, N, 3))

    def predictive(start):
        some = draws[start : start + 40]
        return ClassificationPredictive(some, likelihoods.Categorical())

    found = made(tmp_path, predictive(0), LABELS).scores[""]["NLL"].error
    each = [predictive(start).nll(LABELS) for start in range(0, 2400, 40)]
    assert 0.28 < found / np.std(each, ddof=1) < 1.9


@pytest.mark.parametrize(
    ("p", "y", "word"),
    [
        (of_labels(), LABELS, None),
        (of_labels(3.0), LABELS, "overconfident"),
        (of_labels(0.3), LABELS, "underconfident"),
        (of_numbers(), Y, None),
        (of_numbers(0.6), Y, "overconfident"),
        (of_numbers(2.0), Y, "underconfident"),
    ],
    ids=[
        f"{kind}-{word}"
        for kind in ("labels", "numbers")
        for word in ("right", "sharp", "wide")
    ],
)
def test_wrong_confidence_is_said_and_right_one_is_not(p, y, word, tmp_path):
    said = " ".join(made(tmp_path, p, y).warnings[""])
    words = {w for w in ("overconfident", "underconfident") if w in said}
    assert words == ({word} if word else set())


def off(p, y):
    """What the page says of a prediction's confidence, if it is wrong."""
    from tfpbnn.reporting import findings, scoring
    from tfpbnn.reporting.section import Section

    section, scores = Section("", p, y, None, None, None), {}
    for kind in scoring.OF_NUMBERS:
        if not section.is_labels and kind.name.startswith("Cov"):
            value = kind.function(section, n_boot=10, seed=0)
            scores[kind.name] = scoring.Score(kind, value, None)
    return findings._off(section, scores)


def test_a_right_prediction_is_seldom_called_wrong(tmp_path):
    """At most 1 in 20 is; 8 or more of 60 would be 1 in 40,000 (binomial)."""
    wrong, p = 0, of_numbers()
    for seed in range(60):
        y = OUTPUTS[0, :, 0] + np.random.default_rng(seed).normal(size=N)
        wrong += bool(off(p, y))
    assert wrong < 8


def test_chance_is_that_of_rows_and_of_what_was_said():
    """All of 80 labels are right in 45 of 100 sets, if 99 % are.

    And the pixels of an image go together.
    """
    sure = np.zeros((2, 80, 2))
    sure[..., 0] = np.log(99)
    images = np.zeros((2, 20, 30, 2))
    wide = images.copy()
    images[..., 0] = np.log(4)
    wide[..., 1] = OUTPUTS[0, 0, 1]
    # Of 20 images 4 are expected to be wrong, and of bands 2.
    wrong = np.zeros((20, 30)) + (np.arange(20) < 6)[:, np.newaxis]
    far = np.where(np.arange(20) < 3, 9.0, 0.0)[:, np.newaxis, np.newaxis]
    labels, normal = likelihoods.Categorical(), likelihoods.Normal()
    for p, y in (
        (ClassificationPredictive(sure, labels), np.zeros(80, int)),
        (ClassificationPredictive(images, labels), wrong.astype(int)),
        (RegressionPredictive(wide, normal), far + np.zeros((20, 30, 1))),
    ):
        assert not off(p, y)


def test_draws_that_are_asked_for_are_those_that_make_a_difference():
    """They bring the error below the bound of rows, or that of the score."""
    from tfpbnn.reporting import findings, scoring

    value = metrics.Estimate(1.0, np.array([1.0, 1.0 + 1e-9]), [], [], 0.9)
    kind = scoring.OF_LABELS[0]
    noisy = {"Brier": scoring.Score(kind, value, 0.04)}
    section = type("Section", (), {"predictive": of_labels()})
    draws = 4 * section.predictive.num_samples
    assert f"Take {-(-draws // 10) * 10} " in findings._few_draws(
        section, noisy
    )


def test_warnings_of_rows_draws_and_other_data(tmp_path):
    few = ClassificationPredictive(
        2 * RNG.normal(size=(3, 30, 3)), likelihoods.Categorical()
    )
    found = made(tmp_path, few, LABELS[:30], x_ood=few)
    said = "\n".join(found.warnings[""])
    assert "There are 30 rows only" in said
    assert "3 draws are few: another seed would change" in said
    assert "It does not notice the other data" in said


@pytest.fixture(scope="module")
def model():
    """A network of two outputs, on inputs of two names, of which one learns."""
    keras.utils.set_random_seed(0)
    inputs = {name: keras.Input((2,), name=name) for name in ("a", "b")}
    x = keras.layers.Concatenate()(list(inputs.values()))
    x = tfpbnn.layers.DenseFlipout(6, activation="tanh", name="hidden")(x)
    outputs = {
        "level": tfpbnn.layers.DenseFlipout(2, name="level")(x),
        "kind": tfpbnn.layers.DenseFlipout(3, name="kind")(x),
    }
    model = tfpbnn.Model(inputs, outputs)
    model.compile(
        "adam",
        loss={
            "level": likelihoods.Normal(),
            "kind": likelihoods.Categorical(),
        },
    )
    return model


X = {name: RNG.normal(size=(50, 2)).astype("float32") for name in "ab"}
TARGETS = {"level": RNG.normal(size=50), "kind": RNG.integers(0, 3, 50)}


def data_of(form):
    if form == "arrays":
        return X, TARGETS
    return tf.data.Dataset.from_tensor_slices((X, TARGETS)).batch(16), None


@pytest.mark.parametrize("form", ["arrays", "dataset"])
def test_a_model_of_several_outputs(form, model, tmp_path):
    path = tmp_path / "new" / "r.html"
    found = tfpbnn.report(
        model,
        *data_of(form),
        x_ood={name: 9 * values for name, values in X.items()},
        path=path,
        num_samples=10,
        n_boot=20,
        verbose=0,
    )
    assert set(found.scores) == {"level", "kind"}
    expected = tfpbnn.evaluate(model, X, TARGETS, num_samples=10, seed=0)
    for name, score in (("level", "RMSE"), ("kind", "Accuracy")):
        value = found.scores[name][score].value
        assert value == pytest.approx(expected[f"{name}_{score.lower()}"])
    text = path.read_text()
    for part in (
        "Output level",
        "Output kind",
    ):
        assert part in text
    assert [p.name for p in path.parent.iterdir()] == ["r.html"]


def test_layers_that_stayed_at_the_prior_are_named(tmp_path):
    layers = [tfpbnn.layers.DenseFlipout(n, name=f"of_{n}") for n in (5, 2)]
    model = keras.Sequential([keras.Input((2,)), *layers])
    model.compile(loss=likelihoods.Normal())
    first = layers[0].kernel_posterior
    first.loc.assign(np.zeros((2, 5)))
    first.untransformed_scale.assign(np.full((2, 5), np.log(np.expm1(1))))
    found = tfpbnn.report(
        model,
        X["a"],
        TARGETS["level"],
        path=tmp_path / "r.html",
        num_samples=5,
        n_boot=10,
        verbose=0,
    )
    said = [w for w in found.warnings[""] if "stayed at the prior" in w]
    assert len(said) == 1
    assert said[0].startswith("5 of 5 units of of_5/kernel")


class Page(html.parser.HTMLParser):
    """Collects what a page would load, and checks that its tags close."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.loads += [v for k, v in attrs if k in ("src", "href")]
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("kind", sorted(PREDICTIONS))
def test_a_page_is_whole_and_loads_nothing(kind, tmp_path):
    p, y = PREDICTIONS[kind]
    names = ["<b>", "a & b", "c"] if kind == "labels" else None
    found = made(
        tmp_path, p, y, class_names=names, title="<script>alert(1)</script>"
    )
    page = Page(found.path.read_text())
    assert not page.open
    assert page.loads
    assert all(load.startswith("data:") for load in page.loads)
    assert "<script" not in found.path.read_text()
    assert str(found.path) in repr(found)


def test_masked_and_ignored_rows_are_left_out(tmp_path):
    mask = np.arange(N) % 3 > 0
    p = ClassificationPredictive(LOGITS, likelihoods.Categorical(), mask=mask)
    labels = np.where(mask, LABELS, -1)
    found = made(tmp_path, p, labels).scores[""]
    expected = made(tmp_path, of_labels()[mask], LABELS[mask]).scores[""]
    for name, score in found.items():
        assert score.value == pytest.approx(expected[name].value), name


def test_a_failed_page_leaves_the_last_one(tmp_path, monkeypatch):
    path = tmp_path / "r.html"
    path.write_text("before")
    monkeypatch.setattr(
        "tfpbnn.reporting.page.render",
        lambda **_: (_ for _ in ()).throw(RuntimeError("full")),
    )
    with pytest.raises(RuntimeError, match="full"):
        made(tmp_path, *PREDICTIONS["numbers"])
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]
    assert path.read_text() == "before"


def test_bad_input(tmp_path):
    p, y = PREDICTIONS["labels"]
    with pytest.raises(ValueError, match="`y` must be the targets of the pred"):
        made(tmp_path, p, None)
    with pytest.raises(ValueError, match="`n_boot` must be a positive integer"):
        made(tmp_path, p, y, n_boot=0)
    with pytest.raises(ValueError, match="a name for each of the 3 classes"):
        made(tmp_path, p, y, class_names=["a"])
    one = np.arange(len(y)) == 2
    for rows in ((p[:1], y[:1], {}), (p, y, {"sample_weight": one})):
        with pytest.raises(ValueError, match=r"two rows or more .* 1$"):
            made(tmp_path, *rows[:2], **rows[2])


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_a_browser_shows_it_without_an_error(tmp_path):
    """No message in the console. (That it loads nothing is tested above.)"""
    found = made(tmp_path, *PREDICTIONS["labels"])
    result = subprocess.run(
        [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-sync",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom",
            found.path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "CONSOLE" not in result.stderr
    assert "Scores" in result.stdout
