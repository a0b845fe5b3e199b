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


@pytest.mark.parametrize("case", ["bytes", "array", "archive", "part"])
def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path, case):
    file = tmp_path / "chains.npz"
    with open(file, "wb") as stream:
        if case == "bytes":
            stream.write(b"words")
        elif case == "array":
            np.save(stream, np.zeros(3))
        else:
            np.savez(stream, other=np.zeros(3))
    if case == "part":
        file.write_bytes(file.read_bytes()[:-30])
    before = file.read_bytes()
    with pytest.raises(ValueError, match="`checkpoint` must be a new file"):
        module.Checkpoint(file, {"seed": 1}).resumed([], 9)
    assert file.read_bytes() == before


def test_numbers_of_numpy_are_numbers(tmp_path):
    file, given = tmp_path / "chains.npz", {"seed": np.int64(1), "b": 0.5}
    module.Checkpoint(file, given | {"b": np.float64(0.5)}).write([])
    assert module.Checkpoint(file, given | {"seed": 1}).resumed([], 9) == []


def test_a_full_disk_loses_no_draws(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError("No space left on device")

    checkpoint = module.Checkpoint(tmp_path / "chains.npz", {"seed": 1})
    monkeypatch.setattr(np, "savez", full)
    with pytest.warns(UserWarning, match="go on, but can't.*No space left"):
        checkpoint.write([])
    assert not checkpoint.is_due()


def test_chains_go_on_with_their_data_alone(tmp_path, monkeypatch):
    """Data are not in the file, which is left alone if anything is other."""

    def interrupted(self, groups, bar):
        self._checkpoint.write(groups)
        return False

    monkeypatch.setattr(runner.Runner, "compile", lambda *_: None)
    monkeypatch.setattr(runner.Runner, "run", interrupted)
    frozen = keras.layers.Dense(1, trainable=False, name="frozen")
    layers = [keras.Input((1,)), keras.layers.Dense(1), frozen]
    model = keras.Sequential(layers)
    file = tmp_path / "chains.npz"

    def again(x, y, scale=0.3, **changed):
        likelihood = tfpbnn.likelihoods.Normal(scale=scale)
        arguments = {"likelihood": likelihood, "seed": 0, "checkpoint": file}
        tfpbnn.mcmc.sample(model, x, y, num_chains=1, **arguments | changed)

    rows = np.linspace(-1, 1, 20)[:, None]
    with pytest.raises(KeyboardInterrupt):
        again(rows, rows)
    before = file.read_bytes()
    with pytest.raises(ValueError, match="`y` must be given"):
        again(None, None)

    def refused(name, y=rows, **changed):
        message = rf"(?s)same model, data.* with.* {name}="
        with pytest.raises(ValueError, match=message):
            again(rows, y, **changed)

    refused("data", rows**3)
    refused("seed", seed=1)
    refused("init", init=model)
    refused("likelihood", scale=0.30001)
    refused("terms", prior=tfpbnn.priors.Normal(scale=1.1))
    with pytest.raises(KeyboardInterrupt):
        again(rows, rows)  # all is as it was
    before = file.read_bytes()
    frozen.kernel.assign(1.00001 * frozen.kernel)
    refused("constants")
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
