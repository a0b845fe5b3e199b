"""The code of README, docs and docstrings runs as it stands."""

import inspect
import os
import pathlib
import re
import textwrap

import keras
import numpy as np
import pytest

import tfpbnn
from tests.mcmc.drawn import posterior_of
from tests.test_architecture import public_classes, public_modules
from tfpbnn import families, likelihoods, priors
from tfpbnn.convert import counterparts

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^( *)```python\n(.*?)^\1```", re.DOTALL | re.MULTILINE)


SIBLING = re.compile(r"[Ss]ee\s`(\w+)`\.$")


def code_of(text):
    return [textwrap.dedent(m.group(2)) for m in FENCE.finditer(text)]


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto")
@pytest.mark.parametrize(
    "page",
    [p for p in PAGES if code_of(p.read_text())],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_page(page, scratch):
    """The blocks of one page run one after another."""
    code = "\n".join(code_of(page.read_text()))
    # A tenth of long trainings is enough to run all the rest.
    code = re.sub(r"epochs=([4-9]|\d+0)0\b", r"epochs=\1", code)
    exec(compile(code, str(page), "exec"), {"__name__": "page"})


def test_all_names_are_listed():
    page = (ROOT / "docs" / "posteriors_and_priors.md").read_text()
    rows = page.split("## All names")[1].splitlines()
    listed = [set(re.findall(r'`"(\w+)"`', r)) for r in rows if r[:3] == "| `"]
    assert listed[:3] == [
        set(families._FAMILIES),
        set(priors._PRIORS),
        set(counterparts.SUFFIXES),
    ]


def documented():
    """Public classes and functions that have an example."""
    objects = {f"{c.__module__}.{c.__qualname__}": c for c in public_classes()}
    for module in public_modules():
        for name, value in vars(module).items():
            if inspect.isfunction(value) and not name.startswith("_"):
                objects[f"{value.__module__}.{name}"] = value
    return {
        name: inspect.getdoc(value)
        for name, value in sorted(objects.items())
        if name.startswith("tfpbnn.") and code_of(inspect.getdoc(value) or "")
    }


@pytest.fixture(scope="module")
def names():
    """What examples take for granted: data, a model, predictions."""
    keras.utils.set_random_seed(0)
    x = np.random.normal(size=(32, 4)).astype("float32")
    y = x[:, :1]
    model = tfpbnn.Sequential(
        [keras.Input((4,)), tfpbnn.layers.DenseFlipout(2)]
    )
    model.compile("adam", loss=tfpbnn.likelihoods.Normal())
    model.fit(x, y, verbose=0)
    labels = tfpbnn.predict(
        model, x, 5, likelihood=tfpbnn.likelihoods.Categorical()
    )
    return {
        "keras": keras,
        "np": np,
        "tfpbnn": tfpbnn,
        "model": model,
        "x": x,
        "y": y,
        "x_test": x,
        "y_test": y,
        "p": tfpbnn.predict(model, x, 5),
        "q": tfpbnn.predict(model, x, 5),
        "labels": labels,
        "posterior": posterior_of(model, x, y, likelihoods.Normal()),
    }


# Parts of the names of what takes a prediction of labels.
OF_LABELS = ("Classification", "confusion", "event_", "reliability")


# Chains as short as those of examples say so.
@pytest.mark.filterwarnings("ignore:.*(diverged|R-hat|effective draws)")
@pytest.mark.filterwarnings("ignore:.*`max_tree_depth` lets")
@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto")
@pytest.mark.parametrize("name", documented())
def test_docstring(name, names, scratch):
    scope = dict(names)
    if any(word in name for word in OF_LABELS):
        scope |= {"p": names["labels"], "y_test": np.zeros(32, "int32")}
        scope["model"] = names["model"]
    for code in code_of(documented()[name]):
        if "Classification" in name:  # its model has classes for outputs
            code = code.replace("p = tfpbnn.predict(model, x_test)\n", "")
        if "predictive_band" in name or "member_predictions" in name:
            scope["x_test"] = names["x"][:, 0]
        exec(compile(code, name, "exec"), scope)
    assert os.getcwd() != str(ROOT)


MUST_HAVE_AN_EXAMPLE = [
    *(f"tfpbnn.layers.{n}" for n in tfpbnn.layers.__all__),
    *(f"tfpbnn.likelihoods.{n}" for n in tfpbnn.likelihoods.__all__),
    "tfpbnn.Model",
    "tfpbnn.Sequential",
    "tfpbnn.callbacks.KLWeight",
    "tfpbnn.client.TFServingClient",
    "tfpbnn.convert.from_tfp_layers",
    "tfpbnn.convert.load_edward2_weights",
    *(
        f"tfpbnn.diagnostics.{n}"
        for n in tfpbnn.diagnostics.__all__
        if not n[0].isupper()  # what they return
    ),
    "tfpbnn.dropout.precision",
    "tfpbnn.dropout.weight_decay",
    *(
        f"tfpbnn.ensembles.{n}"
        for n in tfpbnn.ensembles.__all__
        if n not in ("MemberTrainingError", "RayExecutor", "process_pool")
    ),
    "tfpbnn.evaluate",
    "tfpbnn.export",
    "tfpbnn.families.DropConnect",
    "tfpbnn.freeze_scales",
    "tfpbnn.lint_export",
    "tfpbnn.mc_dropout",
    "tfpbnn.mcmc.ChainPosterior",
    "tfpbnn.mcmc.sample",
    *(
        f"tfpbnn.metrics.{n}"
        for n in tfpbnn.metrics.__all__
        if n.islower()
        and n
        not in ("calibration_curve", "calibration_error", "mean", "streaming")
    ),
    *(f"tfpbnn.ood.{n}" for n in tfpbnn.ood.__all__ if n != "FeatureScore"),
    "tfpbnn.monitor.BettingTest",
    "tfpbnn.monitor.UncertaintyMonitor",
    "tfpbnn.monitor.read_request_logs",
    "tfpbnn.predict",
    *(f"tfpbnn.plots.{n}" for n in tfpbnn.plots.__all__),
    "tfpbnn.prune",
    "tfpbnn.signal_to_noise",
    "tfpbnn.to_deterministic",
    "tfpbnn.to_variational",
]


@pytest.mark.parametrize("name", MUST_HAVE_AN_EXAMPLE)
def test_public_names_have_an_example(name):
    value = tfpbnn
    for part in name.split(".")[1:]:
        value = getattr(value, part)
    sibling = SIBLING.search(inspect.getdoc(value))
    if sibling:  # of a layer whose docstring is enough for both
        value = getattr(tfpbnn.layers, sibling[1])
    if name != "tfpbnn.likelihoods.Likelihood":
        assert code_of(inspect.getdoc(value))
    assert "Args:" in inspect.getdoc(value) or inspect.isclass(value)
