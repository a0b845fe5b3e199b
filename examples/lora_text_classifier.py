"""A pretrained text encoder, fine-tuned on SST-2 with low-rank adapters.

How accurate and how calibrated are deterministic adapters, an ensemble of them,
MC dropout, training-free scales (TFB), a Laplace approximation, IVON and BLoB?
And how sure are they of shuffled sentences, and of text that is no review of a
film?

    python examples/lora_text_classifier.py ENCODER --data SST2

ENCODER is a folder with a BERT-like encoder in Hugging Face's format
(config.json, model.safetensors, tokenizer.json), such as that of MiniLM-L6;
SST2 one with train.tsv and dev.tsv, of lines `sentence<TAB>label`. It needs
keras-hub, tokenizers and safetensors.
"""

import argparse
import os
import pathlib
import sys

import keras
import numpy as np

import tfpbnn
from tfpbnn import lora, metrics

LENGTH = 48
MEMBERS = 3


def read(path, count):
    lines = path.read_text().splitlines()[:count]
    pairs = [line.rsplit("\t", 1) for line in lines]
    return [text for text, _ in pairs], np.array([int(y) for _, y in pairs])


def inputs_of(tokenizer, texts, length=LENGTH):
    """What the backbone takes."""
    found = tokenizer.encode_batch(texts)
    ids, mask = np.zeros((2, len(texts), length), "int32")
    for row, encoded in enumerate(found):
        used = encoded.ids[: sum(encoded.attention_mask)]
        used = used[: length - 1] + used[-1:] if len(used) > length else used
        ids[row, : len(used)], mask[row, : len(used)] = used, 1
    return {"token_ids": ids, "padding_mask": mask, "segment_ids": 0 * ids}


def classifier(folder):
    """The encoder, the mean over its tokens, and a new head."""
    import keras_hub

    backbone = keras_hub.models.BertBackbone.from_preset(folder)
    tokens = backbone.output["sequence_output"]
    mask = keras.ops.cast(backbone.input["padding_mask"], "bool")
    pooled = keras.layers.GlobalAveragePooling1D()(tokens, mask=mask)
    outputs = keras.layers.Dense(2, activation="softmax", name="head")(pooled)
    return keras.Model(backbone.input, outputs)


def other_texts():
    """Sentences of another domain: what NumPy says of its functions."""
    docs = [getattr(np, name).__doc__ or "" for name in sorted(dir(np))]
    lines = [line.strip() for doc in docs for line in doc.splitlines()]
    return [line for line in lines if 5 < len(line.split()) < 25][:500]


def shuffled(texts):
    rng = np.random.default_rng(0)
    return [" ".join(rng.permutation(text.split())) for text in texts]


def fitted(plain, x, y, epochs, method, seed=0, optimizer=None):
    keras.utils.set_random_seed(seed)
    model = lora.add_lora(
        plain, 8, alpha=16, method=method, also_train="head", in_place=True
    )
    loss = "sparse_categorical_crossentropy"
    model.compile(optimizer or keras.optimizers.Adam(1e-3), loss)
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=2)
    return model


def by_ivon(*arguments):
    """IVON's Normal over deterministic adapters."""
    optimizer = ivon()
    model = fitted(*arguments, "deterministic", optimizer=optimizer)
    return optimizer.posterior(model)


def ivon():
    """For short trainings from a pretrained network: draws stay near it."""
    return tfpbnn.optimizers.IVON(0.1, hess_init=1.0, beta_2=0.999)


def probabilities(model, sets, is_random=True):
    """The mean probabilities of each set of texts."""
    draws = {} if is_random else {"draws": "mean"}
    return {
        name: tfpbnn.predict(model, x, 10, seed=0, verbose=0, **draws).mean
        for name, x in sets.items()
    }


def show(name, found, y):
    p = found["test"]
    nll = -np.mean(np.log(np.maximum(p[np.arange(len(y)), y], 1e-12)))
    row = [metrics.accuracy(y, p), nll, metrics.ece(y, p)]
    for q in found.values():
        row.append(-np.mean(np.sum(q * np.log(np.maximum(q, 1e-12)), -1)))
    print(f"{name:<14}" + "".join(f"{value:>10.3f}" for value in row))


def run(options, data):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(f"{options.encoder}/tokenizer.json")
    texts, y = read(data / "train.tsv", options.rows)
    held = max(1, len(y) // 10)  # for TFB
    x, x_held = (
        inputs_of(tokenizer, part) for part in (texts[held:], texts[:held])
    )
    texts, y_test = read(data / "dev.tsv", options.rows)
    sets = {
        "test": inputs_of(tokenizer, texts),
        "shuffled": inputs_of(tokenizer, shuffled(texts)),
        "other": inputs_of(tokenizer, other_texts()[: options.rows]),
    }
    plain = classifier(options.encoder)
    arguments = plain, x, y[held:], options.epochs
    members = [
        fitted(*arguments, "deterministic", seed) for seed in range(MEMBERS)
    ]
    print(lora.report(members[0]))
    by_member = [probabilities(m, sets, is_random=False) for m in members]
    found = {
        "deterministic": by_member[0],
        "ensemble": {
            name: np.mean([p[name] for p in by_member], axis=0) for name in sets
        },
        "TFB": probabilities(lora.tfb(members[0], x_held, y[:held]), sets),
        "Laplace": probabilities(
            tfpbnn.laplace(members[0], x, y[held:], "all"), sets
        ),
        "IVON": probabilities(by_ivon(*arguments), sets),
    }
    for name, method in (("MC dropout", "mc_dropout"), ("BLoB", "blob")):
        found[name] = probabilities(fitted(*arguments, method), sets)
    columns = ["accuracy", "NLL", "ECE", *(f"H {name}" for name in sets)]
    print(" " * 14 + "".join(f"{column:>10}"[-10:] for column in columns))
    for name, p in found.items():
        show(name, p, y_test)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("encoder", nargs="?")
    parser.add_argument("--data", default=os.environ.get("TFPBNN_DATA", ""))
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rows", type=int, default=None)
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    folder = pathlib.Path(options.data)
    data = folder / "sst2" if (folder / "sst2").is_dir() else folder
    missing = [
        what
        for what, is_there in (
            ("ENCODER", options.encoder and os.path.isdir(options.encoder)),
            ("--data SST2", (data / "train.tsv").is_file()),
        )
        if not is_there
    ]
    if missing:
        print(f"Not given, or not there: {', '.join(missing)}.\n{__doc__}")
        sys.exit(0 if options.smoke else 2)
    run(options, data)


if __name__ == "__main__":
    main()
