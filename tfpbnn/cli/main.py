"""Reads the command line."""

import argparse
import sys
from collections.abc import Sequence

from tfpbnn.cli import monitor, report

COMMANDS = (monitor, report)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns 0, or 2 if what was given is wrong.

    Args:
        arguments: the words of the command line, without the program's name;
            None for those of this process.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tfpbnn",
        description="Bayesian layers for Keras: commands.",
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in COMMANDS:
        command.add(commands)
    given = parser.parse_args(arguments)
    try:
        given.run(given)
    except (ImportError, LookupError, OSError, TypeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
