"""A model that follows a world that changes, without keeping its data.

Each day brings some rows of a classification whose classes turn slowly, and
jump once. Before a day is learned it is predicted: the table has the negative
log-likelihood (nats, lower is better) before, at and after the jump.

- "last day only": a new model each day, which forgets all;
- "remember": `tfpbnn.update_prior` makes each day's posterior the prior of the
  next;
- "forget": the same, and a day counts 0.7 as much each day later;
- "forget on alarm": days are remembered well (0.95), until a
  `tfpbnn.monitor.UncertaintyMonitor` finds the model overconfident; then nearly
  all is forgotten at once.

    python examples/drifting_stream.py
"""

import argparse
import tempfile

import keras
import numpy as np

import tfpbnn
from tfpbnn.layers import DenseFlipout

COLORS = {
    "last day only": "#8d99ae",
    "remember": "#2a6f97",
    "forget": "#e08e45",
    "forget on alarm": "#5a9367",
}


def day(number, jump, size=60):
    """The rows of a day: two classes, on two sides of a curve that turns."""
    rng = np.random.default_rng(number)
    angle = 0.02 * number + (2.0 if number >= jump else 0.0)
    x = rng.normal(size=(size, 2))
    across = x @ [np.cos(angle), np.sin(angle)]
    along = x @ [-np.sin(angle), np.cos(angle)]
    logit = 4 * (across - 0.5 * np.sin(2 * along))
    y = rng.uniform(size=size) < 1 / (1 + np.exp(-logit))
    return x.astype("float32"), y.astype("int64")[:, np.newaxis]


def new_model():
    variational = {
        "kernel_prior": "he_normal",
        "bias_posterior": "mean_field_normal",
        "bias_prior": "normal",
    }
    model = tfpbnn.Sequential(
        [
            keras.Input((2,)),
            DenseFlipout(32, activation="tanh", **variational),
            DenseFlipout(1, **variational),
        ]
    )
    likelihood = tfpbnn.likelihoods.Bernoulli()
    model.compile(keras.optimizers.Adam(1e-2), likelihood)
    return model


class Watch:
    """A monitor that raises an alarm as soon as the model is overconfident."""

    def __init__(self, path, reference):
        self._alarms = []
        # A false alarm comes once in 10,000 labels or more, in the mean.
        self._monitor = tfpbnn.monitor.UncertaintyMonitor(
            path,
            reference,
            control="run",
            alpha=1e-4,
            on_alarm=self._alarms.append,
        )

    def is_alarmed(self, number, predictive, y):
        """Whether a day's labels say that the world is another one."""
        ids = [f"day {number}, {row}" for row in range(len(y))]
        self._monitor.log(ids, predictive)
        self._monitor.observe(ids, y)
        found = [a for a in self._alarms if a.signal == "confidence gap"]
        if found:
            words, rows = found[0].words, found[0].num_rows
            print(f"  day {number}, label {rows} since the start: {words}")
            self._monitor.restart()  # the model is another one from now on
        self._alarms.clear()
        return bool(found)


def follow(strategy, days, jump, epochs, folder):
    """Predicts each day before it is learned; gives the nll of each."""
    keras.utils.set_random_seed(0)
    model, watch, scores = new_model(), None, []
    for number in range(days):
        x, y = day(number, jump)
        if number:
            p = tfpbnn.predict(model, x, 100, seed=number, verbose=0)
            scores.append(p.nll(y))
            if strategy == "last day only":
                model = new_model()
            elif strategy == "forget on alarm":
                watch = watch or Watch(f"{folder}/monitor.db", p)
                is_new = watch.is_alarmed(number, p, y)
                model = tfpbnn.update_prior(model, 0.02 if is_new else 0.95)
            else:
                forgetting = 0.7 if strategy == "forget" else 1.0
                model = tfpbnn.update_prior(model, forgetting)
        model.fit(x, y, epochs=epochs, batch_size=60, verbose=0)
    return np.asarray(scores)


def plot(found, jump, path):
    # Set before pyplot is imported, so that no display is needed.
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for name, scores in found.items():
        days = np.arange(1, len(scores) + 1)
        axes.plot(days, scores, color=COLORS[name], label=name)
    axes.axvline(jump, color="k", lw=0.8, ls=":")
    axes.set(xlabel="day", ylabel="nll of the day before it is learned")
    axes.set_ylim(0, None)
    axes.text(jump - 0.1, 0.05, "the jump", ha="right")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="train briefly")
    parser.add_argument("--plot", help="path of a figure to write")
    args = parser.parse_args()
    days, jump, epochs = (4, 2, 1) if args.smoke else (12, 8, 100)

    found = {}
    print(f"{'':16} before  at the jump  the day after  later")
    for name in COLORS:
        with tempfile.TemporaryDirectory() as folder:
            scores = follow(name, days, jump, epochs, folder)
        found[name] = scores
        parts = scores[: jump - 1], scores[jump - 1 : jump]
        parts += scores[jump : jump + 1], scores[jump + 1 :]
        row = "  ".join(
            f"{np.mean(part):{width}.3f}" if len(part) else "-".rjust(width)
            for part, width in zip(parts, (6, 11, 13, 6), strict=True)
        )
        print(f"{name:16} {row}")
    if args.plot:
        plot(found, jump, args.plot)


if __name__ == "__main__":
    main()
