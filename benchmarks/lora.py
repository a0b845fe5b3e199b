"""Low-rank adapters on a text encoder: how calibrated, and at what cost.

    python -m benchmarks.lora scores ENCODER --results FILE
    python -m benchmarks.lora costs

`scores` fine-tunes a pretrained encoder on SST-2 by each method and seed, and
prints a table of accuracy, NLL, ECE and the mean entropy (nats) of the test
sentences, of these with their words shuffled, and of another domain's. Results
go to a file line by line; a run that was stopped goes on from there. ENCODER
and the data (`TFPBNN_DATA`) are as in `examples/lora_text_classifier.py`.

`costs` measures a step of `fit`, its memory, and a prediction, on an encoder of
MiniLM-L6's size with random weights.
"""

import argparse
import functools
import json
import os
import pathlib
import resource
import subprocess
import sys

import keras
import numpy as np

import tfpbnn
from benchmarks import measure
from examples import lora_text_classifier as text
from tfpbnn import lora, metrics

LENGTH, BATCH, DRAWS = 32, 16, 10
LOSS = "sparse_categorical_crossentropy"
METHODS = (
    "deterministic",
    "ensemble",
    "mc_dropout",
    "TFB",
    "laplace",
    "ivon",
    "mean_field",
    "blob",
)
SINGLE = ("deterministic", "blob", "mean_field", "mc_dropout")
COLUMNS = ("accuracy", "NLL", "ECE", "H test", "H shuffled", "H other")


def options_of() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["scores", "costs", "memory"])
    parser.add_argument("subject", nargs="?")
    parser.add_argument("--results", default="lora_scores.jsonl")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--test-rows", type=int, default=872)
    parser.add_argument("--shifted-rows", type=int, default=200)
    parser.add_argument("--held-rows", type=int, default=400)  # of TFB
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=7)
    return parser.parse_args()


class Data:
    """SST-2 as an encoder takes it, a part of the sentences."""

    def __init__(self, options):
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(f"{options.subject}/tokenizer.json")
        folder = pathlib.Path(os.environ["TFPBNN_DATA"]) / "sst2"

        def inputs(texts):
            return text.inputs_of(tokenizer, texts, LENGTH)

        texts, y = text.read(folder / "train.tsv", None)
        order = np.random.default_rng(0).permutation(len(y))
        held = order[options.rows : options.rows + options.held_rows]
        order = order[: options.rows]
        self.x, self.y = inputs([texts[i] for i in order]), y[order]
        self.held = inputs([texts[i] for i in held]), y[held]
        texts, y = text.read(folder / "dev.tsv", None)
        order = np.random.default_rng(0).permutation(len(y))
        order = order[: options.test_rows]
        texts, self.y_test = [texts[i] for i in order], y[order]
        few = options.shifted_rows
        self.sets = {
            "H test": inputs(texts),
            "H shuffled": inputs(text.shuffled(texts[:few])),
            "H other": inputs(text.other_texts()[:few]),
        }


def entropy(p):
    return -np.mean(np.sum(p * np.log(np.maximum(p, 1e-12)), -1))


def scores(probabilities, y):
    """The columns of the table, by their names."""
    p = probabilities["H test"]
    nll = -np.mean(np.log(np.maximum(p[np.arange(len(y)), y], 1e-12)))
    row = [metrics.accuracy(y, p), nll, metrics.ece(y, p)]
    row += [entropy(q) for q in probabilities.values()]
    return dict(zip(COLUMNS, map(float, row), strict=True))


def fitted(plain, data, options, method, optimizer=None):
    model = lora.add_lora(
        plain, 8, alpha=16, method=method, also_train="head", in_place=True
    )
    model.compile(optimizer or keras.optimizers.Adam(1e-3), LOSS)
    model.fit(
        data.x, data.y, batch_size=BATCH, epochs=options.epochs, verbose=0
    )
    return model


def probabilities(model, data, method):
    """The predictive probabilities of each set of sentences."""
    draws = {"draws": "mean"} if method == "deterministic" else {}
    return {
        name: tfpbnn.predict(model, x, DRAWS, seed=0, verbose=0, **draws).mean
        for name, x in data.sets.items()
    }


def adapters_of(options, seed):
    """Where the deterministic adapters of a seed are kept."""
    return f"{options.results}.{seed}.npz"


def loaded(plain, options, seed):
    """The model of a seed with deterministic adapters."""
    path = adapters_of(options, seed)
    model = lora.load_adapters(plain, path, in_place=True)
    model.compile(loss=LOSS)
    return model


def of_method(method, seed, data, options):
    """The predictive probabilities of a method."""
    keras.utils.set_random_seed(seed)
    plain = text.classifier(options.subject)
    if method == "ensemble":
        models = [loaded(plain, options, i) for i in range(options.seeds)]
        found = [probabilities(m, data, "deterministic") for m in models]
        return {k: np.mean([p[k] for p in found], axis=0) for k in data.sets}
    if method == "ivon":
        optimizer = text.ivon()
        model = fitted(plain, data, options, "deterministic", optimizer)
        model = optimizer.posterior(model)
    elif method == "laplace":
        model = loaded(plain, options, seed)
        model = tfpbnn.laplace(model, data.x, data.y, "all", batch_size=BATCH)
    elif method == "TFB":
        model = loaded(plain, options, seed)
        model = lora.tfb(model, *data.held, num_samples=5, steps=3)
    else:
        model = fitted(plain, data, options, method)
    if method == "deterministic":
        lora.save_adapters(model, adapters_of(options, seed))
    return probabilities(model, data, method)


def runs(seeds):
    """Pairs of a method and a seed, in such an order that few tell the most.

    TFB, Laplace and the ensemble are made of the deterministic adapters: the
    ensemble's members are those of all seeds.
    """
    yield from (("deterministic", seed) for seed in range(seeds))
    yield from (("blob", seed) for seed in range(seeds))
    yield "ensemble", 0
    for seed in range(seeds):
        yield from ((name, seed) for name in ("TFB", "laplace", "ivon"))
        yield from ((name, seed) for name in ("mc_dropout", "mean_field"))


def run_scores(options):
    path = pathlib.Path(options.results)
    path.touch()

    def rows():
        return list(map(json.loads, path.read_text().splitlines()))

    done = {(row["method"], row["seed"]) for row in rows()}
    data = Data(options)
    for method, seed in runs(options.seeds):
        if (method, seed) not in done:
            found = of_method(method, seed, data, options)
            row = {"method": method, "seed": seed}
            row |= scores(found, data.y_test)
            with path.open("a") as file:
                print(json.dumps(row), file=file)
    print(table(rows()))


def table(rows):
    """Means and standard deviations over seeds, as Markdown."""
    lines = [["method (runs)", *COLUMNS], ["---"] * (1 + len(COLUMNS))]
    for method in METHODS:
        own = [row for row in rows if row["method"] == method]
        if not own:
            continue
        values = np.array([[row[name] for name in COLUMNS] for row in own])
        means, spreads = values.mean(axis=0), values.std(axis=0)
        lines.append(
            [f"{method} ({len(own)})"]
            + [
                f"{m:.3f} ± {s:.3f}" if len(own) > 1 else f"{m:.3f}"
                for m, s in zip(means, spreads, strict=True)
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def encoder(rows):
    """A classifier of MiniLM-L6's size, with data."""
    import keras_hub

    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=1000,
        num_layers=6,
        num_heads=12,
        hidden_dim=384,
        intermediate_dim=1536,
        max_sequence_length=LENGTH,
    )
    tokens = backbone.output["sequence_output"]
    pooled = keras.layers.GlobalAveragePooling1D()(tokens)
    outputs = keras.layers.Dense(2, activation="softmax", name="head")(pooled)
    rng = np.random.default_rng(0)
    shape = (rows, LENGTH)
    x = {
        "token_ids": rng.integers(0, 1000, shape),
        "segment_ids": np.zeros(shape, int),
        "padding_mask": np.ones(shape, int),
    }
    return keras.Model(backbone.input, outputs), x, rng.integers(0, 2, rows)


def adapted(plain, method):
    model = lora.add_lora(
        plain, 8, method=method, also_train="head", in_place=True
    )
    model.compile("adam", LOSS)
    return model


def run_costs(options):
    plain, x, y = encoder(8 * BATCH)
    models = {method: adapted(plain, method) for method in SINGLE}
    print(f"A step of `fit`, {BATCH} sentences of {LENGTH} tokens")
    measure.report(measure.steps(models, x, y, BATCH, options.rounds))
    print("Memory of a training process at its peak, MB; without its start")
    peaks = {method: peak_memory(method) for method in SINGLE}
    for method, (peak, added) in peaks.items():
        ratio = peak / peaks["deterministic"][0]
        print(f"{method:36}{peak:8.0f}{ratio:8.2f}{added:8.0f}")
    print(f"`predict`, {len(y)} sentences, over one pass at the means")
    for method in SINGLE[1:]:
        model = models[method]

        def draws(count, model=model):
            if not count:
                return tfpbnn.predict(model, x, 1, verbose=0, draws="mean")
            return tfpbnn.predict(model, x, count, seed=0, verbose=0)

        times = measure.calls(
            {str(n): functools.partial(draws, n) for n in (0, 1, DRAWS)},
            options.rounds,
        )
        print(f"{method}, a pass, a draw, {DRAWS} draws")
        measure.report(times)


def peak_memory(method):
    """Megabytes of a process that trains, and how much more than before."""
    command = [sys.executable, "-m", "benchmarks.lora", "memory", method]
    found = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return tuple(map(float, found.stdout.split()[-2:]))


def print_memory(options):
    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    plain, x, y = encoder(8 * BATCH)
    plain.predict(x, batch_size=BATCH, verbose=0)
    before = peak()
    model = adapted(plain, options.subject)
    model.fit(x, y, batch_size=BATCH, epochs=2, verbose=0)
    print(peak(), peak() - before)


def main():
    options = options_of()
    {"scores": run_scores, "costs": run_costs, "memory": print_memory}[
        options.what
    ](options)


if __name__ == "__main__":
    main()
