"""A training step of optimizers that leave a posterior, against Adam's.

The dense network of `training.py` and the convolutional one, each a
`tfpbnn.Sequential`, so that Adam's step is the fast one too; measured as there.
The first row is Adam; keras.Sequential with Adam is a row of its own.

    python -m benchmarks.optimizers [--rounds 15] [--networks dense conv]
"""

import argparse

import keras

import tfpbnn
from benchmarks import convolutional, measure, training
from tfpbnn import optimizers

OPTIMIZERS = {
    "Adam": keras.optimizers.Adam,
    "IVON": optimizers.IVON,
    "SGLD": optimizers.SGLD,
    "PSGLD": optimizers.PSGLD,
    "SGHMC": optimizers.SGHMC,
    "SGNHT": optimizers.SGNHT,
}
DATA = {
    "dense": (training.X, training.Y, training.BATCH),
    "conv": (convolutional.X, convolutional.Y, convolutional.BATCH),
}


def network(kind, sequential):
    """A copy of the plain network, with other weights."""
    if kind == "dense":
        plain = training.keras_network(keras.layers.Dense)
    else:
        plain = convolutional.network(keras.layers, keras, "Conv2D", "Dense")
    return sequential([keras.Input(plain.input_shape[1:]), *plain.layers])


def compiled(kind, optimizer, sequential=tfpbnn.Sequential):
    model = network(kind, sequential)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer(1e-4), loss)
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--networks", nargs="*", default=list(DATA))
    parser.add_argument("--optimizers", nargs="*", default=list(OPTIMIZERS))
    args = parser.parse_args()
    for kind in args.networks:
        x, y, batch_size = DATA[kind]
        models = {
            name: compiled(kind, OPTIMIZERS[name]) for name in args.optimizers
        }
        models["Adam, keras.Sequential"] = compiled(
            kind, OPTIMIZERS["Adam"], keras.Sequential
        )
        print(kind)
        measure.report(measure.steps(models, x, y, batch_size, args.rounds))


if __name__ == "__main__":
    main()
