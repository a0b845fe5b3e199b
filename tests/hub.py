"""Small models of KerasHub, with random weights, and inputs for them."""

import numpy as np
import pytest


def keras_hub():
    return pytest.importorskip("keras_hub")


def backbone(num_layers=1, **kwargs):
    """An encoder of 50 tokens, with 16 features and two heads."""
    return keras_hub().models.BertBackbone(
        vocabulary_size=50,
        num_layers=num_layers,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=24,
        max_sequence_length=12,
        **kwargs,
    )


def classifier(num_layers=2, **kwargs):
    """A task of three classes; without a preprocessor, unless one is given."""
    return keras_hub().models.BertTextClassifier(
        backbone(num_layers),
        num_classes=3,
        activation="softmax",
        **{"preprocessor": None, **kwargs},
    )


def inputs(rows, length=8, padded=2):
    """What an encoder takes; the last places of each row are padding."""
    rng = np.random.default_rng(0)
    mask = np.ones((rows, length), "int32")
    mask[:, length - padded :] = 0
    return {
        "token_ids": rng.integers(1, 50, (rows, length)) * mask,
        "segment_ids": 0 * mask,
        "padding_mask": mask,
    }


WORDS = ["a", "the", "film", "was", "good", "bad", "very", "not", "dull"]


def preprocessor(length=8):
    """Makes inputs of strings of a few words."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = keras_hub().models.BertTokenizer(
        vocabulary=special + WORDS, lowercase=True
    )
    return keras_hub().models.BertTextClassifierPreprocessor(
        tokenizer, sequence_length=length
    )
