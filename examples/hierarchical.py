"""Groups that share what they have in common: partial pooling.

Twelve groups with a line each, of 3 to 30 rows. Complete pooling has one line
for all, no pooling one for each group alone; with a shared hyperprior the data
say how alike groups are, and small groups borrow from the others. All three are
the same Keras model with other priors, sampled by NUTS.

    python examples/hierarchical.py
"""

import argparse
import pathlib

import keras
import numpy as np
from matplotlib.figure import Figure

import tfpbnn

GROUPS, NOISE = 12, 0.4
SIZES = np.array([3, 3, 3, 4, 4, 5, 6, 8, 10, 15, 20, 30])


def data():
    """Rows of groups, and the true lines, `[GROUPS, 2]`."""
    rng = np.random.default_rng(1)
    lines = [1.0, 0.8] + rng.normal(size=(GROUPS, 2)) * [0.5, 0.3]
    group = np.repeat(np.arange(GROUPS), SIZES)
    x = rng.uniform(-1, 1, len(group))
    y = lines[group, 0] + lines[group, 1] * x + NOISE * rng.normal(size=len(x))
    inputs = {"x": x[:, None].astype("float32"), "group": group[:, None]}
    return inputs, y[:, None].astype("float32"), lines


def network():
    """A line for all plus a deviation for each group."""
    x = keras.Input((1,), name="x")
    group = keras.Input((1,), name="group", dtype="int32")
    shared = keras.layers.Dense(1, name="shared")(x)
    levels = keras.layers.Embedding(GROUPS, 1, name="levels")(group)
    slopes = keras.layers.Embedding(GROUPS, 1, name="slopes")(group)
    level = keras.layers.Flatten()(levels)
    slope = keras.layers.Flatten()(slopes)
    loc = shared + level + slope * x
    outputs = tfpbnn.layers.HomoscedasticScale(name="noise")(loc)
    return keras.Model({"x": x, "group": group}, outputs)


def priors():
    """Of each way to pool, by the layers' names; None takes no deviation."""
    wide = tfpbnn.priors.Normal(scale=5.0)
    learned = tfpbnn.priors.HierarchicalNormal(tfpbnn.priors.HalfCauchy(1.0))
    return {
        "complete": {"shared": wide, "levels": None, "slopes": None},
        "no": {"shared": None, "levels": wide, "slopes": wide},
        "partial": {"shared": wide, "levels": learned, "slopes": learned},
    }


def sample(prior, x, y, steps):
    model = network()
    for variable in model.weights:  # what is not random is 0
        if "noise" not in variable.path:
            variable.assign(np.zeros(variable.shape))
    return tfpbnn.mcmc.sample(
        model,
        x,
        y,
        likelihood=tfpbnn.likelihoods.Normal(),
        prior=prior,
        num_warmup=steps,
        num_samples=steps,
        seed=0,
        target_accept=0.9,
    )


def levels(posterior):
    """Draws of the groups' levels, at x = 0: `[draws, GROUPS]`."""
    x = {
        "x": np.zeros([GROUPS, 1], "float32"),
        "group": np.arange(GROUPS)[:, None],
    }
    return posterior.predictions(x).reshape((-1, GROUPS))


def draw(found, lines, y, group, path):
    """The groups' levels in each way, the smallest group first."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    ax = figure.add_subplot()
    place = np.arange(GROUPS)
    means = [y[group == g].mean() for g in place]
    ax.plot(place, lines[:, 0], "kx", label="truth")
    ax.plot(place, means, ".", color="#8a8f98", label="mean of the rows")
    colors = {"complete": "#3a8f5c", "no": "#d9822b", "partial": "#1f5fa8"}
    for shift, (name, draws) in zip(
        (-0.2, 0.0, 0.2), found.items(), strict=True
    ):
        low, middle, high = np.percentile(draws, [5, 50, 95], axis=0)
        ax.errorbar(
            place + shift,
            middle,
            [middle - low, high - middle],
            fmt="o",
            markersize=4,
            color=colors[name],
            label=f"{name} pooling, 90 %",
        )
    ax.set_xticks(place, [f"{n} rows" for n in SIZES], rotation=45)
    ax.set_ylabel("level of the group")
    figure.legend(loc="outside upper center", ncols=5, edgecolor="none")
    figure.savefig(path, dpi=120)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="draw few")
    parser.add_argument("--figures", type=pathlib.Path, default="figures")
    args = parser.parse_args(argv)
    keras.utils.set_random_seed(0)
    steps = 50 if args.smoke else 1000
    x, y, lines = data()
    found = {}
    print(f"{'pooling':10}{'rmse of levels':>16}{'of small groups':>18}")
    for name, prior in priors().items():
        posterior = sample(prior, x, y, steps)
        found[name] = levels(posterior)
        error = found[name].mean(0) - lines[:, 0]
        rmse, small = np.sqrt([np.mean(error**2), np.mean(error[:6] ** 2)])
        assert np.isfinite(rmse)
        print(f"{name:10}{rmse:16.3f}{small:18.3f}")
    print(posterior.summary(x).round(3).to_string())
    args.figures.mkdir(exist_ok=True)
    path = args.figures / "hierarchical.png"
    draw(found, lines, y[:, 0], x["group"][:, 0], path)
    print(f"\nSaved {path}")


if __name__ == "__main__":
    main()
