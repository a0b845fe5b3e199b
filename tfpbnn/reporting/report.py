"""Evaluates a posterior, and writes what was found on a page."""

import datetime
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tfpbnn.base import checks
from tfpbnn.base.by_output import by_output, one_or_each
from tfpbnn.base.progress import Bar
from tfpbnn.prediction import predict
from tfpbnn.prediction.predict import HeldOut, held_out
from tfpbnn.prediction.results import Predictive
from tfpbnn.reporting import figures, findings, page, rows, scoring
from tfpbnn.reporting.scoring import Score
from tfpbnn.reporting.section import Section


class Report(NamedTuple):
    """What a page says.

    Attributes:
        path: the file of the page.
        headlines: what was found, a sentence for each output by its name ("" if
            there is one output).
        warnings: what to be wary of, sentences by the name of the output.
        scores: the scores by the name of the output, and their own.
    """

    path: pathlib.Path
    headlines: dict[str, str]
    warnings: dict[str, list[str]]
    scores: dict[str, dict[str, Score]]

    def __repr__(self) -> str:
        lines = []
        for name, headline in self.headlines.items():
            lines.append(f"{name}: {headline}" if name else headline)
            lines += [f"  Warning: {each}" for each in self.warnings[name]]
        return "\n".join([*lines, f"The page: {self.path}"])


def report(
    posterior: Any,
    x: Any,
    y: Any = None,
    *,
    x_ood: Any = None,
    path: Any = "report.html",
    sample_weight: Any = None,
    feature_names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    title: str | None = None,
    num_samples: int = 100,
    seed: int = 0,
    n_boot: int = 1000,
    likelihood: Any = None,
    verbose: Any = "auto",
) -> Report:
    """Writes one page that says what a posterior's uncertainty is worth.

    The page begins with a sentence in plain words and with warnings, and has
    scores with intervals and Monte Carlo errors, figures with how to read them,
    and the rows of which the model is least sure. It is one HTML file that
    loads nothing. It needs Jinja2 and matplotlib: `pip install tfpbnn[report]`.

    Args:
        posterior: anything that `tfpbnn.predict` takes; or a prediction that it
            gave, of the rows of x.
        x: the inputs of N rows that it was not trained on; a dataset may bring
            the targets and weights. None for a prediction.
        y: the targets, one row for each row of x; for several outputs, a dict
            by their names or a list in their order.
        x_ood: inputs of another kind, which it should be less sure of; or a
            prediction of these.
        path: the file to write.
        sample_weight: the weights of rows `[N]` or of places `[N, ...]`.
        feature_names: the names of the columns of x.
        class_names: the names of the classes of an output of labels.
        title: the head of the page.
        num_samples, seed, likelihood: as in `tfpbnn.predict`.
        n_boot: the number of resamples of rows for intervals.
        verbose: "auto" (a progress bar if it takes over 2 s), 0 or 1.

    Returns:
        A `Report`; printed, it says the headline and the warnings.

    Raises:
        ImportError: if Jinja2 or matplotlib is not installed.
        ValueError: if there are no targets, or for the reasons of
            `tfpbnn.evaluate`.

    Example:
    ```python
    found = tfpbnn.report(model, x_test, y_test, path="report.html", n_boot=100)
    print(found)                            # the headline, and warnings
    ```
    """
    page.check_installed()
    checks.positive_integer("n_boot", n_boot)
    options = {
        "num_samples": num_samples,
        "seed": seed,
        "verbose": verbose,
        "likelihood": likelihood,
    }
    if _is_prediction(posterior):
        parts = _given(posterior, y, sample_weight)
    else:
        parts = held_out(posterior, x, y, sample_weight, **options)[1]
    others = _predicted(posterior, x_ood, **options)
    sections = _sections(parts, others, class_names)
    bar = Bar(verbose)
    bar.expect(sum(len(scoring.kinds(section)) for section in sections))
    found = {
        section.name: part_of(
            section, posterior, x, feature_names, n_boot, seed, bar
        )
        for section in sections
    }
    bar.close()
    written = page.write(
        path,
        title=title or "What its uncertainty is worth",
        about=_about(sections, posterior),
        parts=found,
        made_by=f"Made by tfpbnn, {datetime.date.today().isoformat()}.",
    )
    return Report(written, *_by_kind(found))


def part_of(
    section: Section,
    model: Any,
    x: Any,
    feature_names: Sequence[str] | None,
    n_boot: int,
    seed: int,
    bar: Bar,
) -> dict[str, Any]:
    """Computes what the page says of one output.

    Args:
        section: the output.
        model: that has predicted it, if it is known.
        x, feature_names: as of `report`.
        n_boot, seed: of intervals.
        bar: to step.
    """
    scores = scoring.scores(section, n_boot, seed, bar)
    return {
        "heading": f"Output {section.name}" if section.name else "",
        "headline": findings.headline(section, scores),
        "warnings": findings.warnings(section, scores, model),
        "scores": scores,
        "place": section.predictive.place,
        "figures": figures.figures(section, model),
        "rows": rows.most_uncertain(section, x, feature_names),
    }


def _by_kind(parts: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Takes headlines, warnings and scores out of the parts of a page."""
    return [
        {name: part[kind] for name, part in parts.items()}
        for kind in ("headline", "warnings", "scores")
    ]


def _predicted(posterior: Any, x: Any, **options: Any) -> Any:
    """Predicts for inputs; a prediction, or None, stays as it is."""
    if x is None or _is_prediction(x):
        return x
    return predict(posterior, x, **options)


def _is_prediction(given: Any) -> bool:
    """Says whether something is a prediction, or several."""
    if isinstance(given, Mapping):
        given = list(given.values())
    several = given if isinstance(given, list | tuple) else [given]
    return any(isinstance(each, Predictive) for each in several)


def _given(p: Any, y: Any, sample_weight: Any) -> dict[str, HeldOut]:
    """Pairs predictions that exist already with what is known, by name."""
    if y is None:
        raise ValueError(
            "`y` must be the targets of the prediction. Received: y=None"
        )
    by_name = _by_name(p)
    needed = [name for name, one in by_name.items() if one is not None]
    names = list(by_name)
    columns = zip(
        names,
        by_name.values(),
        by_output("`y`", y, names, needed),
        one_or_each("`sample_weight`", sample_weight, names, needed),
        strict=True,
    )
    return {name: HeldOut(*rest) for name, *rest in columns if name in needed}


def _by_name(p: Any) -> dict[str, Any]:
    """Names predictions by their keys, or numbers of a list."""
    if isinstance(p, Predictive):
        return {"": p}
    if isinstance(p, Mapping):
        return dict(p)
    return {str(number): one for number, one in enumerate(p)}


def _sections(
    parts: Mapping[str, HeldOut], others: Any, class_names: Any
) -> list[Section]:
    """Makes a section of each output.

    Args:
        parts: the predictions and targets, by the names of outputs.
        others: predictions of rows of another kind in the structure of the
            outputs, or None.
        class_names: the names of classes.
    """
    names = list(parts)
    if not isinstance(others, Mapping):
        several = others if isinstance(others, list | tuple) else [others]
        given = [one for one in several if one is not None]
        others = dict(zip(names, given, strict=False))
    if others and set(others) != set(names):
        raise ValueError(
            "`x_ood` must have a prediction of each of the outputs "
            f"{names}. Received: those of {list(others)}"
        )
    return [
        Section(
            name if len(names) > 1 else "",
            part.predictive,
            part.y,
            part.sample_weight,
            others.get(name),
            class_names,
        )
        for name, part in parts.items()
    ]


def _about(sections: list[Section], posterior: Any) -> str:
    first = sections[0].predictive
    name = getattr(posterior, "name", "")
    of = f"The model {name}: " if name else ""
    return f"{of}{len(first)} rows of test data, {first.num_samples} draws."
