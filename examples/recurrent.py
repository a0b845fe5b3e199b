"""Forecasts with an LSTM whose weights have distributions.

A noisy wave is to be continued from its last 40 steps. One draw of the weights
goes through all steps of a sequence, so each draw is one recurrent network and
its forecast one smooth curve; the band is their mixture, noise included. On
waves faster than any in training the draws differ several times more: that
tells these waves apart, though the band does not grow wide enough for them.

    python examples/recurrent.py
"""

import argparse
import pathlib

import keras
import numpy as np

import tfpbnn
from tfpbnn.layers import DenseFlipout, LSTMReparameterization

PAST, FUTURE = 40, 30  # steps seen, and to be forecast
NOISE = 0.1
TRAINED, UNSEEN = (16.0, 24.0), (6.0, 9.0)  # the waves' periods, in steps


def waves(count, periods, rng):
    """(past, future) of waves with any period in a range, and any phase."""
    period = rng.uniform(*periods, size=(count, 1))
    phase = rng.uniform(0, 2 * np.pi, size=(count, 1))
    steps = np.arange(PAST + FUTURE)
    y = np.sin(2 * np.pi * steps / period + phase)
    y += NOISE * rng.normal(size=y.shape)
    return y[:, :PAST, None], y[:, PAST:]


def network():
    """Past in, a Normal for each future step out."""
    likelihood = tfpbnn.likelihoods.Normal()
    model = tfpbnn.Sequential(
        [
            keras.Input((PAST, 1)),
            LSTMReparameterization(32),
            DenseFlipout(likelihood.params_size(FUTURE)),
        ]
    )
    model.compile(keras.optimizers.Adam(5e-3), loss=likelihood)
    return model


def plot(path, panels, draws=8):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    all_axes = figure.subplots(1, len(panels), sharey=True)
    for ax, (title, past, future, p) in zip(all_axes, panels, strict=True):
        steps = np.arange(FUTURE)
        ax.plot(np.arange(-PAST, 0), past[0], ".-", color="0.6", label="past")
        ax.plot(steps, future[0], "k.", label="future")
        for level, shade in ((0.9, 0.2), (0.5, 0.3)):
            lower, upper = p.interval(level)
            ax.fill_between(
                steps,
                lower[0],
                upper[0],
                color="tab:blue",
                alpha=shade,
                linewidth=0,
                label=f"{level:.0%} interval",
            )
        curves = p.outputs[:draws, 0, :FUTURE].T
        ax.plot(steps, curves, color="tab:orange", linewidth=0.8)
        ax.plot([], color="tab:orange", label="means of single draws")
        ax.set(title=title, xlabel="step")
    handles, labels = all_axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=120)
    print(f"Saved {path}")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="train briefly")
    parser.add_argument("--figures", type=pathlib.Path, default="figures")
    args = parser.parse_args(argv)
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)

    past, future = waves(200 if args.smoke else 2000, TRAINED, rng)
    model = network()
    epochs = 1 if args.smoke else 30
    model.fit(past, future, batch_size=50, epochs=epochs, verbose=0)
    panels = []
    for title, periods in (
        ("a period as in training", TRAINED),
        ("a faster wave than in training", UNSEEN),
    ):
        past, future = waves(100, periods, rng)
        draws = 10 if args.smoke else 50
        p = tfpbnn.predict(model, past, num_samples=draws, seed=0)
        print(
            f"{title}: rmse {p.rmse(future):.2f}, "
            f"coverage of 90% intervals {p.coverage(future):.2f}, "
            f"epistemic stddev {np.sqrt(p.epistemic_variance.mean()):.2f}, "
            f"aleatoric {np.sqrt(p.aleatoric_variance.mean()):.2f}"
        )
        panels.append((title, past, future, p))
    plot(args.figures / "recurrent.png", panels)


if __name__ == "__main__":
    main()
