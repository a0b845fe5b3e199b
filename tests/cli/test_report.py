"""The command `report`, in this process and in one of its own."""

import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

import tfpbnn
from tfpbnn.cli import main

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).astype("float32")
Y = X[:, 0] + 0.1 * RNG.normal(size=40)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    keras.utils.set_random_seed(0)
    model = tfpbnn.Sequential(
        [keras.Input((3,)), tfpbnn.layers.DenseFlipout(2)]
    )
    model.compile("adam", loss=tfpbnn.likelihoods.Normal())
    model.fit(X, Y, verbose=0)
    model.save(folder / "model.keras")
    np.savez(folder / "data.npz", x=X, y=Y)
    return folder


def words(files, *more):
    return [
        "report",
        str(files / "model.keras"),
        str(files / "data.npz"),
        "--num-samples=5",
        *more,
    ]


def test_the_page_of_the_command_is_that_of_the_function(files, capsys):
    page, same = files / "a.html", files / "b.html"
    assert main(words(files, "--output", str(page), "--title=T")) == 0
    model = keras.saving.load_model(files / "model.keras")
    found = tfpbnn.report(
        model, X, Y, path=same, title="T", num_samples=5, verbose=0
    )
    assert found.headlines[""] in capsys.readouterr().out
    assert page.read_text() == same.read_text()


def test_in_a_process_of_its_own(files):
    result = subprocess.run(
        [sys.executable, "-m", "tfpbnn", *words(files, "--ood=data.npz")],
        cwd=files,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert pathlib.Path(files, "report.html").exists()


def test_what_is_wrong_is_said_in_a_line(files, capsys):
    np.savez(files / "other.npz", inputs=X)
    given = [*words(files)[:2], str(files / "other.npz")]
    assert main(given) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: `")
    assert "must have an array named x, or arrays named x_NAME" in error
    assert "Received: ['inputs']" in error
    assert main(["report", "none.keras", str(files / "data.npz")]) == 2
