import keras
import numpy as np
import pytest
import tensorflow as tf

from tfpbnn.base import data

X = np.arange(20, dtype="float32").reshape(10, 2)
Y = np.arange(10, dtype="float32")


class Batches(keras.utils.PyDataset):
    """Ten rows in batches of four: the last one is smaller."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        rows = slice(4 * index, 4 * index + 4)
        return X[rows], Y[rows]


def dataset():
    return tf.data.Dataset.from_tensor_slices((X, Y))


def test_batches_of_all_forms_agree():
    forms = [
        data.as_arrays("x", X),
        data.as_arrays("x", tf.constant(X)),
        dataset().batch(4),
        Batches(),
    ]
    for form in forms:
        pairs = list(data.batches(form, 4))
        assert len(pairs) == data.num_batches(form, 4) == 3
        found = np.concatenate([np.asarray(x) for x, _ in pairs])
        np.testing.assert_array_equal(found, X)
        if data.is_stream(form):
            y = np.concatenate([np.asarray(y) for _, y in pairs])
            np.testing.assert_array_equal(y, Y)


def test_structures_keep_their_form():
    pairs = list(data.batches({"a": X, "b": Y}, 6))
    assert [p[0]["b"].shape for p in pairs] == [(6,), (4,)]


def test_unknown_length():
    odd = dataset().batch(4).filter(lambda *_: True)
    assert data.num_batches(odd, 4) is None
    with pytest.raises(ValueError, match="repeats for ever"):
        data.num_batches(dataset().batch(4).repeat(), 4)


@pytest.mark.parametrize(
    ("form", "split", "expected"),
    [
        (X, 0.0, 10),
        (X, 0.25, 7),
        (tf.constant(X), 0.0, 10),
        ({"a": X, "b": Y}, 0.0, 10),
        ([None, X], 0.0, 10),
    ],
)
def test_count_examples(form, split, expected):
    assert data.count_examples(form, split) == expected


@pytest.mark.parametrize(
    "form",
    [
        dataset().batch(4),
        iter([(X, Y)]),
        3.0,
    ],
)
def test_count_that_cannot_be_known(form):
    with pytest.raises(ValueError, match=r"KLWeight\(num_examples=\.\.\.\)"):
        data.count_examples(form)


def test_nan_is_named_with_its_place():
    bad = X.copy()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"`x` must be finite.*\(3, 1\)"):
        data.as_arrays("x", bad)
    with pytest.raises(ValueError, match="`y` must be finite"):
        data.check_finite("y", [Y, np.array([np.inf])])
    data.check_finite("x", np.array(["text"]))
    # A sum that overflows float32 is not an infinite value.
    data.check_finite("x", np.full(10, 3e38, "float32"))


def test_nan_in_a_batch_of_a_dataset():
    bad = tf.data.Dataset.from_tensor_slices([[1.0], [np.nan]]).batch(1)
    with pytest.raises(ValueError, match="`x` must be finite"):
        list(data.batches(bad, 1))


@pytest.mark.parametrize(
    ("form", "error", "match"),
    [
        (None, TypeError, "x=None"),
        (iter([X]), TypeError, "must be an array"),
        (X[:0], ValueError, "one row or more"),
        ([X, Y[:4]], ValueError, "as many in each"),
        (np.float32(3.0), ValueError, "one row or more"),
        ([[1.0, 2.0], [3.0, 4.0]], TypeError, r"nested lists.*np.asarray\(x\)"),
    ],
)
def test_bad_forms(form, error, match):
    with pytest.raises(error, match=match):
        data.as_arrays("x", form)
