"""Checks that Keras runs on TensorFlow before anything else is imported."""

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        "tfpbnn needs Keras to run on TensorFlow. Received: "
        f'keras.backend.backend() = "{keras.backend.backend()}". Set the '
        "environment variable KERAS_BACKEND=tensorflow (or "
        '{"backend": "tensorflow"} in ~/.keras/keras.json) before keras is '
        "first imported."
    )
