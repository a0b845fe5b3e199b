"""Networks, and their data in each form that Keras takes.

All forms of a network's data are the same rows, so predictions must be those of
the first one.
"""

import functools

import keras
import numpy as np
import pandas as pd
import scipy.sparse
import tensorflow as tf

import tfpbnn

N = 23
_random = np.random.default_rng(0)
DENSE = (_random.random((N, 6)) * (_random.random((N, 6)) < 0.4)).astype("f4")
SPARSE = scipy.sparse.csr_matrix(DENSE)
TENSOR = tf.sparse.from_dense(DENSE)
WORDS = np.resize([*"abcdbca"], N)
TOKENS = [list(_random.integers(1, 9, 1 + i % 4)) for i in range(N)]
FRAME = pd.DataFrame({"z": DENSE[:, 0], "a": DENSE[:, 1], "word": WORDS})
Y = _random.integers(0, 3, N)
WEIGHTS = np.ones(N, "f4")


def dense(**kwargs):
    layers = [
        tfpbnn.layers.DenseLocalReparameterization(5, "tanh"),
        tfpbnn.layers.DenseFlipout(3),
    ]
    return [keras.Input((6,), name="counts", **kwargs), *layers]


def words():
    known = keras.layers.StringLookup(vocabulary=["a", "b", "c"])
    return [
        keras.Input((), dtype="string", name="word"),
        known,
        keras.layers.Embedding(4, 5),
        tfpbnn.layers.DenseFlipout(3),
    ]


@keras.saving.register_keras_serializable("inputs")
class Average(keras.layers.Layer):
    """The mean of a ragged row's vectors."""

    def call(self, x):
        return tf.reduce_mean(x, 1)

    def compute_output_spec(self, x):
        return keras.KerasTensor((x.shape[0], x.shape[-1]), x.dtype)


@keras.saving.register_keras_serializable("inputs")
class AddIfGiven(keras.layers.Layer):
    def call(self, x, other):
        return x if other is None else x + other

    def compute_output_spec(self, x, other):
        return keras.KerasTensor(x.shape, x.dtype)


def ragged(cls):
    x = keras.Input((None,), dtype="int32", ragged=True, name="tokens")
    y = Average()(keras.layers.Embedding(9, 4)(x))
    return cls(x, tfpbnn.layers.DenseFlipout(3)(y))


def optional(cls):
    x = keras.Input((6,), name="counts")
    more = keras.Input((6,), optional=True, name="more")
    y = AddIfGiven()(x, more)
    return cls([x, more], tfpbnn.layers.DenseFlipout(3)(y))


def columns(cls):
    numbers = [keras.Input((1,), name=name) for name in ("z", "a")]
    word = keras.Input((1,), dtype="string", name="word")
    one_hot = keras.layers.StringLookup(
        vocabulary=["a", "b", "c"], output_mode="one_hot"
    )(word)
    y = keras.layers.Concatenate()([*numbers, one_hot])
    inputs = {x.name: x for x in (*numbers, word)}
    return cls(inputs, tfpbnn.layers.DenseFlipout(3)(y))


class Subclassed(keras.Model):
    """Without `Input`s, it is given data as Keras hands them on."""

    def __init__(self):
        super().__init__()
        self.last = tfpbnn.layers.DenseFlipout(3)
        self.plain = tf.Variable(tf.ones([6, 2]))

    def call(self, x):
        return self.last(tf.matmul(x, self.plain))


def chain(layers):
    return lambda cls: cls(layers())


NETWORKS = {
    "dense": chain(dense),
    "sparse": chain(functools.partial(dense, sparse=True)),
    "words": chain(words),
    "ragged": ragged,
    "optional": optional,
    "columns": columns,
    "subclassed": lambda _: Subclassed(),
}


def make(name, cls=None):
    """A network, compiled; `cls` is that of Sequential or Functional ones."""
    keras.utils.set_random_seed(1)
    is_chain = name in ("dense", "sparse", "words")
    plain = keras.Sequential if is_chain else keras.Model
    ours = tfpbnn.Sequential if is_chain else tfpbnn.Model
    model = NETWORKS[name]({None: plain, "tfpbnn": ours}[cls])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss)
    return model


class Batches(keras.utils.PyDataset):
    def __init__(self, *arrays, **kwargs):
        super().__init__(**kwargs)
        self._arrays = arrays

    def __len__(self):
        return 5

    def __getitem__(self, index):
        rows = slice(5 * index, 5 * index + 5)
        return tuple(array[rows] for array in self._arrays)


class Loader:
    """As PyTorch's `DataLoader`: batches, again each time it is asked."""

    def __init__(self, *arrays):
        self._batches = Batches(*arrays)

    def __iter__(self):
        return map(self._batches.__getitem__, range(5))

    def __len__(self):
        return 5


class TorchTensor:
    """As one with a gradient: NumPy takes it when it is detached."""

    shape = DENSE.shape

    def detach(self):
        return self

    def cpu(self):
        return DENSE


def stream(*arrays, batch=5):
    x = arrays if len(arrays) > 1 else arrays[0]
    return tf.data.Dataset.from_tensor_slices(x).batch(batch)


def generator(*arrays):
    yield from Loader(*arrays)


def duplicated():
    """Half of each element twice."""
    coo = SPARSE.tocoo()
    twice = (np.tile(part, 2) for part in (coo.data / 2, coo.row, coo.col))
    data, row, col = twice
    return scipy.sparse.coo_matrix((data, (row, col)), SPARSE.shape)


def uncanonical():
    """The same with both halves in rows."""
    rows = [np.repeat(part, 2) for part in (SPARSE.data / 2, SPARSE.indices)]
    return scipy.sparse.csr_matrix((*rows, 2 * SPARSE.indptr), SPARSE.shape)


def unordered():
    order = np.random.default_rng(1).permutation(len(TENSOR.values))
    parts = (tf.gather(part, order) for part in (TENSOR.indices, TENSOR.values))
    return tf.SparseTensor(*parts, TENSOR.dense_shape)


def memory_map(path):
    file = np.lib.format.open_memmap(path, "w+", "f4", DENSE.shape)
    file[:] = DENSE
    return file


SPARSE_FORMS = {
    "csr_matrix": lambda: SPARSE,
    "csc_matrix": SPARSE.tocsc,
    "coo_matrix": SPARSE.tocoo,
    "lil_matrix": SPARSE.tolil,
    "csr_array": lambda: scipy.sparse.csr_array(SPARSE),
    "coo_array": lambda: scipy.sparse.coo_array(SPARSE),
    "float64": lambda: SPARSE.astype("float64"),
    "duplicates": duplicated,
    "duplicates in rows": uncanonical,
    "SparseTensor": lambda: TENSOR,
    "unordered": unordered,
    "dataset": lambda: stream(TENSOR, Y),
    "PyDataset": lambda: Batches(SPARSE, Y),
    "dense": lambda: DENSE,
}
# By network: forms of the same data. The first is what Keras knows best.
FORMS = {
    "dense": {
        "array": lambda: DENSE,
        "float64": lambda: DENSE.astype("float64"),
        "Fortran": lambda: np.asfortranarray(DENSE),
        "not contiguous": lambda: np.repeat(DENSE, 2, 0)[::2],
        "backwards": lambda: DENSE[::-1][::-1],
        "tensor": lambda: tf.constant(DENSE),
        "variable": lambda: keras.Variable(DENSE),
        "DataFrame": lambda: pd.DataFrame(DENSE),
        "nullable": lambda: pd.DataFrame(DENSE).astype("Float32"),
        "shuffled index": lambda: pd.DataFrame(DENSE, np.arange(N)[::-1]),
        "sparse": lambda: SPARSE,
        "torch": TorchTensor,
        "dataset": lambda: stream(DENSE),
        "dataset of x, y": lambda: stream(DENSE, Y),
        "dataset of x, y, weight": lambda: stream(DENSE, Y, WEIGHTS),
        "one batch": lambda: stream(DENSE, Y, batch=N),
        "PyDataset": lambda: Batches(DENSE, Y),
        "PyDataset of x": lambda: Batches(DENSE),
        "workers": lambda: Batches(DENSE, Y, workers=2),
        "loader": lambda: Loader(DENSE, Y),
        "generator": lambda: generator(DENSE, Y),
        "frames": lambda: Batches(pd.DataFrame(DENSE), Y),
    },
    "sparse": SPARSE_FORMS,
    "words": {
        "objects": lambda: WORDS.astype(object),
        "strings": lambda: WORDS,
        "bytes": lambda: WORDS.astype("S"),
        "StringDType": lambda: WORDS.astype(np.dtypes.StringDType()),
        "tensor": lambda: tf.constant(WORDS),
        "Series": lambda: pd.Series(WORDS),
        "Series of objects": lambda: pd.Series(WORDS, dtype=object),
        "categories": lambda: pd.Series(WORDS).astype("category"),
        "column": lambda: WORDS.astype(object)[:, np.newaxis],
        "dataset": lambda: stream(WORDS, Y),
        "PyDataset": lambda: Batches(WORDS, Y),
    },
    "ragged": {
        "RaggedTensor": lambda: tf.ragged.constant(TOKENS, dtype="int32"),
        "int64": lambda: tf.ragged.constant(TOKENS, dtype="int64"),
        "dataset": lambda: stream(tf.ragged.constant(TOKENS), Y),
    },
    "optional": {
        "None": lambda: [DENSE, None],
        "by name": lambda: {"counts": DENSE, "more": None},
        "zeros": lambda: [DENSE, 0 * DENSE],
        "dataset": lambda: stream((DENSE, 0 * DENSE), Y),
    },
    "columns": {
        "arrays": lambda: {
            "z": DENSE[:, :1],
            "a": DENSE[:, 1:2],
            "word": tf.constant(WORDS[:, np.newaxis]),
        },
        "vectors": lambda: {k: FRAME[k].to_numpy() for k in FRAME},
        "Series": lambda: dict(FRAME),
        "other order": lambda: {k: FRAME[k] for k in ("word", "a", "z")},
        "dataset": lambda: stream(
            {k: FRAME[k].to_numpy()[:, np.newaxis] for k in FRAME}, Y
        ),
    },
    "subclassed": {
        "array": lambda: DENSE,
        "float64": lambda: DENSE.astype("float64"),
        "DataFrame": lambda: pd.DataFrame(DENSE.astype("float64")),
        "dataset": lambda: stream(DENSE, Y),
    },
}
CASES = [(name, form) for name in FORMS for form in FORMS[name]]
