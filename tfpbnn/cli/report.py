"""Writes a page: `python -m tfpbnn report model.keras data.npz`."""

import argparse
from typing import Any

import keras
import numpy as np

from tfpbnn.reporting import report

_HELP = """Writes one HTML page that says what a saved model's uncertainty is
worth on data that it was not trained on."""


def add(commands: Any) -> None:
    """Adds the command to the parser's commands."""
    parser = commands.add_parser("report", help=_HELP, description=_HELP)
    parser.add_argument("model", help="a file of model.save, such as net.keras")
    parser.add_argument(
        "data",
        help="an .npz file with the arrays x and y, and sample_weight if rows "
        "have weights; for several inputs or outputs x_NAME and y_NAME",
    )
    parser.add_argument("--ood", help="an .npz file with x of another kind")
    parser.add_argument("--output", default="report.html", help="the page")
    parser.add_argument("--title", help="the head of the page")
    parser.add_argument(
        "--class-names", nargs="+", help="the names of the classes"
    )
    parser.add_argument("--num-samples", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    """Runs the command, and prints what the page begins with."""
    arrays = _read(given.data)
    found = report(
        keras.saving.load_model(given.model),
        _part(arrays, "x", given.data),
        _part(arrays, "y", given.data),
        sample_weight=arrays.get("sample_weight"),
        x_ood=_part(_read(given.ood), "x", given.ood) if given.ood else None,
        path=given.output,
        title=given.title,
        class_names=given.class_names,
        num_samples=given.num_samples,
        seed=given.seed,
    )
    print(found)


def _read(path: str) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def _part(arrays: dict[str, Any], name: str, path: str) -> Any:
    """Takes an array, or those of several inputs or outputs by name."""
    if name in arrays:
        return arrays[name]
    prefix = f"{name}_"
    found = {
        key.removeprefix(prefix): value
        for key, value in arrays.items()
        if key.startswith(prefix)
    }
    if not found:
        raise ValueError(
            f"`{path}` must have an array named {name}, or arrays named "
            f"{prefix}NAME. Received: {sorted(arrays)}"
        )
    return found
