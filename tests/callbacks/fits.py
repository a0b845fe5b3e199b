"""Data in many forms, and what the KL is divided by in a `fit` of them."""

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.callbacks.kl_weight import with_kl_weight

ROWS, STEPS, CLASSES = 20, 3, 4
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, 2)).astype("float32")
Y = RNG.normal(size=(ROWS, 1)).astype("float32")
W = RNG.uniform(0.5, 2.0, ROWS).astype("float32")
CUTS = [0, 3, 11, 18, 20]
REDUCTIONS = ["sum_over_batch_size", "mean", "mean_with_sample_weight", "sum"]


class Uneven(keras.utils.PyDataset):
    """Batches of 3, 8, 7 and 2 rows."""

    def __init__(self, *arrays):
        super().__init__()
        self.arrays = arrays

    def __len__(self):
        return len(CUTS) - 1

    def __getitem__(self, index):
        rows = slice(CUTS[index], CUTS[index + 1])
        return tuple(a[rows] for a in self.arrays)


def generated(*arrays):
    """A dataset of uneven batches that doesn't know its length."""
    return tf.data.Dataset.from_generator(
        lambda: (Uneven(*arrays)[i] for i in range(4)),
        output_signature=tuple(
            tf.TensorSpec([None, *a.shape[1:]], a.dtype) for a in arrays
        ),
    )


def dataset(*arrays):
    return tf.data.Dataset.from_tensor_slices(arrays)


LABELS = RNG.integers(0, CLASSES, (ROWS, STEPS))
ONE_HOT = np.eye(CLASSES, dtype="float32")[LABELS]


def divisor_of(model, given, callback=None):
    """One over the weight that the KL of a model gets for such a `fit`."""
    callbacks = [] if callback is None else [callback]
    first, *_ = with_kl_weight(given | {"callbacks": callbacks})
    first.set_model(model)
    first.on_train_begin()
    first.on_epoch_begin(0)
    (weight,) = (
        float(weight.numpy())
        for weight in model.variables
        if weight.name == "kl_weight"
    )
    first.on_train_end()
    return 1 / weight
