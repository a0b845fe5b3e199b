"""Prediction with 100 draws, against plain forward passes and other packages.

All in one process; rounds are interleaved, and what is reported is the median
over rounds of the ratio to the baseline in the same round: a hundred passes, or
one, of the plain Keras network in a `tf.function`. Other packages are
measured in their best form: tfp.layers in a loop in the graph, NumPyro's
`Predictive` compiled.

    python benchmarks/prediction.py [--rounds 15] [--only mlp] [--no-tfp]
"""

import argparse
import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tfpbnn
from tfpbnn import layers

DRAWS, ROWS = 100, 1000
WIDTHS = (512, 512, 10)
DATA = np.random.default_rng(0)
X = DATA.random((ROWS, 784), dtype=np.float32)
PICTURES = DATA.random((ROWS, 28, 28, 1), dtype=np.float32)


@dataclasses.dataclass(frozen=True)
class Case:
    """What is timed.

    Attributes:
        name: of its line.
        run: does it once.
        against: the name of the case that it is compared with.
    """

    name: str
    run: Callable[[], Any]
    against: str | None = None


def network(*dense, between=()):
    """784-512-512-10 of these dense layers, with layers after the hidden."""
    model = keras.Sequential([keras.Input((784,))])
    for make, width in zip(dense, WIDTHS, strict=True):
        is_last = width == WIDTHS[-1]
        model.add(make(width, activation=None if is_last else "relu"))
        for layer in () if is_last else between:
            model.add(layer())
    return model


def convolutional(conv, dense):
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            conv(32, 3, activation="relu"),
            conv(64, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            dense(10),
        ]
    )


def passes(model, x, count):
    """So many forward passes of a plain network."""
    forward = tf.function(lambda x: model(x, training=False), autograph=False)
    x = tf.constant(x)

    def run():
        for _ in range(count):
            forward(x).numpy()

    return run


def ours(model, x, **kwargs):
    likelihood = tfpbnn.likelihoods.Categorical()
    return lambda: tfpbnn.predict(
        model, x, DRAWS, verbose=0, likelihood=likelihood, **kwargs
    )


def tfp_network():
    """tfp.layers on the Keras that they are made for, looped in the graph."""
    import tensorflow_probability as tfp
    import tf_keras

    dense = tfp.layers.DenseReparameterization
    model = tf_keras.Sequential(
        [
            tf_keras.layers.Input((784,)),
            *(dense(width, activation="relu") for width in WIDTHS[:-1]),
            dense(WIDTHS[-1]),
        ]
    )

    @tf.function(autograph=False)
    def draws(x):
        return tf.map_fn(
            lambda _: model(x, training=False),
            tf.range(DRAWS),
            fn_output_signature=tf.float32,
        )

    x = tf.constant(X)
    return lambda: draws(x).numpy()


def numpyro_network():
    """Weights from Normals of their own, by `Predictive`; None without it."""
    try:
        import jax
        import numpyro
        from numpyro import distributions as dist
    except ImportError:
        return None
    rng, sizes = np.random.default_rng(0), (784, *WIDTHS)
    locs = [
        rng.normal(scale=0.1, size=shape).astype("float32")
        for shape in itertools.pairwise(sizes)
    ]

    def model(x):
        for i, loc in enumerate(locs):
            normal = dist.Normal(loc, 0.05).to_event(2)
            x = x @ numpyro.sample(f"kernel_{i}", normal)
            x = jax.nn.relu(x) if i < len(locs) - 1 else x
        numpyro.deterministic("outputs", x)

    predictive = numpyro.infer.Predictive(
        model, num_samples=DRAWS, return_sites=("outputs",)
    )
    draws, x = jax.jit(predictive), jax.numpy.asarray(X)
    key = jax.random.PRNGKey(0)
    return lambda: np.asarray(draws(key, x)["outputs"])


def mlp(with_tfp: bool) -> Iterator[Case]:
    plain, variational = keras.layers.Dense, layers.DenseFlipout
    deterministic = network(plain, plain, plain)
    model = network(*[variational] * 3)
    hundred, one = f"MLP, {DRAWS} plain passes", "MLP, one plain pass"
    yield Case(hundred, passes(deterministic, X, DRAWS))
    yield Case(one, passes(deterministic, X, 1))
    yield Case(
        "all layers, coherent", ours(model, X, draws="coherent"), hundred
    )
    yield Case("all layers, auto", ours(model, X), hundred)
    head = network(plain, plain, variational)
    yield Case(
        "last layer only, coherent", ours(head, X, draws="coherent"), one
    )
    yield Case("last layer only, auto", ours(head, X), one)
    if hasattr(layers, "MCDropout"):
        dropout = network(*[plain] * 3, between=[lambda: layers.MCDropout(0.5)])
        yield Case("MC dropout", ours(dropout, X, draws="coherent"), hundred)
    if with_tfp:
        yield Case("tfp.layers, all layers", tfp_network(), hundred)
    if (run := numpyro_network()) is not None:
        yield Case("NumPyro, all layers", run, hundred)


def row(with_tfp: bool) -> Iterator[Case]:
    """One row: what a service is asked."""
    del with_tfp
    model = network(*[layers.DenseFlipout] * 3)
    coherent = "MLP, 1 row, coherent"
    yield Case(coherent, ours(model, X[:1], draws="coherent"))
    yield Case(
        "MLP, 1 row, marginal", ours(model, X[:1], draws="marginal"), coherent
    )


def images(with_tfp: bool) -> Iterator[Case]:
    del with_tfp
    conv, dense = keras.layers.Conv2D, keras.layers.Dense
    plain = convolutional(conv, dense)
    few, one = PICTURES[:100], "conv, one plain pass"
    hundred = f"conv, {DRAWS} passes, 100 rows"
    yield Case(hundred, passes(plain, few, DRAWS))
    yield Case(one, passes(plain, PICTURES, 1))
    head = convolutional(conv, layers.DenseFlipout)
    yield Case("head, coherent", ours(head, PICTURES, draws="coherent"), one)
    yield Case("head, auto", ours(head, PICTURES), one)
    model = convolutional(layers.Conv2DFlipout, layers.DenseFlipout)
    yield Case("conv, all layers", ours(model, few), hundred)


GROUPS = {"mlp": mlp, "row": row, "images": images}


def measure(cases: list[Case], rounds: int) -> dict[str, np.ndarray]:
    """Milliseconds, `[rounds]` for each case."""
    for case in cases:
        case.run(), case.run()
    times: dict[str, list[float]] = {case.name: [] for case in cases}
    for _ in range(rounds):
        for case in cases:
            start = time.perf_counter()
            case.run()
            times[case.name].append((time.perf_counter() - start) * 1e3)
    return {name: np.array(t) for name, t in times.items()}


def report(cases: list[Case], times: dict[str, np.ndarray]) -> None:
    """The median over rounds, and of the ratio to the case compared with."""
    print(f"{'':28}{'ms':>9}{'ratio':>8}{'25-75 %':>14}  to")
    for case in cases:
        t = times[case.name]
        line = f"{case.name:28}{np.median(t):9.2f}"
        if case.against is not None:
            ratio = t / times[case.against]
            low, high = np.quantile(ratio, [0.25, 0.75])
            line += f"{np.median(ratio):8.3f}{f'{low:.3f}-{high:.3f}':>14}"
            line += f"  {case.against}"
        print(line)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", choices=list(GROUPS))
    parser.add_argument("--no-tfp", action="store_true")
    args = parser.parse_args()
    for name, group in GROUPS.items():
        if args.only in (None, name):
            cases = list(group(not args.no_tfp))
            report(cases, measure(cases, args.rounds))


if __name__ == "__main__":
    main()
