"""Chains go on from a file, bit for bit, also after a kill."""

import os
import signal
import subprocess
import sys
import time
import warnings

import keras
import numpy as np
import pytest

import tfpbnn
from tests import fresh
from tfpbnn.mcmc import checkpoint as module
from tfpbnn.mcmc import runner

PROGRAM = """
import sys
import numpy as np, keras, tfpbnn
from tfpbnn.mcmc import chains, checkpoint
checkpoint._SECONDS = checkpoint._SHARE = 0.0
chains.MOST_STEPS = 4
x = np.linspace(-1, 1, 20)[:, None]
model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
for v, value in zip(model.weights, (0.5, 0.1)):
    v.assign(np.full(v.shape, value))
posterior = tfpbnn.mcmc.sample(
    model, x, 2 * x, likelihood=tfpbnn.likelihoods.Normal(scale=0.3),
    num_chains=2, num_warmup=20, num_samples=int(sys.argv[2]), seed=3,
    verbose=0, checkpoint=sys.argv[1] or None)
draws = {k.replace("/", "-"): v for k, v in posterior.draws.items()}
np.savez(sys.argv[3], **draws, **posterior.statistics)
"""
DRAWS = 400


def start(checkpoint, out):
    return subprocess.Popen(
        [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            PROGRAM,
            checkpoint,
            str(DRAWS),
            out,
        ],
        cwd=fresh.ROOT,
        env=os.environ | {"KERAS_BACKEND": "tensorflow"},
    )


def test_a_killed_run_goes_on_bit_for_bit(tmp_path):
    file = tmp_path / "chains.npz"
    process = start(str(file), str(tmp_path / "never.npz"))
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        if file.exists() and _draws_in(file) > 20:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL, "it ended before the kill"
    assert 20 < _draws_in(file) < DRAWS
    outs = [str(tmp_path / "resumed.npz"), str(tmp_path / "whole.npz")]
    for checkpoint, out in zip((str(file), ""), outs, strict=True):
        fresh.run(PROGRAM, checkpoint, str(DRAWS), out)
    resumed, whole = map(np.load, outs)
    assert len(whole.files) == 8
    for name in whole.files:
        np.testing.assert_array_equal(resumed[name], whole[name], name)
    assert not list(tmp_path.glob("*.part"))


def _draws_in(file):
    with np.load(file) as arrays:
        name = "trace_0_log_prob"
        return len(arrays[name]) if name in arrays.files else 0


def test_a_file_of_other_arguments_is_refused_and_left_alone(tmp_path):
    file = tmp_path / "chains.npz"
    checkpoint = module.Checkpoint(file, {"seed": 1})
    checkpoint.write([])
    before = file.read_bytes()
    with pytest.raises(ValueError, match=r"seed=1 \(now 2\)"):
        module.Checkpoint(file, {"seed": 2}).resumed([], 9)
    assert file.read_bytes() == before


def test_chains_go_on_with_their_data_alone(tmp_path, monkeypatch):
    """Data are not in the file, which is left alone if they are missing."""

    def interrupted(self, groups, bar):
        self._checkpoint.write(groups)
        return False

    monkeypatch.setattr(runner.Runner, "compile", lambda *_: None)
    monkeypatch.setattr(runner.Runner, "run", interrupted)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    file = tmp_path / "chains.npz"

    def again(x, y):
        likelihood = tfpbnn.likelihoods.Normal(scale=0.3)
        arguments = {"likelihood": likelihood, "seed": 0, "checkpoint": file}
        tfpbnn.mcmc.sample(model, x, y, num_chains=1, **arguments)

    rows = np.linspace(-1, 1, 20)[:, None]
    with pytest.raises(KeyboardInterrupt):
        again(rows, rows)
    before = file.read_bytes()
    with pytest.raises(ValueError, match="`y` must be given"):
        again(None, None)
    with pytest.raises(ValueError, match=r"(?s)same model, data.* with data="):
        again(rows, rows**3)
    assert file.read_bytes() == before


def test_an_interrupt_keeps_what_was_drawn(monkeypatch):
    from tfpbnn.mcmc import progress

    x = np.linspace(-1, 1, 20)[:, None]
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    show = progress.ChainBar.show

    def interrupt(self, groups):
        show(self, groups)
        if all(group.snapshot()[1] is not None for group in groups):
            raise KeyboardInterrupt

    monkeypatch.setattr(progress.ChainBar, "show", interrupt)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        posterior = tfpbnn.mcmc.sample(
            model,
            x,
            2 * x,
            likelihood=tfpbnn.likelihoods.Normal(scale=0.3),
            num_chains=2,
            num_warmup=30,
            num_samples=100_000,
            verbose=0,
            seed=0,
        )
    assert any("Interrupted: " in str(w.message) for w in caught)
    assert 0 < posterior.num_samples < 100_000
    assert tfpbnn.predict(posterior, x).mean.shape == (20, 1)
