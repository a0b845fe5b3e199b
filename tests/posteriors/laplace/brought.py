"""Networks, with rows and likelihoods, that Laplace approximations are of."""

import keras
import numpy as np
import tensorflow as tf

import tfpbnn

L, likelihoods = keras.layers, tfpbnn.likelihoods


def convolutional():
    inputs = keras.Input((6, 6, 2))
    h = L.Conv2D(3, 3, strides=2, padding="same", activation="tanh")(inputs)
    h = L.LayerNormalization()(L.Flatten()(L.DepthwiseConv2D(2)(h)))
    return inputs, L.Dense(3)(h), likelihoods.Categorical()


def attention():
    inputs = keras.Input((6,), dtype="int32")
    h = L.Embedding(9, 4, name="tokens")(inputs)
    h = L.Conv1D(3, 2)(L.MultiHeadAttention(2, 3)(h, h))
    h = L.EinsumDense("abc,cd->abd", (None, 3), bias_axes="d")(h)
    return inputs, L.Dense(2)(h), likelihoods.Categorical()


def shared():
    inputs = keras.Input((4,))
    layer = L.Dense(4, activation="tanh")
    return inputs, L.Dense(4)(layer(layer(inputs))), likelihoods.Normal()


def recurrent():
    inputs = keras.Input((3, 2))
    return inputs, L.Dense(1)(L.LSTM(2)(inputs)), likelihoods.Poisson()


def masked():
    inputs = keras.Input((5,), dtype="int32")
    h = L.Embedding(9, 4, mask_zero=True)(inputs)
    return inputs, L.Dense(2)(h), likelihoods.Bernoulli()


def one_place():
    """All kinds of kernels, each applied once for a row."""
    inputs = keras.Input((1,), dtype="int32")
    h = L.Embedding(9, 4, name="tokens")(inputs)
    h = L.Conv1D(3, 1, activation="tanh")(L.MultiHeadAttention(2, 3)(h, h))
    h = L.EinsumDense("abc,cd->abd", (None, 3), bias_axes="d")(h)
    h = L.Conv2D(2, (1, 3))(L.Reshape((1, 3, 1))(h))
    return inputs, L.Dense(3)(L.Flatten()(h)), likelihoods.Categorical()


ALL = (convolutional, attention, shared, recurrent, masked)


def made(build, rows=5):
    """The model, its rows and targets."""
    keras.utils.set_random_seed(1)
    inputs, outputs, likelihood = build()
    model = keras.Model(inputs, outputs)
    model.compile("sgd", likelihood)
    rng = np.random.default_rng(2)
    shape = (rows, *inputs.shape[1:])
    is_words = inputs.dtype == "int32"
    x = rng.integers(0, 9, shape) if is_words else rng.normal(size=shape)
    x = x.astype("int32" if is_words else "float32")
    y = likelihood.distribution(model(x)).sample(seed=3).numpy()
    return model, x, y


def jacobians(model, x):
    """Outputs `[N, T, P]`, and their slopes `[N, T, P, D]`, by tapes."""
    outputs, slopes = [], []
    for row in range(len(x)):
        with tf.GradientTape(persistent=True) as tape:
            found = model(x[row : row + 1])
            elements = tf.unstack(tf.reshape(found, [-1]))
        outputs.append(np.reshape(found, (-1, found.shape[-1])))
        slopes.append([_flat(tape, e, model) for e in elements])
    outputs = np.array(outputs, "float64")
    slopes = np.array(slopes, "float64")
    return outputs, slopes.reshape((*outputs.shape, -1))


def _flat(tape, element, model):
    found = tape.gradient(
        element, model.trainable_variables, unconnected_gradients="zero"
    )
    return np.concatenate(
        [np.ravel(tf.convert_to_tensor(one)) for one in found]
    )
