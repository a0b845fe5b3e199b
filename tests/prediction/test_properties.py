"""Order of rows, batch boundaries and containers change no row's prediction.

Marginal draws have noise by the index of a row, so these are the same for any
batches, but not in another order.
"""

import keras
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import tfpbnn
from tests.prediction import inputs
from tests.prediction.inputs import DENSE, N, Y

# Of few sizes, since a pass is compiled for each.
SIZES = (1, 4, N)


@pytest.fixture(scope="module")
def model():
    return inputs.make("dense")


class Cut(keras.utils.PyDataset):
    """Batches of sizes that differ, of rows in an order."""

    def __init__(self, x, y, sizes):
        super().__init__()
        stops = np.minimum(np.cumsum(sizes), len(x))
        self.parts = [
            (x[a:b], y[a:b])
            for a, b in zip([0, *stops], [*stops, len(x)], strict=False)
            if b > a
        ]

    def __len__(self):
        return len(self.parts)

    def __getitem__(self, index):
        return self.parts[index]


def tensors(x, y, sizes):
    spec = (tf.TensorSpec([None, 6]), tf.TensorSpec([None], y.dtype))
    parts = Cut(x, y, sizes).parts
    return tf.data.Dataset.from_generator(lambda: parts, output_signature=spec)


CONTAINERS = {
    "array": lambda x, *_: x,
    "frame": lambda x, y, _: pd.DataFrame(x, index=y),
    "columns": lambda x, *_: scipy.sparse.csc_matrix(x),
    "PyDataset": Cut,
    "generator": lambda *given: iter(Cut(*given).parts),
    "dataset": tensors,
}


@settings(max_examples=30, deadline=None)
@given(
    container=st.sampled_from(sorted(CONTAINERS)),
    draws=st.sampled_from(["mean", "coherent", "marginal", "mixed"]),
    order=st.permutations(range(N)),
    sizes=st.lists(st.sampled_from(SIZES[:2]), min_size=1, max_size=6),
    batch_size=st.sampled_from(SIZES),
)
def test_a_row_is_predicted_by_itself(
    model, container, draws, order, sizes, batch_size
):
    if draws in ("marginal", "mixed"):
        order = range(N)
    order = list(order)
    x = CONTAINERS[container](DENSE[order], Y[order], sizes)
    kwargs = {"draws": draws, "seed": 3, "verbose": 0, "num_samples": 3}
    whole = tfpbnn.predict(model, DENSE, **kwargs)
    found = tfpbnn.predict(model, x, batch_size=batch_size, **kwargs)
    np.testing.assert_allclose(
        found.outputs, whole.outputs[:, order], atol=1e-5
    )
    if container in ("PyDataset", "dataset"):
        x = CONTAINERS[container](DENSE[order], Y[order], sizes)
        scores = tfpbnn.evaluate(model, x, **kwargs)
        assert scores == pytest.approx(whole.evaluate(Y), abs=1e-5)
