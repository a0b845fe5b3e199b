"""Counts the cores that this process may use."""

import os


def num_cores() -> int:
    """The number of cores of this process: those of its affinity, if known."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1
