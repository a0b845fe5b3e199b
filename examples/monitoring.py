"""A model in use, whose world drifts: when does the monitor notice, and what?

Bike rides over a day, by a variational network. For ten days all is as it was
in training. Then the weather gets hotter than any that the network has seen:
the monitor sees that by its inputs and its epistemic uncertainty, before any
label, since labels come two days late, and only half of them. At last people
change their habits: inputs and uncertainties look as ever, and labels alone
tell.

    python examples/monitoring.py
"""

import argparse
import pathlib
import tempfile

import keras
import numpy as np
from matplotlib.figure import Figure

import tfpbnn
from tfpbnn.monitor import UncertaintyMonitor

DAY = 86400.0
START = 1_750_000_000.0


def rides(rng, rows, hotter=0.0, habits=0.0):
    """Inputs (hour, temperature, weekend), and rides in hundreds."""
    hour = rng.uniform(0, 24, rows)
    temperature = rng.normal(15 + hotter, 5, rows)
    weekend = rng.uniform(size=rows) < 2 / 7
    rush = np.exp(-(((hour - 8) / 2) ** 2)) + np.exp(-(((hour - 18) / 3) ** 2))
    mean = 1 + 2 * rush * ~weekend + 0.1 * (temperature - 15) - habits
    x = np.stack([hour / 12 - 1, (temperature - 15) / 5, weekend], axis=1)
    return x.astype("float32"), mean + 0.5 * rng.normal(size=rows)


def trained(x, y, epochs):
    layer = tfpbnn.layers.DenseFlipout
    model = tfpbnn.Sequential(
        [
            keras.Input((3,)),
            layer(32, activation="relu"),
            layer(8, activation="relu"),
            layer(2),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), loss=tfpbnn.likelihoods.Normal())
    model.fit(x, y, epochs=epochs, batch_size=128, verbose=0)
    return model


class Days:
    """A clock that goes on by days."""

    def __init__(self):
        self.day = 0

    def __call__(self):
        return START + self.day * DAY


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a short run")
    parser.add_argument("--folder", type=pathlib.Path, default="build/figures")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    rows = 50 if args.smoke else 200  # a day
    x, y = rides(rng, 4000)
    model = trained(x[:2000], y[:2000], epochs=5 if args.smoke else 60)
    p = tfpbnn.predict(model, x[2000:], 50, seed=0)
    clock, alarms, seen, waiting = Days(), [], [], []
    with tempfile.TemporaryDirectory() as folder:
        monitor = UncertaintyMonitor(
            pathlib.Path(folder) / "monitor.db",
            reference=p,
            reference_y=y[2000:],
            reference_inputs=named(x[2000:]),
            on_alarm=lambda alarm: alarms.append((clock.day, alarm)),
            control="run",
            alpha=1e-4,
            clock=clock,
        )
        for clock.day in range(40):
            hot, changed = 10 <= clock.day < 20, clock.day >= 28
            if clock.day == 28:
                monitor.restart()  # the heat is over, and all is well again
            x, y = rides(rng, rows, hotter=15.0 * hot, habits=0.7 * changed)
            ids = [f"{clock.day}-{i}" for i in range(rows)]
            p = tfpbnn.predict(model, x, 50, seed=clock.day)
            monitor.log(ids, p, inputs=named(x))
            waiting.append((ids[::2], y[::2]))
            if len(waiting) > 2:
                monitor.observe(*waiting.pop(0))
            status = monitor.status("12h")
            seen.append((status.uncertainties["epistemic"], status.scores))
        print(monitor.status("10d"))
        monitor.report(args.folder / "monitoring.html", "40d", n_boot=100)
        monitor.close()
    print("\nAlarms:")
    for day, alarm in alarms:
        print(f"  day {day:2}: {alarm.words}")
    path = args.folder / "monitoring.png"
    drawn(seen, alarms).savefig(path, dpi=150)
    print(f"\nSaved {path}, and a page beside it")


def named(x):
    return dict(zip(("hour", "temperature", "weekend"), x.T, strict=True))


def drawn(seen, alarms):
    """Draws what was seen of each day, with the first alarms of each kind."""
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.subplots(2, sharex=True)
    days = np.arange(len(seen))
    axes[0].plot(days, [each[0] for each in seen], ".-")
    axes[0].set(ylabel="epistemic sd", ylim=(0, None))
    axes[0].set_title("Uncertainty as predictions are made")
    labelled = [i for i, each in enumerate(seen) if each[1]]
    coverage = [seen[i][1]["coverage_90"] for i in labelled]
    axes[1].plot(labelled, coverage, ".-")
    axes[1].axhline(0.9, color="k", ls="--", lw=1)
    axes[1].set(xlabel="day", ylabel="coverage", ylim=(0, 1.05))
    axes[1].set_title(
        "Coverage of 90 % intervals, as labels come (2 days late)"
    )
    of_labels = ("coverage", "bias", "nll", "loss")
    for ax in axes:
        ax.axvspan(10, 20, color="C1", alpha=0.15, lw=0)
        ax.axvspan(28, len(seen), color="C2", alpha=0.15, lw=0)
        ax.spines[["top", "right"]].set_visible(False)
    for day, alarm in alarms:
        is_of_label = alarm.signal.startswith(of_labels)
        axes[int(is_of_label)].axvline(day, color="C3", lw=1)
    axes[0].text(10.2, 0.02, "hotter than ever", color="C1")
    axes[0].text(28.2, 0.02, "other habits", color="C2")
    axes[0].plot([], [], color="C3", lw=1, label="alarm")
    axes[0].legend(frameon=False, loc="upper right")
    return figure


if __name__ == "__main__":
    main()
