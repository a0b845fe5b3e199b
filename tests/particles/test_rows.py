"""What is known of rows: operations keep them apart, or count as unknown."""

import keras
import numpy as np
import pytest
from keras import ops

from tfpbnn import layers
from tfpbnn.particles import rows
from tfpbnn.particles.graph import Graph


def thirds(h):
    return ops.reshape(h, (-1, 2, 3))


KEPT = {
    "index": lambda h: h[:, 0],
    "slice": lambda h: h[:, 1:4],
    "new axis": lambda h: h[:, None],
    "last": lambda h: h[..., 0],
    "reshape": thirds,
    "transpose": lambda h: ops.transpose(thirds(h), (0, 2, 1)),
    "swapaxes": lambda h: ops.swapaxes(thirds(h), 1, -1),
    "matmul": lambda h: ops.matmul(thirds(h), ops.reshape(h, (-1, 3, 2))),
    "stack": lambda h: ops.stack([h, 2 * h], axis=1),
    "flip": lambda h: ops.flip(h, axis=1),
    "cumsum": lambda h: ops.cumsum(h, axis=-1),
    "logsumexp": lambda h: ops.logsumexp(h, axis=-1),
    "variance": lambda h: ops.var(h, axis=1),
    "split": lambda h: ops.split(h, 2, axis=1)[1],
    "where": lambda h: ops.where(h > 0, h, 0.1 * h),
    "repeat": lambda h: ops.repeat(h, 2, axis=1),
}
NOT_KEPT = {
    "folded": lambda h: ops.reshape(h, (-1, 3)),
    "transpose": lambda h: ops.transpose(thirds(h), (1, 0, 2)),
    "swapaxes": lambda h: ops.swapaxes(thirds(h), -3, 1),
    "flip": lambda h: ops.flip(h, axis=0),
    "flip all": lambda h: ops.flip(h),
    "cumsum": lambda h: ops.cumsum(h, axis=0),
    "first row": lambda h: h[0],
    "products of rows": lambda h: ops.matmul(h, ops.transpose(h)),
}


def calls_of(function):
    x = keras.Input((6,))
    model = keras.Model(x, function(layers.DenseFlipout(6)(x)))
    return model, Graph(model).calls[1:]


@pytest.mark.parametrize("name", KEPT)
def test_rows_said_to_be_kept_are(name):
    _, calls = calls_of(KEPT[name])
    assert all(map(rows.are_kept, calls))
    h = np.random.default_rng(0).normal(size=(5, 6)).astype("float32")
    alone = [
        np.array(KEPT[name](ops.convert_to_tensor(h[i : i + 1])))
        for i in range(5)
    ]
    together = np.array(KEPT[name](ops.convert_to_tensor(h)))
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-5)


@pytest.mark.parametrize("name", NOT_KEPT)
def test_rows_that_meet_or_move_are_not_said_to_be_kept(name):
    _, calls = calls_of(NOT_KEPT[name])
    assert not all(map(rows.are_kept, calls))
