"""Moments of posteriors by long runs of NumPyro, which tests compare ours with.

    python benchmarks/reference_moments.py logistic tests/data/logistic.npz
    python benchmarks/reference_moments.py network tests/data/network.npz

It needs numpyro and arviz. Each file has the data, the means of the first two
powers of some quantities under the posterior, their Monte Carlo errors, and the
command and the versions that made it.
"""

import argparse
import os
import pathlib
import sys

import mcmc
import numpy as np

CHAINS = 4


def logistic_data():
    """Labels of 200 rows with inputs that go together, and no test inputs."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 5))
    x[:, 1] = x[:, 0] + 0.5 * x[:, 1]
    logits = x @ [1.0, -2.0, 0.5, 0.0, 1.5] - 0.5
    y = rng.random(200) < 1 / (1 + np.exp(-logits))
    return x.astype("float32"), y.astype("int32")[:, None]


def logistic(dist, numpyro, jnp):
    """Normal(0, 1) weights and bias; the quantities are these."""
    x, y = logistic_data()

    def model():
        weights = numpyro.sample("w", dist.Normal(0, 1).expand([5]))
        bias = numpyro.sample("b", dist.Normal(0, 1))
        logits = x @ weights + bias
        numpyro.sample("y", dist.Bernoulli(logits=logits), obs=y[:, 0])

    def quantities(draws):
        return jnp.append(draws["w"], draws["b"])

    return model, quantities, {"x": x, "y": y}


def network(dist, numpyro, jnp):
    """The 13-50-1 tanh network of `mcmc.py`; predictions at test inputs."""
    x, y, test = mcmc.data("13-50-1")
    shapes = {"w0": (13, 50), "b0": (50,), "w1": (50, 1), "b1": (1,)}

    def forward(weights, x):
        hidden = jnp.tanh(x @ weights["w0"] + weights["b0"])
        return hidden @ weights["w1"] + weights["b1"]

    def model():
        weights = {
            name: numpyro.sample(name, dist.Normal(0, 1).expand(shape))
            for name, shape in shapes.items()
        }
        numpyro.sample("y", dist.Normal(forward(weights, x), 0.1), obs=y)

    def quantities(draws):
        return forward(draws, test)[:, 0]

    return model, quantities, {"x": x, "y": y, "test": test}


# How many draws each chain makes.
PROBLEMS = {"logistic": (logistic, 20_000), "network": (network, 3000)}


def moments(values):
    """Means of values and squares `[C, S, K]`, with their errors."""
    import arviz

    arrays = {}
    for name, powers in [("mean", values), ("square", values**2)]:
        data = arviz.convert_to_dataset({"x": powers.astype("float64")})
        arrays[name] = powers.mean((0, 1), dtype="float64")
        arrays[f"{name}_error"] = arviz.mcse(data)["x"].values
    data = arviz.convert_to_dataset({"x": values})
    print("least bulk ESS", float(arviz.ess(data)["x"].min()))
    print("R-hat", float(arviz.rhat(data)["x"].max()))
    return arrays


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("problem", choices=PROBLEMS)
    parser.add_argument("path", type=pathlib.Path)
    parser.add_argument("--draws", type=int)
    arguments = parser.parse_args()
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={CHAINS}"
    import jax
    import numpyro
    from numpyro import distributions as dist
    from numpyro.infer import MCMC, NUTS

    make, draws = PROBLEMS[arguments.problem]
    model, quantities, data = make(dist, numpyro, jax.numpy)
    run = MCMC(
        NUTS(model),
        num_warmup=1000,
        num_samples=arguments.draws or draws,
        num_chains=CHAINS,
        progress_bar=False,
    )
    run.run(jax.random.PRNGKey(0))
    found = run.get_samples(group_by_chain=True)
    arrays = moments(np.asarray(jax.vmap(jax.vmap(quantities))(found)))
    arrays["made_by"] = np.array(
        f"python {' '.join(sys.argv)} (numpyro {numpyro.__version__}, "
        f"jax {jax.__version__}, numpy {np.__version__})"
    )
    arguments.path.parent.mkdir(exist_ok=True)
    np.savez_compressed(arguments.path, **data, **arrays)


if __name__ == "__main__":
    main()
