"""How the cost of training and prediction grows; a projection to many GPUs.

Measures processor time on logical devices of the CPU, for dense networks of
several sizes, and fits to it a model that is linear in what must be done.
Then prints what the same terms come to on GPUs of which the rates are assumed.

    python -m benchmarks.scaling --rounds 3
"""

import itertools
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from scipy import optimize

import tfpbnn
from benchmarks.measure import arguments, calls
from tfpbnn.layers import DenseFlipout

FEATURES, STEPS = 256, 4
WIDTHS, BATCHES = (128, 512), (64, 512)
DRAWS, ROWS = (10, 40), (256, 2048)


class Network(NamedTuple):
    """A network, by what a row costs.

    Attributes:
        weights: P, each with a loc and a scale.
        flops: of a row's forward pass with one draw of the weights.
    """

    name: str
    weights: float
    flops: float


class Machine(NamedTuple):
    """Rates of GPUs, assumed.

    Attributes:
        flops: of products, per second.
        memory: bytes per second of passes over weights.
        inside: bytes per second of an all-reduce in a machine.
        between: bytes per second between machines, of each GPU's part.
        latency: seconds of a round of messages.
        gpus: of a machine.
    """

    flops: float = 5e13
    memory: float = 1.5e12
    inside: float = 1.5e11
    between: float = 2.5e10
    latency: float = 1e-5
    gpus: int = 8


NETWORKS = (
    Network("dense, 10 million weights", 1e7, 2e7),
    Network("ResNet-50, 26 million", 2.6e7, 8e9),
    Network("transformer, 100 million, 512 tokens", 1e8, 1e11),
)


def reduced_bytes(weights: float) -> float:
    """Bytes of the gradients of locs and scales, in float32."""
    return 2 * 4 * weights


def memory_bytes(weights: float, activations: float, draws: int = 1) -> float:
    """Bytes that a replica needs in a step of Adam.

    Locs and scales, their gradients, and two moments of each; then a drawn
    kernel, and what layers have given.
    """
    return 4 * (2 * weights * 4 + weights) + 4 * draws * activations


def all_reduce(size: float, gpus: int, machine: Machine) -> float:
    """Seconds of an all-reduce, within machines and then between them."""
    near = min(gpus, machine.gpus)
    far = max(1, gpus // machine.gpus)
    inside = 2 * (near - 1) / near * size / machine.inside
    # Each GPU of a machine sends its part of what was reduced there.
    between = 2 * (far - 1) / far * size / near / machine.between
    rounds = 2 * (near - 1) + 2 * (far - 1)
    return inside + between + rounds * machine.latency


def step_seconds(
    network: Network, rows: int, gpus: int, machine: Machine
) -> float:
    """Seconds of a Flipout step with so many rows on each GPU."""
    # Two products forward, and twice as many backward.
    products = 2 * 3 * network.flops * rows / machine.flops
    # Each of loc, scale, gradients and moments is read and written.
    passes = 2 * memory_bytes(network.weights, 0) / machine.memory
    size = reduced_bytes(network.weights)
    return products + passes + all_reduce(size, gpus, machine)


def project(rows: int = 64) -> None:
    print(f"\nprojected, {rows} rows on each GPU")
    for network in NETWORKS:
        size = reduced_bytes(network.weights) / 1e6
        print(f"{network.name}: {size:.0f} MB an all-reduce")
        alone = step_seconds(network, rows, 1, Machine())
        for gpus in (1, 8, 64, 512):
            step = step_seconds(network, rows, gpus, Machine())
            reduce = all_reduce(size * 1e6, gpus, Machine())
            print(
                f"{gpus:6} GPUs{step * 1e3:9.2f} ms a step, all-reduce"
                f"{reduce * 1e3:7.2f} ms, efficiency {alone / step:.0%}, "
                f"{gpus * rows / step:,.0f} rows a second"
            )


def model_of(width: int) -> Any:
    layers = [DenseFlipout(width, activation="relu") for _ in range(2)]
    model = tfpbnn.Sequential([keras.Input((FEATURES,)), *layers])
    model.add(DenseFlipout(2))
    model.compile("adam", loss=tfpbnn.likelihoods.Normal())
    return model


def weights_of(width: int) -> int:
    return FEATURES * width + width * width + 2 * width


def fit(terms: dict[str, Any], times: Any) -> None:
    """Prints the coefficients of terms >= 0, and how far off the model is."""
    matrix = np.stack(list(terms.values()), axis=1).astype(float)
    # Relative errors count, as times differ by orders of magnitude.
    scaled, _ = optimize.nnls(matrix / times[:, None], np.ones(len(times)))
    for name, value in zip(terms, scaled, strict=True):
        print(f"  {name:44}{value:12.3g}")
    off = np.abs(matrix @ scaled / times - 1)
    print(f"  off by {np.median(off):.0%} (median), {off.max():.0%} (most)")


def measure(functions: dict[Any, Any], rounds: int) -> tuple[Any, Any]:
    """The cases, and processor milliseconds of each."""
    found = calls(functions, rounds)
    times = [np.median(t[:, 1]) for t in found.values()]
    return np.array(list(found)).T, np.array(times)


def training(strategies: dict[int, Any], rounds: int) -> None:
    functions = {}
    for (replicas, strategy), width in itertools.product(
        strategies.items(), WIDTHS
    ):
        with strategy.scope():
            model = model_of(width)
        for batch in BATCHES:
            x = np.random.normal(size=(STEPS * batch, FEATURES))
            data = x.astype("float32"), x[:, :1].astype("float32")

            def run(model: Any = model, data: Any = data, b: int = batch):
                model.fit(*data, batch_size=b, verbose=0)

            functions[replicas, weights_of(width), batch] = run
    (replicas, weights, batch), times = measure(functions, rounds)
    print("\nprocessor ms of a training step")
    terms = {
        "one": np.ones_like(times),
        "replicas": replicas,
        "replicas x million weights": replicas * weights / 1e6,
        "rows x million weights": batch * weights / 1e6,
    }
    fit(terms, times / STEPS)


def prediction(rounds: int) -> None:
    functions = {}
    for width in WIDTHS:
        model = model_of(width)
        for rows, draws in itertools.product(ROWS, DRAWS):
            x = np.random.normal(size=(rows, FEATURES)).astype("float32")

            def run(model: Any = model, x: Any = x, draws: int = draws):
                tfpbnn.predict(model, x, draws, draws="coherent", verbose=0)

            functions[weights_of(width), rows, draws] = run
    (weights, rows, draws), times = measure(functions, rounds)
    print("\nprocessor ms of a prediction")
    terms = {
        "one": np.ones_like(times),
        "draws x million weights": draws * weights / 1e6,
        "draws x rows x million weights": draws * rows * weights / 1e6,
    }
    fit(terms, times)


def main(rounds: int) -> None:
    (cpu,) = tf.config.list_physical_devices("CPU")
    devices = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, devices)
    simple = tf.distribute.ReductionToOneDevice()
    strategies = {
        count: tf.distribute.MirroredStrategy(
            [f"CPU:{i}" for i in range(count)], simple
        )
        for count in (1, 2)
    }
    project()
    training(strategies, rounds)
    prediction(rounds)


if __name__ == "__main__":
    main(arguments(__doc__).rounds)
