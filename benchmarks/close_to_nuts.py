"""How far approximate posteriors are from the exact one, by NUTS.

    python -m benchmarks.close_to_nuts [--seed 0]

The network of `mcmc.py`: 13-50-1, tanh, 500 rows, noise of 0.1 and a standard
Normal prior on each weight. Of each method the table has the W1 distance of the
network's output from that of NUTS, the mean over test points, and the standard
deviation of the output, both in units of NUTS's standard deviation at the
point. Test points are those of the benchmark, like the training rows, and the
same three times as far from the origin.
"""

import argparse
import time

import keras
import numpy as np
from scipy import stats

import tfpbnn
from benchmarks import mcmc
from tfpbnn import ensembles, optimizers

NOISE, BATCH, STEPS, DRAWS = 0.1, 100, 100, 400
X, Y, TEST = mcmc.data("13-50-1")
PLACES = np.concatenate([TEST, 3 * TEST])
N = len(X)
L = keras.layers


def network(*noise, cls=keras.Sequential):
    hidden = L.Dense(50, activation="tanh")
    return cls([keras.Input((13,)), hidden, *noise, L.Dense(1)])


def fit(model, optimizer, epochs, *callbacks):
    """Trains by epochs of 100 steps, which have each row 20 times."""
    model.compile(optimizer, loss=tfpbnn.likelihoods.Normal(scale=NOISE))
    times = BATCH * STEPS // N
    model.fit(
        np.tile(X, (times, 1)),
        np.tile(Y, (times, 1)),
        batch_size=BATCH,
        epochs=epochs,
        callbacks=list(callbacks),
        verbose=0,
    )
    return model


def cosine(rate, epochs):
    return keras.optimizers.schedules.CosineDecay(rate, STEPS * epochs)


def adam(model, epochs=40, *callbacks):
    return fit(
        model, keras.optimizers.Adam(cosine(0.01, epochs)), epochs, *callbacks
    )


def nuts(seed):
    return tfpbnn.mcmc.sample(
        network(),
        X,
        Y,
        likelihood=tfpbnn.likelihoods.Normal(scale=NOISE),
        num_chains=4,
        num_warmup=300,
        num_samples=DRAWS // 4,
        seed=seed,
        verbose=0,
    )


def penalized():
    """The network at the mode of its posterior, where Laplace begins."""
    penalty = keras.regularizers.L2(0.5 / N)
    layers = [
        L.Dense(
            units, name, kernel_regularizer=penalty, bias_regularizer=penalty
        )
        for units, name in ((50, "tanh"), (1, None))
    ]
    return adam(keras.Sequential([keras.Input((13,)), *layers]))


def laplace(structure, link):
    return tfpbnn.laplace(
        penalized(),
        X,
        Y,
        "all",
        structure,
        prior_precision=1.0,
        link=link,
        likelihood=tfpbnn.likelihoods.Normal(scale=NOISE),
    )


def variational():
    posterior = {"bias_posterior": "mean_field_normal"}
    flipout = tfpbnn.layers.DenseFlipout
    model = tfpbnn.Sequential(
        [
            keras.Input((13,)),
            flipout(50, activation="tanh", bias_prior="normal", **posterior),
            flipout(1, bias_prior="normal", **posterior),
        ]
    )
    return adam(model, 100, tfpbnn.callbacks.KLWeight(N))


def ivon(epochs=100):
    optimizer = optimizers.IVON(
        cosine(0.1, epochs),
        ess=N,
        hess_init=10.0,
        beta_2=1 - 3 / (STEPS * epochs),
        weight_decay=1 / N,
        clip_radius=0.1,
    )
    model = fit(network(cls=tfpbnn.Sequential), optimizer, epochs)
    return optimizer.posterior(model)


def sghmc(epochs=250):
    model = adam(network(cls=tfpbnn.Sequential))
    samples = ensembles.CollectSamples(burn_in=50)
    fit(model, optimizers.SGHMC(1e-4, N), epochs, samples)
    return samples.posterior()


METHODS = {
    "NUTS, another seed": lambda: nuts(1),
    "SGHMC": sghmc,
    "Laplace, full, linearized": lambda: laplace("full", "linearized"),
    "Laplace, full, sampling": lambda: laplace("full", "sampling"),
    "Laplace, kron, linearized": lambda: laplace("kron", "linearized"),
    "Laplace, diag, linearized": lambda: laplace("diag", "linearized"),
    "IVON": ivon,
    "variational, Flipout": variational,
    "deep ensemble, 20": lambda: adam(ensembles.DeepEnsemble(network, 20)),
    "MC dropout, 0.05": lambda: adam(network(tfpbnn.layers.MCDropout(0.05))),
}


def draws(posterior):
    """The network's output at the test points, `[S, 40]`."""
    p = tfpbnn.predict(
        posterior,
        PLACES,
        DRAWS,
        likelihood=tfpbnn.likelihoods.Normal(scale=NOISE),
        seed=0,
        verbose=0,
    )
    return p.draw_means[..., 0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    args = parser.parse_args()
    keras.utils.set_random_seed(args.seed)
    exact = draws(nuts(0))
    print("| | W1, like the data | sd | W1, far off | sd | processor time, s |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in args.methods:
        start = time.process_time()
        found = draws(METHODS[name]())
        seconds = time.process_time() - start
        sd = exact.std(axis=0)
        pairs = zip(exact.T, found.T, strict=True)
        distance = np.array([stats.wasserstein_distance(*p) for p in pairs])
        distance, ratio = distance / sd, found.std(axis=0) / sd
        numbers = [
            f"{part.mean():.2f}"
            for half in (slice(20), slice(20, 40))
            for part in (distance[half], ratio[half])
        ]
        print(f"| {name} | {' | '.join(numbers)} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
