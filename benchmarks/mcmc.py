"""Effective draws of predictions per second: ours beside other NUTS.

    python benchmarks/mcmc.py --samplers nuts mclmc chees numpyro blackjax
    python benchmarks/mcmc.py --samplers mclmc+annealed mclmc+ensemble

Each run is a process of its own, and its time is that of everything: tracing,
compiling, warm-up and draws. What counts is the median, over 20 test points, of
the bulk effective sample size of the mean prediction. The time to 400 of them
is that of a run of few draws, for all that comes before them, and of the rest
in proportion. The share of compiling is the time of a run of one step of
warm-up and one draw, of that of the whole. `--processor` counts processor time,
for busy machines. After "+" comes `init`; "mclmc+ensemble" is MILE, its
training included. NumPyro and BlackJAX may have a Python of their own
(`--numpyro-python`, `--blackjax-python`).
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time

import numpy as np

CHAINS = 4
# Steps of warm-up, and draws of each chain.
WHOLE, FEW, FIRST = (500, 500), (500, 10), (1, 1)
CLOCK = "MCMC_BENCHMARK_PROCESSOR"
WANTED = 400
# Of kernels whose chains learn from each other: chains, and a whole run.
MANY = (16, (500, 150))
HIDDEN = {"13-50-1": (13, (50,), 500), "1-50-50-1": (1, (50, 50), 200)}


def data(name):
    """Inputs, targets and test inputs of a smooth function with noise 0.1."""
    inputs, _, rows = HIDDEN[name]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows + 20, inputs)).astype("float32")
    f = np.sin(2 * x[:, 0])
    if inputs > 2:
        f = f + 0.5 * x[:, 1] * x[:, 2]
    y = f + 0.1 * rng.normal(size=len(f))
    return x[:rows], y[:rows, None].astype("float32"), x[rows:]


def ours(name, kernel, seed, steps):
    """Predictions `[C, S, 20]` of `tfpbnn.mcmc.sample`."""
    import keras

    import tfpbnn

    x, y, test = data(name)
    inputs, hidden, _ = HIDDEN[name]
    keras.utils.set_random_seed(seed)
    began = now()
    model = keras.Sequential(
        [
            keras.Input((inputs,)),
            *(keras.layers.Dense(n, activation="tanh") for n in hidden),
            keras.layers.Dense(1),
        ]
    )
    kernel, _, init = kernel.partition("+")
    if init == "ensemble":
        init = ensemble(model, x, y)
    chains, whole = MANY if kernel in ("chees", "snaper") else (CHAINS, WHOLE)
    warmup, draws = whole if steps == WHOLE else steps
    posterior = tfpbnn.mcmc.sample(
        model,
        x,
        y,
        kernel,
        likelihood=tfpbnn.likelihoods.Normal(scale=0.1),
        num_chains=chains,
        num_warmup=warmup,
        num_samples=draws,
        init=init or None,
        seed=seed,
        verbose=0,
    )
    took = now() - began
    gradients = posterior.statistics["num_gradients"].mean()
    return took, posterior.predictions(test)[..., 0], float(gradients)


def ensemble(model, x, y):
    """Trained members, for a chain to begin at each: MILE, with "mclmc"."""
    import keras

    import tfpbnn

    members = tfpbnn.ensembles.DeepEnsemble(
        lambda: keras.models.clone_model(model), CHAINS
    )
    loss = tfpbnn.likelihoods.Normal(scale=0.1)
    members.compile(keras.optimizers.Adam(0.01), loss=loss)
    members.fit(x, y, batch_size=50, epochs=100, verbose=0)
    return members


def forward(parameters, x):
    """The network in JAX, of its kernels and biases in turn."""
    import jax.numpy as jnp

    *hidden, (kernel, bias) = parameters
    for w, b in hidden:
        x = jnp.tanh(x @ w + b)
    return x @ kernel + bias


def shapes(name):
    """Of kernels and biases."""
    inputs, hidden, _ = HIDDEN[name]
    pairs = itertools.pairwise([inputs, *hidden, 1])
    return [(pair, pair[1:]) for pair in pairs]


def predictions(draws, test):
    """`[C, S, 20]` of draws `[C, S, ...]`."""
    import jax

    run = jax.vmap(jax.vmap(lambda p: forward(p, test)[..., 0]))
    return np.asarray(run(draws))


def numpyro(name, kernel, seed, steps):
    """The same by NumPyro, with its chains in parallel or vectorized."""
    method = kernel.partition("+")[2] or "parallel"
    import jax
    import numpyro
    from numpyro import distributions as dist
    from numpyro.infer import MCMC, NUTS

    x, y, test = data(name)

    def normal(path, shape):
        prior = dist.Normal(0, 1).expand(shape).to_event(len(shape))
        return numpyro.sample(path, prior)

    def model(x, y):
        parameters = [
            (normal(f"w{i}", kernel), normal(f"b{i}", bias))
            for i, (kernel, bias) in enumerate(shapes(name))
        ]
        numpyro.sample("y", dist.Normal(forward(parameters, x), 0.1), obs=y)

    began = now()
    warmup, count = steps
    mcmc = MCMC(
        NUTS(model),
        num_warmup=warmup,
        num_samples=count,
        num_chains=CHAINS,
        chain_method=method,
        progress_bar=False,
    )
    mcmc.run(jax.random.PRNGKey(seed), x, y, extra_fields=("num_steps",))
    draws = jax.block_until_ready(mcmc.get_samples(group_by_chain=True))
    took = now() - began
    draws = [(draws[f"w{i}"], draws[f"b{i}"]) for i in range(len(shapes(name)))]
    gradients = mcmc.get_extra_fields()["num_steps"]
    return took, predictions(draws, test), float(gradients.mean())


def blackjax(name, _, seed, steps):
    """The same by BlackJAX, a chain a device, as NumPyro does in parallel."""
    import blackjax
    import jax

    x, y, test = data(name)
    warmup, count = steps

    def log_density(parameters):
        squares = sum((p**2).sum() for p in jax.tree.leaves(parameters))
        error = (y - forward(parameters, x)) / 0.1
        return -(squares + (error**2).sum()) / 2

    def chain(key):
        places, warm, moves = jax.random.split(key, 3)
        start = [
            tuple(
                jax.random.normal(jax.random.fold_in(place, i), shape)
                for i, shape in enumerate(pair)
            )
            for place, pair in zip(
                jax.random.split(places, len(shapes(name))),
                shapes(name),
                strict=True,
            )
        ]
        adaptation = blackjax.window_adaptation(blackjax.nuts, log_density)
        (state, found), _ = adaptation.run(warm, start, num_steps=warmup)
        step = blackjax.nuts(log_density, **found).step

        def body(state, key):
            state, info = step(key, state)
            return state, (state.position, info.num_integration_steps)

        return jax.lax.scan(body, state, jax.random.split(moves, count))[1]

    began = now()
    keys = jax.random.split(jax.random.PRNGKey(seed), CHAINS)
    draws, gradients = jax.block_until_ready(jax.pmap(chain)(keys))
    took = now() - began
    return took, predictions(draws, test), float(gradients.mean())


OTHERS = {"numpyro": numpyro, "blackjax": blackjax}


def now():
    """A clock: of the wall, or of this process's cores together."""
    return time.process_time() if CLOCK in os.environ else time.monotonic()


def run_one(name, sampler, seed, steps):
    """Prints the figures of one run as JSON."""
    run = OTHERS.get(sampler.partition("+")[0], ours)
    if run is not ours:  # a device for each chain
        devices = f"--xla_force_host_platform_device_count={CHAINS}"
        os.environ["XLA_FLAGS"] = devices
    import arviz

    took, predictions, gradients = run(name, sampler, seed, steps)
    if steps == FIRST:
        print(json.dumps({"seconds": took}))
        return
    found = arviz.convert_to_dataset({"x": predictions})
    ess = float(np.median(arviz.ess(found)["x"]))
    figures = {
        "seconds": took,
        "ess": ess,
        "ess_per_second": ess / took,
        "r_hat": float(np.max(arviz.rhat(found)["x"])),
        "gradients_per_draw": gradients,
        "gradients_per_effective_draw": (
            gradients * predictions.shape[0] * predictions.shape[1] / ess
        ),
        "mean": float(predictions.mean()),
        "sd": float(predictions.std((0, 1)).mean()),
    }
    print(json.dumps(figures))


def child(arguments, sampler, seed, steps=WHOLE):
    """The figures of one run in a process of its own."""
    python = {
        "numpyro": arguments.numpyro_python,
        "blackjax": arguments.blackjax_python,
    }.get(sampler.partition("+")[0], sys.executable)
    command = [python, __file__, "--network", arguments.network]
    command += ["--one", sampler, *map(str, (seed, *steps))]
    clock = {CLOCK: "1"} if arguments.processor else {}
    out = subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | clock,
    ).stdout
    return json.loads(out.splitlines()[-1])


def measured(arguments, sampler, seed):
    """The figures of a whole run, of compiling, and to as many draws."""
    whole = child(arguments, sampler, seed)
    before, first = (
        child(arguments, sampler, seed, steps)["seconds"]
        for steps in (FEW, FIRST)
    )
    share = WANTED / whole["ess"]
    whole["seconds_to_400"] = before + share * (whole["seconds"] - before)
    whole["compiling"] = first / whole["seconds"]
    return whole


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--network", default="13-50-1", choices=HIDDEN)
    parser.add_argument("--samplers", nargs="+", default=["nuts", "numpyro"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--numpyro-python", default=sys.executable)
    parser.add_argument("--blackjax-python", default=sys.executable)
    parser.add_argument("--processor", action="store_true")
    parser.add_argument("--one", nargs=4)
    arguments = parser.parse_args()
    if arguments.one:
        sampler, seed, *steps = arguments.one
        run_one(arguments.network, sampler, int(seed), tuple(map(int, steps)))
        return
    found = {sampler: [] for sampler in arguments.samplers}
    for seed in range(arguments.repeats):
        for sampler in arguments.samplers:
            found[sampler].append(measured(arguments, sampler, seed))
            print(sampler, found[sampler][-1], flush=True)
    names = (
        "ess_per_second",
        "seconds_to_400",
        "compiling",
        "gradients_per_effective_draw",
        "r_hat",
    )
    for sampler, runs in found.items():
        rate, to_400, compiling, gradients, r_hat = (
            statistics.median(run[name] for run in runs) for name in names
        )
        print(
            f"{sampler:20s} {rate:8.2f} effective draws a second, "
            f"{to_400:7.1f} s to {WANTED}, {compiling:.0%} compiling, "
            f"{gradients:.0f} gradients an effective draw, R-hat {r_hat:.3f}"
        )


if __name__ == "__main__":
    main()
