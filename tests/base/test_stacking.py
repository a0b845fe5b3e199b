import numpy as np
import pytest
import tensorflow as tf

from tfpbnn.base import stacking

X = np.arange(24, dtype="float32").reshape(2, 3, 4)


def test_flatten_joins_the_first_two_axes_and_unflatten_splits_them():
    flat = stacking.flatten(tf.constant(X))
    np.testing.assert_array_equal(flat, X.reshape(6, 4))
    np.testing.assert_array_equal(stacking.unflatten(flat, 2), X)
    count = tf.constant(2)
    np.testing.assert_array_equal(stacking.unflatten(flat, count), X)


@pytest.mark.parametrize("rows", [3, 0])
def test_over_rows_applies_a_function_to_all_rows(rows):
    def both(x):
        return {"sum": tf.reduce_sum(x, -1), "twice": 2 * x}

    x = X[:, :rows]
    found = stacking.over_rows(both, tf.constant(x))
    np.testing.assert_allclose(found["sum"], x.sum(-1))
    np.testing.assert_array_equal(found["twice"], 2 * x)


def test_repeated_puts_the_rows_of_one_draw_after_those_of_another():
    found = stacking.repeated(tf.constant(X), 3)
    np.testing.assert_array_equal(found, np.tile(X, [3, 1, 1]))


def test_known_sizes_stay_known_in_graphs():
    shapes = []

    @tf.function(
        input_signature=[
            tf.TensorSpec([2, None, 4]),
            tf.TensorSpec([6, 4]),
            tf.TensorSpec([], tf.int32),
        ]
    )
    def run(stack, rows, count):
        shapes.extend(
            y.shape.as_list()
            for y in (
                stacking.flatten(stack),
                stacking.unflatten(rows, 2),
                stacking.unflatten(rows, count),
                stacking.over_rows(lambda x: x[..., :1], stack),
                stacking.repeated(rows, 2),
                stacking.repeated(rows, count),
            )
        )

    run.get_concrete_function()
    assert shapes == [
        [None, 4],
        [2, 3, 4],
        [None, None, 4],
        [2, None, 1],
        [12, 4],
        [None, 4],
    ]
