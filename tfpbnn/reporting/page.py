"""Fills the template of a page, and writes it."""

import os
import pathlib
from typing import Any


def write(path: Any, **values: Any) -> pathlib.Path:
    """Writes the page to a file, whole or not at all.

    Args:
        path: the file.
        **values: what the template `page.html` shows.

    Raises:
        ImportError: if Jinja2 is not installed.
    """
    path = pathlib.Path(path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_text(render(**values), encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def render(**values: Any) -> str:
    """Fills the template."""
    check_installed()
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(**values)


def check_installed() -> None:
    """Raises an `ImportError` unless what pages need is installed."""
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "tfpbnn.report needs Jinja2 and matplotlib: pip install "
            "tfpbnn[report]"
        ) from error
