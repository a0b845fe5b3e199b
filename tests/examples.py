"""Runs all examples briefly, without the time of imports for each.

    python -m tests.examples

One process imports what they share, runs nothing, and forks for each script: as
many at a time as there are cores.
"""

import gc
import importlib
import os
import pathlib
import runpy
import sys
import traceback

ROOT = pathlib.Path(__file__).parents[1]
SHARED = (
    "keras",
    "matplotlib.figure",
    "sklearn.datasets",
    "sklearn.model_selection",
    "tensorflow_probability",
    "tfpbnn",
)
ALONE = ROOT / "examples" / "quickstart.py"  # in a process of its own
SCRIPTS = [
    *sorted((ROOT / "examples").glob("*.py")),
    *sorted((ROOT / "examples").glob("*/smoke.py")),
    ROOT / "examples" / "distributed" / "train.py",
]


def start(script):
    """Runs a script in a child, as `python script --smoke` does."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        if script == ALONE:
            os.execv(sys.executable, [sys.executable, script, "--smoke"])
        sys.argv = [str(script), "--smoke"]
        sys.path[0] = str(script.parent)
        runpy.run_path(str(script), run_name="__main__")
        status = 0
    except SystemExit as ended:
        status = int(bool(ended.code))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main():
    for name in SHARED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # no child looks for garbage in what is imported
    waiting, running, failed = list(SCRIPTS), {}, []
    while waiting or running:
        while waiting and len(running) < (os.cpu_count() or 1):
            script = waiting.pop(0)
            running[start(script)] = script
        child, status = os.wait()
        script = running.pop(child)
        if status:
            failed.append(str(script.relative_to(ROOT)))
    if failed:
        sys.exit(f"These examples failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
