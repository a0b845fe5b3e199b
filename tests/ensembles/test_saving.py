"""Posteriors predict the same in a fresh process."""

import json

import keras
import numpy as np

import tfpbnn
from tests import fresh
from tests.ensembles.averaging.iterates import L, classifier, labelled
from tfpbnn.ensembles import SWA, SWAG, MultiSWAG, SnapshotEnsemble

_LOAD = """
import json, sys
import keras, numpy as np, tfpbnn
folder, names = sys.argv[1], json.loads(sys.argv[2])
x, y = np.load(folder + "/x.npy"), np.load(folder + "/y.npy")
for name, draws in names.items():
    model = keras.saving.load_model(f"{folder}/{name}.keras")
    p = tfpbnn.predict(model, x, 7, seed=3, draws=draws)
    np.savez(
        f"{folder}/{name}.npz",
        outputs=model.predict(x, verbose=0),
        scores=model.evaluate(x, y, verbose=0),
        probabilities=p.probabilities,
        spread=p.mutual_information,
    )
"""


def test_the_same_in_a_fresh_process(tmp_path):
    x, y = labelled()
    model = classifier(L.BatchNormalization(), L.Dropout(0.2))
    callbacks = [SWA(1), SWAG(1, 4), SnapshotEnsemble(2, 0.1)]
    model.fit(x, y, epochs=6, callbacks=callbacks, verbose=0)
    plain = classifier()
    swag = SWAG(1, 4)
    plain.fit(x, y, epochs=4, callbacks=[swag], verbose=0)
    average, normed = callbacks[0].average(x), callbacks[1].posterior
    kept = normed.materialize(3, x, seed=0)
    tfpbnn.ensembles.update_batch_norm(normed, x)
    models = {
        "average": (average, "mean"),
        "swag": (swag.posterior, "coherent"),
        "normed": (normed, "mean"),
        "mixture": (MultiSWAG([swag.posterior, kept]), "coherent"),
        "snapshots": (callbacks[2].posterior, "coherent"),
    }
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    for name, (posterior, _) in models.items():
        posterior.save(tmp_path / f"{name}.keras")
    names = {name: draws for name, (_, draws) in models.items()}
    fresh.run(_LOAD, str(tmp_path), json.dumps(names))
    for name, (posterior, draws) in models.items():
        found = np.load(tmp_path / f"{name}.npz")
        p = tfpbnn.predict(posterior, x, 7, seed=3, draws=draws)
        for key, value in {
            "outputs": posterior.predict(x, verbose=0),
            "scores": posterior.evaluate(x, y, verbose=0),
            "probabilities": p.probabilities,
            "spread": p.mutual_information,
        }.items():
            np.testing.assert_allclose(
                found[key], value, rtol=1e-4, atol=1e-5, err_msg=name
            )
        assert (found["spread"].max() > 1e-6) == (draws != "mean")


def test_a_learned_scale_is_saved(tmp_path):
    x, y = labelled()
    swag = SWAG(0, 2, scale=0.25)
    classifier().fit(x, y, epochs=3, callbacks=[swag], verbose=0)
    posterior = swag.posterior
    assert posterior.scale == 0.25
    posterior.scale = 0.5
    posterior.save(tmp_path / "swag.keras")
    loaded = keras.saving.load_model(tmp_path / "swag.keras")
    assert loaded.scale == 0.5
    assert loaded.num_collected == 3
