"""The exact posterior of a small network, beside what approximates it.

Regression with one input and a gap in the data: the band of NUTS beside those
of variational inference, MC dropout and a deep ensemble, in one figure. All
have the same network, noise and data.

    python examples/hmc_small_network.py
"""

import argparse
import pathlib

import keras
import numpy as np
from matplotlib.figure import Figure

import tfpbnn

NOISE = 0.1
UNITS = 20


def data():
    """Targets on both sides of a gap, and a grid that goes beyond them."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-2, -0.7, 30), rng.uniform(0.5, 1.5, 30)])
    y = np.sin(2.5 * x) + NOISE * rng.normal(size=60)
    grid = np.linspace(-3, 2.5, 200)
    return [a[:, None].astype("float32") for a in (x, y, grid)]


def likelihood():
    return tfpbnn.likelihoods.Normal(scale=NOISE)


def network(*noise):
    """A network whose prior functions are of the size of the targets."""
    return keras.Sequential(
        [
            keras.Input((1,)),
            keras.layers.Dense(UNITS, activation="tanh", name="hidden"),
            *noise,
            keras.layers.Dense(1, name="last"),
        ]
    )


def fit(model, x, y, epochs, *callbacks):
    """Trains to the end, by a rate that falls to 0.

    An epoch is 100 steps, each on all of the data: epochs of one step would
    take longer to begin and to end than to train.
    """
    rate = keras.optimizers.schedules.CosineDecay(0.02, 100 * epochs)
    model.compile(keras.optimizers.Adam(rate), loss=likelihood())
    model.fit(
        np.tile(x, (100, 1)),
        np.tile(y, (100, 1)),
        batch_size=len(x),
        epochs=epochs,
        shuffle=False,
        callbacks=list(callbacks),
        verbose=0,
    )
    return model


def nuts(x, y, steps):
    """Chains of all weights, with Normal priors."""
    prior = {
        "hidden": tfpbnn.priors.Normal(scale=2.0),
        "last": tfpbnn.priors.Normal(scale=1.0 / UNITS**0.5),
    }
    return tfpbnn.mcmc.sample(
        network(),
        x,
        y,
        likelihood=likelihood(),
        prior=prior,
        num_warmup=steps,
        num_samples=steps,
        init="map",
        max_tree_depth=11,
        seed=0,
    )


def variational(x, y, epochs):
    """Independent Normals, with the same priors.

    Some functions need few units, and then such a posterior leaves the others
    at the prior, with little weight on them: `fit` says so.
    """
    hidden = tfpbnn.priors.Normal(scale=2.0)
    last = tfpbnn.priors.Normal(scale=1.0 / UNITS**0.5)
    posterior = {"bias_posterior": "mean_field_normal"}
    model = tfpbnn.Sequential(
        [
            keras.Input((1,)),
            tfpbnn.layers.DenseFlipout(
                UNITS,
                activation="tanh",
                kernel_prior=hidden,
                bias_prior=hidden,
                **posterior,
            ),
            tfpbnn.layers.DenseFlipout(
                1, kernel_prior=last, bias_prior=last, **posterior
            ),
        ]
    )
    # The rows of an epoch are copies: the KL is that of 60.
    return fit(model, x, y, epochs, tfpbnn.callbacks.KLWeight(len(x)))


def ensemble(x, y, epochs):
    return fit(tfpbnn.ensembles.DeepEnsemble(network, 5), x, y, epochs)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="draw few")
    parser.add_argument("--figures", type=pathlib.Path, default="figures")
    args = parser.parse_args(argv)
    keras.utils.set_random_seed(0)
    steps, epochs = (60, 1) if args.smoke else (500, 40)
    x, y, grid = data()
    chains = nuts(x, y, steps)
    print(chains.summary(grid[::10]).round(3).to_string())
    # What dropout does to the outputs does not fall with the number of rows: a
    # rate of 0.1 is more noise than the data have, and can't fit them.
    dropout = fit(network(tfpbnn.layers.MCDropout(0.01)), x, y, epochs)
    posteriors = {
        "NUTS": chains,
        "variational inference": variational(x, y, epochs),
        "MC dropout": dropout,
        "deep ensemble": ensemble(x, y, epochs),
    }
    figure = Figure(figsize=(11, 7), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True, sharey=True)
    print(f"\n{'':24}{'at the data':>14}{'in the gap':>14}{'outside':>14}")
    for ax, (name, posterior) in zip(
        axes.flat, posteriors.items(), strict=True
    ):
        p = tfpbnn.predict(posterior, grid, 500, seed=0, verbose=0)
        tfpbnn.plots.predictive_band(p, grid[:, 0], title=name, ax=ax)
        ax.plot(x, y, ".", color="black", markersize=3)
        ax.set_ylim(-3.5, 3.5)
        sd = np.sqrt(p.epistemic_variance[:, 0])
        places = [(-2, -0.7), (-0.3, 0.1), (2, 2.5)]
        spread = [
            sd[(grid[:, 0] > low) & (grid[:, 0] < high)].mean()
            for low, high in places
        ]
        assert np.isfinite(spread).all()
        print(f"{name:24}" + "".join(f"{s:14.3f}" for s in spread))
    args.figures.mkdir(exist_ok=True)
    path = args.figures / "hmc_small_network.png"
    figure.savefig(path, dpi=120)
    print(f"(epistemic standard deviations)\n\nSaved {path}")


if __name__ == "__main__":
    main()
