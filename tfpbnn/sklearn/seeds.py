"""Makes a training repeatable, and leaves the global states as they were."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import tensorflow as tf


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds what initializers, layers and the order of rows come from.

    Keras takes the seeds of these from Python's and TensorFlow's global
    generators. Those of Python and NumPy are put back afterwards. TensorFlow
    can't do so: if it had a seed it gets another one, which Python's state
    tells, so that what follows can still be repeated.
    """
    states = random.getstate(), np.random.get_state()
    has_seed = tf.compat.v1.random.get_seed(None)[0] is not None
    next_seed = random.Random(repr(states[0])).randrange(2**31)
    random.seed(seed)
    np.random.seed(seed)
    tf.random.set_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        tf.random.set_seed(next_seed if has_seed else None)
