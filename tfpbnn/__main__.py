"""Runs `python -m tfpbnn`."""

import sys

from tfpbnn.cli import main

if __name__ == "__main__":
    sys.exit(main())
