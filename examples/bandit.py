"""Which arm to pull? Thompson sampling against epsilon-greedy.

A contextual bandit: each context is a point of the plane, and five arms pay an
unknown smooth function of it, with noise. A variational network learns from the
rewards of arms that were pulled. Thompson sampling pulls the arm that is best
under one draw of the network for each context, so that it tries what may be
good and stops when it knows better; epsilon-greedy pulls the best arm by the
mean, and any arm in one of ten cases for ever. The table has the regret: what
the best arms would have paid in addition.

    python examples/bandit.py
"""

import argparse

import keras
import numpy as np

import tfpbnn
from tfpbnn.layers import DenseFlipout

ARMS, NOISE, EPSILON = 5, 0.3, 0.1
COLORS = {"Thompson": "#2a6f97", "epsilon-greedy": "#e08e45"}


def payoffs(x):
    """The mean reward of each arm, `[N, 5]`."""
    angles = 2 * np.pi * np.arange(ARMS) / ARMS
    directions = np.stack([np.cos(angles), np.sin(angles)])
    return np.cos(np.pi * (x @ directions - 0.4))


def with_arms(x):
    """The inputs of all pairs of a context and an arm, `[N * 5, 7]`."""
    contexts = np.repeat(x, ARMS, axis=0)
    arms = np.tile(np.eye(ARMS), (len(x), 1))
    return np.concatenate([contexts, arms], axis=1).astype("float32")


def new_model():
    model = tfpbnn.Sequential(
        [
            keras.Input((2 + ARMS,)),
            DenseFlipout(64, activation="relu", kernel_prior="he_normal"),
            DenseFlipout(1, kernel_prior="he_normal"),
        ]
    )
    likelihood = tfpbnn.likelihoods.Normal(scale=NOISE)
    model.compile(keras.optimizers.Adam(5e-3), likelihood)
    return model


def thompson(model, x, rng):
    """Chooses an arm for each context, by a draw of its own."""
    seed = int(rng.integers(2**31))
    p = tfpbnn.predict(
        model, with_arms(x), len(x), draws="coherent", seed=seed, verbose=0
    )
    values = p.draw_means.reshape(len(x), len(x), ARMS)
    rows = np.arange(len(x))
    return np.argmax(values[rows, rows], axis=1)


def epsilon_greedy(model, x, rng):
    """Chooses the best arm by the mean, or in some cases any arm."""
    values = tfpbnn.predict(model, with_arms(x), 20, verbose=0).mean
    best = np.argmax(values.reshape(len(x), ARMS), axis=1)
    is_random = rng.uniform(size=len(x)) < EPSILON
    return np.where(is_random, rng.integers(ARMS, size=len(x)), best)


POLICIES = {"Thompson": thompson, "epsilon-greedy": epsilon_greedy}


def play(policy, seed, rounds, epochs, size=20):
    """Plays rounds of some contexts each; gives the regret of each round."""
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    model, inputs, rewards, regrets = new_model(), [], [], []
    for number in range(rounds):
        x = rng.uniform(-1, 1, size=(size, 2))
        means = payoffs(x)
        # Nothing is known in the first round.
        arms = rng.integers(ARMS, size=size)
        if number:
            arms = policy(model, x, rng)
        rows = np.arange(size)
        inputs.append(with_arms(x).reshape(size, ARMS, -1)[rows, arms])
        rewards.append(means[rows, arms] + NOISE * rng.normal(size=size))
        regrets.append(np.sum(means.max(axis=1) - means[rows, arms]))
        model.fit(
            np.concatenate(inputs),
            np.concatenate(rewards),
            batch_size=64,
            epochs=epochs,
            verbose=0,
        )
    return np.cumsum(regrets)


def plot(found, path):
    # Set before pyplot is imported, so that no display is needed.
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for name, runs in found.items():
        steps = 20 * np.arange(1, len(runs[0]) + 1)
        for run in runs:
            axes.plot(steps, run, color=COLORS[name], alpha=0.25)
        axes.plot(steps, np.mean(runs, 0), color=COLORS[name], label=name)
    axes.set(xlabel="contexts", ylabel="regret so far")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="play briefly")
    parser.add_argument("--plot", help="path of a figure to write")
    args = parser.parse_args()
    seeds, rounds, epochs = (1, 3, 1) if args.smoke else (3, 40, 15)

    found = {
        name: [play(policy, seed, rounds, epochs) for seed in range(seeds)]
        for name, policy in POLICIES.items()
    }
    print(f"{'':15} regret: in all  in the last tenth, by context")
    for name, runs in found.items():
        total = np.mean([run[-1] for run in runs])
        tenth = max(1, rounds // 10)
        late = np.mean([run[-1] - run[-1 - tenth] for run in runs])
        print(f"{name:15} {total:14.1f}  {late / (20 * tenth):.3f}")
    if args.plot:
        plot(found, args.plot)


if __name__ == "__main__":
    main()
