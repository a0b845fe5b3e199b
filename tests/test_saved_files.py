"""Files that earlier versions saved: their names and what they predict."""

import pathlib

import keras
import numpy as np
import pytest

from tests.saved import make

NAMES = (make.FOLDER / "names.txt").read_text().split()


@pytest.mark.parametrize("name", NAMES)
def test_names_in_files_are_still_known(name):
    found = keras.saving.get_registered_object(name)
    assert found is not None, f"files that name {name} can't be loaded"
    assert found.__name__ == name.rsplit(".", 1)[-1]


def test_all_names_are_listed():
    """A new class: put its name into names.txt; it is for ever then."""
    registered = {
        name
        for name, cls in keras.saving.get_custom_objects().items()
        if name.startswith("tfpbnn>") and cls.__module__.startswith("tfpbnn.")
    }
    assert registered == set(NAMES)


@pytest.mark.parametrize("name", sorted(make.MODELS))
def test_files_predict_what_they_did(name):
    file = pathlib.Path(make.FOLDER, name)
    model = keras.saving.load_model(file.with_suffix(".keras"))
    _, *how = make.MODELS[name]
    found = make.outputs(model, *how)
    expected = np.load(file.with_suffix(".npz"))
    assert set(found) == set(expected)
    for key, values in found.items():
        np.testing.assert_allclose(
            values, expected[key], rtol=2e-5, atol=2e-6, err_msg=key
        )
