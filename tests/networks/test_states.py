"""What layers have in common is learned without a trace in the program."""

import random

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.networks import states


def test_random_numbers_of_a_seed_are_the_same_before_and_after():
    """Also at the first time, for which models are made and trained."""

    def drawn():
        layer = keras.layers.Dense(2)
        layer.build((3, 3))
        return [
            random.random(),
            np.random.random(),
            *tf.random.normal((2,)).numpy(),
            *keras.random.normal((2,)).numpy(),
            *np.ravel(layer.kernel),
        ]

    keras.utils.set_random_seed(3)
    expected = drawn()
    states.common_names.cache_clear()
    keras.utils.set_random_seed(3)
    assert "_trainable" in states.common_names()
    np.testing.assert_array_equal(drawn(), expected)
