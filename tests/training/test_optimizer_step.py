"""Optimizers' steps in few passes, against Keras's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfpbnn.training import optimizer_step

SHAPES = [(400, 400), (7,)]  # large enough to be compiled
Adam = keras.optimizers.Adam
OPTIMIZERS = {
    "adam": Adam,
    "adam, other moments": lambda: Adam(
        0.1, beta_1=0.7, beta_2=0.8, epsilon=1e-2
    ),
    "adam, schedule": lambda: Adam(
        keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    ),
    "adam, no moments": lambda: Adam(0.1, beta_1=0, beta_2=np.float64(0.5)),
    "adam, long moments": lambda: Adam(beta_1=0.99999, beta_2=1 - 1e-7),
    "adam, moments that stay": lambda: Adam(beta_2=1.0),
    "adam, amsgrad": lambda: Adam(amsgrad=True),
    "adam, decay": lambda: Adam(weight_decay=0.1),
    "adam, average": lambda: Adam(use_ema=True, ema_overwrite_frequency=3),
    "adam, values clipped": lambda: Adam(clipvalue=0.1),
    "adam, norms clipped": lambda: Adam(clipnorm=0.1),
    "adam, norm clipped": lambda: Adam(global_clipnorm=0.1),
    "adamw": keras.optimizers.AdamW,
    "sgd": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "rmsprop": lambda: keras.optimizers.RMSprop(centered=True),
}
AS_ONE_OPERATION = {
    "adam",
    "adam, other moments",
    "adam, schedule",
    "adam, no moments",
}


def variables():
    return [
        keras.Variable(
            np.random.default_rng(i).normal(size=shape).astype("float32"),
            name=f"v{i}",
        )
        for i, shape in enumerate(SHAPES)
    ]


def steps(apply, optimizer, jit_compile=False):
    """Values after four steps, the slots', and the graph's operations."""
    values = variables()
    function = tf.function(
        lambda gradients: apply(optimizer, gradients, values),
        autograph=False,
        jit_compile=jit_compile,
    )
    rng = np.random.default_rng(9)
    for _ in range(4):
        gradients = [
            tf.constant(rng.normal(size=s), tf.float32) for s in SHAPES
        ]
        function(gradients)
    graph = function.get_concrete_function(gradients).graph
    kinds = {operation.type for operation in graph.get_operations()}
    return values, optimizer.variables, kinds


def in_keras(optimizer, gradients, values):
    optimizer.apply_gradients(list(zip(gradients, values, strict=True)))


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_are_those_of_keras(name, jit_compile):
    found, slots, kinds = steps(
        optimizer_step.apply_gradients, OPTIMIZERS[name](), jit_compile
    )
    expected, others, _ = steps(in_keras, OPTIMIZERS[name]())
    for a, b in zip([*found, *slots], [*expected, *others], strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-6)
    assert ("ResourceApplyAdam" in kinds) == (name in AS_ONE_OPERATION)


def test_moments_that_two_variables_could_own():
    values = [keras.Variable(tf.ones((400, 400)), name="v") for _ in range(2)]
    optimizer = Adam(0.1)
    gradients = [tf.ones((400, 400)), -tf.ones((400, 400))]

    @tf.function(autograph=False)
    def step():
        optimizer_step.apply_gradients(optimizer, gradients, values)

    step()
    np.testing.assert_allclose(values[0], 0.9, rtol=1e-5)
    np.testing.assert_allclose(values[1], 1.1, rtol=1e-5)
    assert "update_step" not in vars(optimizer)


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_a_variable_without_a_gradient_stays(name):
    """With the warning that Keras gives."""
    values = variables()
    optimizer = OPTIMIZERS[name]()

    @tf.function(autograph=False)
    def step():
        gradients = [tf.ones(SHAPES[0]), None]
        optimizer_step.apply_gradients(optimizer, gradients, values)

    with pytest.warns(UserWarning, match="Gradients do not exist.*v1"):
        step()
    first, second = variables()
    assert np.all(values[0] < first)
    np.testing.assert_array_equal(values[1], second)


def test_no_gradients_at_all():
    with pytest.raises(ValueError, match="No gradients provided"):
        optimizer_step.apply_gradients(Adam(), [None, None], variables())
