"""The figure of the first page: what the code of "Getting started" draws."""

import functools
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / "docs" / "getting_started.md"


@functools.cache
def band() -> bytes:
    """Runs the page up to its first figure, and returns that as an SVG."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    code = "\n".join(blocks[:2]).replace("band.png", "band.svg")
    paths = {"KERAS_BACKEND": "tensorflow", "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=folder,
            env=os.environ | paths,
            check=True,
            capture_output=True,
        )
        return pathlib.Path(folder, "band.svg").read_bytes()


def on_files(files, config):
    """MkDocs's hook: adds the figure to the site's files."""
    files.append(File.generated(config, "band.svg", content=band()))
    return files
