"""Samples of a posterior from SGD with the right noise.

Regression with one input and a gap in the data, by SGHMC at a constant rate,
and at one that falls in cycles: in each a network first looks for a mode,
without noise, and then samples around it. The lines are single samples.

    python examples/sgmcmc.py
"""

import argparse
import pathlib

import keras
import numpy as np
from matplotlib.figure import Figure

import tfpbnn
from tfpbnn import ensembles, optimizers

NOISE, STEPS = 0.1, 100  # steps of an epoch


def data():
    """Targets on both sides of a gap, and a grid that goes beyond them."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-2, -0.7, 30), rng.uniform(0.5, 1.5, 30)])
    y = np.sin(2.5 * x) + NOISE * rng.normal(size=60)
    grid = np.linspace(-3, 2.5, 200)
    return [a[:, None].astype("float32") for a in (x, y, grid)]


def sampled(schedule, x, y, epochs, burn_in):
    """Collects samples of SGHMC, one after each epoch that has noise."""
    keras.utils.set_random_seed(0)
    model = tfpbnn.Sequential(
        [
            keras.Input((1,)),
            keras.layers.Dense(20, activation="tanh"),
            keras.layers.Dense(1),
        ]
    )
    model.compile(
        optimizers.SGHMC(schedule, num_examples=len(x)),
        loss=tfpbnn.likelihoods.Normal(scale=NOISE),
    )
    samples = ensembles.CollectSamples(burn_in=burn_in)
    rows = [np.tile(each, (STEPS, 1)) for each in (x, y)]
    model.fit(
        *rows,
        batch_size=len(x),
        epochs=epochs,
        shuffle=False,
        callbacks=[samples],
        verbose=0,
    )
    return samples.posterior()


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="draw few")
    parser.add_argument("--figures", type=pathlib.Path, default="figures")
    args = parser.parse_args(argv)
    cycles, length = (2, 5) if args.smoke else (8, 15)  # epochs of a cycle
    epochs = cycles * length
    x, y, grid = data()
    cyclical = optimizers.schedules.Cyclical(
        2e-3, STEPS * length, exploration=0.7
    )
    posteriors = {
        "constant rate": sampled(5e-4, x, y, epochs, epochs // 3),
        "cycles": sampled(cyclical, x, y, epochs, 0),
    }
    figure = Figure(figsize=(11, 4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    print(f"{'':14}{'samples':>12}{'at the data':>14}{'in the gap':>14}")
    for ax, (name, posterior) in zip(axes, posteriors.items(), strict=True):
        p = tfpbnn.predict(posterior, grid, seed=0, verbose=0)
        sd = np.sqrt(p.epistemic_variance[:, 0])
        assert np.isfinite(sd).all()
        seen = sd[(grid[:, 0] > 0.5) & (grid[:, 0] < 1.5)].mean()
        gap = sd[(grid[:, 0] > -0.5) & (grid[:, 0] < 0.3)].mean()
        print(f"{name:14}{p.num_samples:12}{seen:14.3f}{gap:14.3f}")
        tfpbnn.plots.predictive_band(p, grid[:, 0], title=name, ax=ax)
        ax.plot(grid, p.draw_means[::4, :, 0].T, color="0.5", linewidth=0.4)
        ax.plot(x, y, ".", color="black", markersize=3)
        ax.set_ylim(-3, 3)
    print("(epistemic standard deviations)")
    args.figures.mkdir(exist_ok=True)
    path = args.figures / "sgmcmc.png"
    figure.savefig(path, dpi=120)
    print(f"Saved {path}")


if __name__ == "__main__":
    main()
