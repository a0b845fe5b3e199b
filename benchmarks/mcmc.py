"""Effective draws of predictions per second: ours beside NumPyro's NUTS.

    python benchmarks/mcmc.py --samplers nuts mclmc chees numpyro --repeats 3

Each run is a process of its own, and its time is that of everything: tracing,
compiling, warm-up and draws. What counts is the median, over 20 test points, of
the bulk effective sample size of the mean prediction. The time to 400 of them
is that of a run of few draws, for all that comes before them, and of the rest
in proportion. `--processor` counts processor time, for busy machines.
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

CHAINS, WARMUP, DRAWS = 4, 500, 500
CLOCK = "MCMC_BENCHMARK_PROCESSOR"
WANTED, FEW = 400, 10
# Of kernels whose chains learn from each other: chains, and draws of each.
MANY = (16, 150)
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


def ours(name, kernel, seed, few):
    """Predictions `[C, S, 20]` of `tfpbnn.mcmc.sample`."""
    import keras

    import tfpbnn

    x, y, test = data(name)
    inputs, hidden, _ = HIDDEN[name]
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((inputs,)),
            *(keras.layers.Dense(n, activation="tanh") for n in hidden),
            keras.layers.Dense(1),
        ]
    )
    kernel, _, init = kernel.partition("+")
    chains, draws = MANY if kernel in ("chees", "snaper") else (CHAINS, DRAWS)
    draws = FEW if few else draws
    began = now()
    posterior = tfpbnn.mcmc.sample(
        model,
        x,
        y,
        kernel,
        likelihood=tfpbnn.likelihoods.Normal(scale=0.1),
        num_chains=chains,
        num_warmup=WARMUP,
        num_samples=draws,
        init=init or None,
        seed=seed,
        verbose=0,
    )
    took = now() - began
    gradients = posterior.statistics["num_gradients"].mean()
    return took, posterior.predictions(test)[..., 0], float(gradients)


def numpyro(name, kernel, seed, few):
    """The same by NumPyro, with its chains in parallel or vectorized."""
    method = kernel.partition("+")[2] or "parallel"
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={CHAINS}"
    import jax
    import jax.numpy as jnp
    import numpyro
    from numpyro import distributions as dist
    from numpyro.infer import MCMC, NUTS

    x, y, test = data(name)
    inputs, hidden, _ = HIDDEN[name]
    widths = [inputs, *hidden, 1]

    def forward(parameters, x):
        h = x
        for i in range(len(widths) - 1):
            h = h @ parameters[f"w{i}"] + parameters[f"b{i}"]
            h = jnp.tanh(h) if i < len(widths) - 2 else h
        return h

    def model(x, y):
        parameters = {}
        for i, shape in enumerate(itertools.pairwise(widths)):
            w = dist.Normal(0, 1).expand(shape).to_event(2)
            b = dist.Normal(0, 1).expand(shape[1:]).to_event(1)
            parameters[f"w{i}"] = numpyro.sample(f"w{i}", w)
            parameters[f"b{i}"] = numpyro.sample(f"b{i}", b)
        numpyro.sample("y", dist.Normal(forward(parameters, x), 0.1), obs=y)

    began = now()
    mcmc = MCMC(
        NUTS(model),
        num_warmup=WARMUP,
        num_samples=FEW if few else DRAWS,
        num_chains=CHAINS,
        chain_method=method,
        progress_bar=False,
    )
    mcmc.run(jax.random.PRNGKey(seed), x, y, extra_fields=("num_steps",))
    draws = jax.block_until_ready(mcmc.get_samples(group_by_chain=True))
    took = now() - began
    predict = jax.vmap(jax.vmap(lambda p: forward(p, test)[..., 0]))
    steps = mcmc.get_extra_fields()["num_steps"]
    return took, np.asarray(predict(draws)), float(steps.mean())


def now():
    """A clock: of the wall, or of this process's cores together."""
    return time.process_time() if CLOCK in os.environ else time.monotonic()


def run_one(name, sampler, seed, few):
    """Prints the figures of one run as JSON."""
    import arviz

    run = numpyro if sampler.startswith("numpyro") else ours
    took, predictions, gradients = run(name, sampler, seed, few)
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


def child(arguments, sampler, seed, few=False):
    """The figures of one run in a process of its own."""
    is_numpyro = sampler.startswith("numpyro")
    python = arguments.numpyro_python if is_numpyro else sys.executable
    command = [python, __file__, "--network", arguments.network]
    command += ["--one", sampler, str(seed), *(["--few"] if few else [])]
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
    """The figures of a whole run, and the time to as many draws as wanted."""
    whole = child(arguments, sampler, seed)
    before = child(arguments, sampler, seed, few=True)["seconds"]
    share = WANTED / whole["ess"]
    whole["seconds_to_400"] = before + share * (whole["seconds"] - before)
    return whole


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--network", default="13-50-1", choices=HIDDEN)
    parser.add_argument("--samplers", nargs="+", default=["nuts", "numpyro"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--numpyro-python", default=sys.executable)
    parser.add_argument("--processor", action="store_true")
    parser.add_argument("--one", nargs=2)
    parser.add_argument("--few", action="store_true")
    arguments = parser.parse_args()
    if arguments.one:
        sampler, seed = arguments.one
        run_one(arguments.network, sampler, int(seed), arguments.few)
        return
    found = {sampler: [] for sampler in arguments.samplers}
    for seed in range(arguments.repeats):
        for sampler in arguments.samplers:
            found[sampler].append(measured(arguments, sampler, seed))
            print(sampler, found[sampler][-1], flush=True)
    for sampler, runs in found.items():
        rate, to_400 = (
            statistics.median(run[name] for run in runs)
            for name in ("ess_per_second", "seconds_to_400")
        )
        print(
            f"{sampler:20s} {rate:8.2f} effective draws a second, "
            f"{to_400:7.1f} s to {WANTED}"
        )


if __name__ == "__main__":
    main()
