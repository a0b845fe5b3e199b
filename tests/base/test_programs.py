"""Graphs share a program if they compute the same, and only then."""

import numpy as np
import pytest
import tensorflow as tf

from tfpbnn.base import programs
from tfpbnn.base.xla import Compiler, run_as_graph

X = np.array([[1.0, -2.0, 3.0]], "float32")


def looped(factor, ends=3, function=tf.tanh):
    """A loop, of which the body is a function that the graph calls."""

    def run(x):
        def body(i, x):
            return i + 1, factor * function(x)

        return tf.while_loop(
            lambda *_: True, body, (0, x), maximum_iterations=ends
        )[1]

    return run


def either(factor):
    """A branch inside of a loop."""

    def run(x):
        def body(i, x):
            return i + 1, tf.cond(i > 0, lambda: x * factor, lambda: -x)

        return tf.while_loop(lambda i, _: i < 2, body, (0, x))[1]

    return run


def with_slope(factor):
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(looped(factor)(x))
        return tape.gradient(value, x)

    return run


def called(factor):
    """The slope of a function that the graph calls."""
    inner = tf.function(lambda x: factor * x**2, autograph=False)

    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = inner(x)
        return tape.gradient(value, x)

    return run


def plus(values):
    """With an array that is too large to be a constant of the graph."""
    known = tf.constant(values, tf.float32, [200])
    return lambda x: x + known[:3]


def plus_variable(value):
    known = tf.Variable([value] * 3)

    def run(x):
        return x + known

    run.known = known  # or it would be gone
    return run


SHARED = {
    "again": (looped(0.5), looped(0.5)),
    "another array": (plus(1.0), plus(2.0)),
    "another variable": (plus_variable(1.0), plus_variable(2.0)),
    "slopes": (with_slope(0.5), with_slope(0.5)),
    "a called function": (called(0.5), called(0.5)),
}
OTHER = {
    "a constant": (lambda x: 2 * x, lambda x: 3 * x),
    "an operation": (tf.sin, tf.cos),
    "which is which": (lambda x: x[0] - x[1], lambda x: x[1] - x[0]),
    "a constant of a loop": (looped(0.5), looped(0.6)),
    "the end of a loop": (looped(0.5, 3), looped(0.5, 4)),
    "an operation of a loop": (looped(0.5), looped(0.5, function=tf.sin)),
    "a branch": (either(0.5), either(0.6)),
    "slopes": (with_slope(0.5), with_slope(0.6)),
    "a called function": (called(0.5), called(0.6)),
    "which output": (
        lambda x: (tf.sin(x), tf.cos(x)),
        lambda x: (tf.cos(x), tf.sin(x)),
    ),
}
CASES = [
    *((f"same: {name}", *pair, 1) for name, pair in SHARED.items()),
    *((f"other: {name}", *pair, 2) for name, pair in OTHER.items()),
]


@pytest.fixture(autouse=True)
def _none_yet(monkeypatch):
    monkeypatch.setattr(programs, "_PROGRAMS", {})


@pytest.mark.parametrize(
    ("first", "second", "count"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_what_is_shared(first, second, count):
    x = tf.constant(X[0])
    for function in (first, second, first):
        found = Compiler().compiled(function)(x)
        np.testing.assert_allclose(found, function(x), rtol=1e-5)
    assert len(programs._PROGRAMS) == count


def test_shapes_and_types_have_programs_of_their_own():
    run = Compiler().compiled(lambda x: 2 * x)
    for x in (X, X[:, :2], X.astype("float64"), X):
        found = run(tf.constant(x))
        assert found.dtype == x.dtype
        np.testing.assert_array_equal(found, 2 * x)
    assert len(programs._PROGRAMS) == 3


def test_what_xla_refuses_is_not_kept():
    def run(x):
        return tf.ensure_shape(tf.numpy_function(np.sin, [x], x.dtype), x.shape)

    with pytest.warns(UserWarning, match="XLA can't compile"):
        found = Compiler().compiled(run)(tf.constant(X))
    np.testing.assert_allclose(found, np.sin(X), rtol=1e-6)
    assert not programs._PROGRAMS


def test_a_graph_that_serves_once_is_no_reason_to_warn(caplog):
    for number in range(8):
        plus = lambda x: x + number  # noqa: B023, E731
        assert run_as_graph(plus, tf.constant(1)) == number + 1
    assert not caplog.records
