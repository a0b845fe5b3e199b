"""Makes the files of this folder; run once, at the commit they are to hold.

Models whose predictions must stay what they are. The files in the repository
were made by version 0.1.0.dev0, before the package was laid out anew, and are
not to be made again: a saved model has to keep its meaning.
"""

import pathlib
import sys

import keras
import numpy as np

import tfpbnn

FOLDER = pathlib.Path(__file__).parent


def noisy(rows, steps=None):
    shape = (rows, 4) if steps is None else (rows, steps, 4)
    return np.random.default_rng(3).normal(size=shape).astype("float32")


def trained(model, x, **compiled):
    y = np.sin(x.reshape(len(x), -1).sum(axis=1, keepdims=True))
    model.compile("sgd", loss=tfpbnn.likelihoods.Normal(), **compiled)
    model.fit(x, y, epochs=2, batch_size=8, verbose=0)
    return model


def layers_of_each_kind():
    model = tfpbnn.Sequential(
        [
            keras.Input((6, 4)),
            tfpbnn.layers.LSTMReparameterization(5, seed=1),
            tfpbnn.layers.MCDropout(0.3, seed=2),
            tfpbnn.layers.DenseFlipout(7, activation="relu", seed=3),
            tfpbnn.layers.DenseFlipout(2, seed=4),
        ]
    )
    return trained(model, noisy(16, 6))


def plain():
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dense(2),
        ]
    )


def deep_ensemble():
    return trained(tfpbnn.ensembles.DeepEnsemble(plain, 3), noisy(16))


def swag():
    collector = tfpbnn.ensembles.SWAG(start_epoch=0, frequency=1, rank=3)
    x = noisy(16)
    model = trained(plain(), x)
    model.fit(x, x[:, :1], epochs=5, callbacks=[collector], verbose=0)
    return collector.posterior


def rank1():
    model = trained(plain(), noisy(16))
    return tfpbnn.ensembles.to_rank1(model, num_members=2)


def horseshoe():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            tfpbnn.layers.DenseFlipout(
                6, kernel_prior=tfpbnn.priors.Horseshoe(), seed=5
            ),
            tfpbnn.layers.DenseLocalReparameterization(2, seed=6),
        ]
    )
    return trained(model, noisy(16))


# How each is made, the steps of its inputs, and the draws that it has.
MODELS = {
    "layers": (layers_of_each_kind, 6, ["coherent", "auto", "mean"]),
    "deep_ensemble": (deep_ensemble, None, ["coherent", "auto"]),
    "swag": (swag, None, ["coherent", "auto", "mean"]),
    "rank1": (rank1, None, ["coherent", "auto"]),
    "horseshoe": (
        horseshoe,
        None,
        ["coherent", "mixed", "marginal", "auto", "mean"],
    ),
}


def outputs(model, steps, ways):
    """What the model predicts, by name; seeded."""
    x, found = noisy(9, steps), {}
    for draws in ways:
        p = tfpbnn.predict(
            model, x, num_samples=11, seed=7, verbose=0, draws=draws
        )
        found[f"{draws}_mean"], found[f"{draws}_stddev"] = p.mean, p.stddev
    return found


if __name__ == "__main__":
    for name in sys.argv[1:] or MODELS:
        keras.utils.set_random_seed(1)
        make, *how = MODELS[name]
        model = make()
        model.save(FOLDER / f"{name}.keras")
        loaded = keras.saving.load_model(FOLDER / f"{name}.keras")
        np.savez(FOLDER / f"{name}.npz", **outputs(loaded, *how))
        print(name, {k: v.shape for k, v in outputs(loaded, *how).items()})
