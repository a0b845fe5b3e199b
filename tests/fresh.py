"""Programs run in fresh processes, without the time of imports for each.

One process imports TensorFlow, Keras and tfpbnn, runs nothing, and forks for
each program: the child knows of no model but what it loads.
"""

import atexit
import functools
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
_PARENT = """
import gc, json, os, sys, tempfile, traceback
import keras, numpy, tfpbnn

gc.collect()
gc.freeze()  # no child looks for garbage in what is imported
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what programs print is no answer
for line in sys.stdin:
    program, arguments = json.loads(line)
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        child = os.fork()
        if not child:
            status = 1
            try:
                os.dup2(errors.fileno(), 2)
                sys.argv[1:] = arguments
                exec(program, {"__name__": "__main__"})
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        _, status = os.waitpid(child, 0)
        errors.seek(0)
        print(json.dumps([status, errors.read()]), file=answers, flush=True)
"""


@functools.cache
def _parent():
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    atexit.register(parent.communicate)  # no more programs: it ends
    return parent


def run(program, *arguments):
    """Runs Python code with its arguments in `sys.argv`.

    Raises:
        RuntimeError: It failed; with what it wrote to its standard error.
    """
    parent = _parent()
    print(json.dumps([program, arguments]), file=parent.stdin, flush=True)
    status, errors = json.loads(parent.stdout.readline())
    if status:
        raise RuntimeError(errors)
