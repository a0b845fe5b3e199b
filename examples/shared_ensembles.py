"""Ensembles in one network: what sharing costs and what it gives.

Scikit-learn's handwritten digits, 300 of them for training: one network, and
the ensembles that share its weights or its passes, side by side.

    python examples/shared_ensembles.py
"""

import argparse
import time

import keras
from sklearn import datasets, model_selection

import tfpbnn
from tfpbnn import ensembles

# What each makes of the one network; wider where members share its width.
METHODS = {
    "one network": (48, lambda model: model),
    "BatchEnsemble, 4": (
        48,
        lambda model: ensembles.to_batch_ensemble(
            model, 4, fast_initializer="random_sign"
        ),
    ),
    "Rank-1, 4": (48, lambda model: ensembles.to_rank1(model, 4)),
    "packed, 4, alpha=4": (
        48,
        lambda model: ensembles.to_packed_ensemble(model, 4, alpha=4),
    ),
    "MIMO, 2": (
        96,
        lambda model: ensembles.to_mimo(model, 2, batch_repetition=2),
    ),
    "Masksembles, 4": (
        96,
        lambda model: ensembles.to_masksembles(model, 4, scale=1.5),
    ),
}


def load(num_train):
    images, labels = datasets.load_digits(return_X_y=True)
    return model_selection.train_test_split(
        (images / 16).astype("float32"),
        labels,
        train_size=num_train,
        random_state=0,
        stratify=labels,
    )


def network(units):
    return keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(units, activation="relu"),
            keras.layers.Dense(units, activation="relu"),
            keras.layers.Dense(10),
        ]
    )


def row(method, data, epochs):
    """Trains one method and scores it."""
    x, x_test, y, y_test = data
    keras.utils.set_random_seed(0)
    units, make = METHODS[method]
    model = make(network(units))
    model.compile(
        keras.optimizers.Adam(3e-3),
        loss=tfpbnn.likelihoods.Categorical(),
        jit_compile=False,
    )
    start = time.perf_counter()
    model.fit(x, y, batch_size=60, epochs=epochs, verbose=0)
    seconds = time.perf_counter() - start
    is_one = isinstance(model, keras.Sequential)
    scores = tfpbnn.evaluate(
        model,
        x_test,
        y_test,
        seed=0,
        verbose=0,
        draws="mean" if is_one else "auto",
    )
    size = sum(v.numpy().size for v in model.trainable_variables)
    return scores | {"parameters": size, "seconds": seconds}


def print_table(rows):
    columns = ("accuracy", "nll", "ece")
    heads = [*columns, "parameters", "seconds"]
    print(f"{'':20}" + "".join(f"{name:>12}" for name in heads))
    for name, values in rows.items():
        cells = "".join(f"{values[column]:12.3f}" for column in columns)
        cells += f"{values['parameters']:12,}{values['seconds']:12.1f}"
        print(f"{name:20}{cells}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="train briefly")
    args = parser.parse_args()
    num_train, epochs = (100, 1) if args.smoke else (300, 30)
    data = load(num_train)
    print_table({method: row(method, data, epochs) for method in METHODS})


if __name__ == "__main__":
    main()
