"""Posteriors of what people bring: saved, loaded elsewhere, and exported."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests import fresh
from tests.densities.test_log_density import CASES, FAR, head, numbers
from tests.mcmc.drawn import posterior_of
from tests.mcmc.test_chain_posterior import by_output

NORMAL = tfpbnn.likelihoods.Normal


def normalized_targets():
    """In the units of its targets, with inputs that are normalized too."""
    layer = keras.layers.Normalization()
    layer.adapt(FAR * numbers(3))
    model = keras.Sequential([keras.Input((3,)), layer, keras.layers.Dense(2)])
    return model, FAR * numbers(3), FAR, NORMAL().adapt(FAR)


def one_hot():
    y = np.eye(4)[np.arange(12) % 4]
    return head(4, "softmax"), numbers(3), y, "categorical_crossentropy"


PEOPLE = {
    "words": CASES["words"],
    "several": CASES["several"],
    "own layer": CASES["own layer"],
    "units": normalized_targets,
    "one-hot": one_hot,
}
LOAD = """
import sys, keras, numpy as np, tfpbnn
from tests.mcmc.test_people import PEOPLE, means
from tests.densities.test_log_density import Own
for number, name in enumerate(PEOPLE):
    file = f"{sys.argv[1]}/{number}"
    posterior = keras.saving.load_model(
        file + ".keras", custom_objects={"Own": Own}
    )
    np.savez(file + ".npz", **means(posterior, PEOPLE[name]()[1]))
"""


def means(posterior, x):
    found = by_output(tfpbnn.predict(posterior, x, 6, verbose=0))
    return {name: p.mean for name, p in found.items()}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """Posteriors, their data, and what another process makes of their files."""
    path = tmp_path_factory.mktemp("files")
    posteriors, data = {}, {}
    for number, (name, make) in enumerate(PEOPLE.items()):
        model, x, y, loss = make()
        posteriors[name] = posterior_of(model, x, y, loss)
        posteriors[name].save(path / f"{number}.keras")
        data[name] = x
    fresh.run(LOAD, str(path))
    files = [np.load(path / f"{i}.npz") for i in range(len(PEOPLE))]
    return posteriors, data, dict(zip(PEOPLE, files, strict=True))


@pytest.mark.parametrize("name", PEOPLE)
def test_another_process_predicts_the_same(loaded, name):
    posteriors, data, files = loaded
    found = means(posteriors[name], data[name])
    assert set(files[name]) == set(found)
    for key, values in found.items():
        np.testing.assert_allclose(files[name][key], values, rtol=1e-5)


@pytest.mark.parametrize("name", ["words", "several", "units"])
def test_servers_predict_the_same(loaded, name, tmp_path):
    posteriors, data, _ = loaded
    x = data[name]
    one = {"signatures": ["serving_default"], "quantiles": []}
    tfpbnn.export(posteriors[name], tmp_path / "1", 6, draws="fixed", **one)
    served = tf.saved_model.load(str(tmp_path / "1"))
    signature = served.signatures["serving_default"]
    inputs = {
        key: tf.constant(x[key] if isinstance(x, dict) else x)
        for key in signature.structured_input_signature[1]
    }
    outputs = signature(**inputs)
    for key, values in means(posteriors[name], x).items():
        (output,) = (
            value
            for found, value in outputs.items()
            if found.endswith(("mean", "probabilities"))
            and (key == "y" or key in found)
        )
        np.testing.assert_allclose(
            np.reshape(output, values.shape), values, rtol=1e-4, atol=1e-6
        )
