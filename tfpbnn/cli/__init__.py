"""Runs the package from a command line: `python -m tfpbnn COMMAND`.

To add a command: a file with `add(commands)`, which adds an argparse parser and
sets the function that runs it, and its name in `COMMANDS`.
"""

from tfpbnn.cli.main import main

__all__ = ["main"]
