"""Models of every structure that draws go through, and inputs for them.

To add a layer or a structure: a function here; `test_engine.py` does the rest.
"""

import keras
import numpy as np

from tests.layers.table import normal
from tfpbnn import families, layers

WIDE = families.MeanFieldNormal(
    untransformed_scale_initializer=keras.initializers.Constant(-1.0)
)
NOISY = {"kernel_posterior": WIDE}
BIASED = NOISY | {"bias_posterior": WIDE, "bias_prior": "normal"}
X = normal(4, 3)
SEQUENCES = normal(4, 5, 3)
IDS = np.array([[1, 2, 0, 0], [3, 0, 0, 0], [1, 2, 3, 4]])


def dense(units, activation=None, cls=layers.DenseFlipout, **kwargs):
    return cls(units, activation, **BIASED | kwargs)


class Doubled(keras.layers.Layer):
    """A user's layer, with a weight, that is not random."""

    def build(self, shape):
        self.factor = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x):
        return 2 * x * self.factor


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.inner = keras.Sequential([dense(4, "tanh"), dense(3)])
        self.last = layers.DenseReparameterization(2, **NOISY)

    def call(self, x):
        return self.last(self.inner(x))


def sequential():
    cls = layers.DenseLocalReparameterization
    hidden = dense(5, "relu", cls=cls)
    return keras.Sequential([keras.Input((3,)), hidden, dense(2)]), X


def fused():
    """Its first kernel is large enough to be drawn in an XLA function."""
    first = layers.DenseReparameterization(48, "tanh", **NOISY)
    return keras.Sequential([keras.Input((32,)), first, dense(2)]), normal(
        3, 32
    )


def last_layers():
    """One product for all draws: random layers with inputs in common."""
    x = keras.Input((3,))
    h = keras.layers.Dense(48, "tanh")(x)
    cls = layers.DenseReparameterization
    a = cls(24, "softmax", **NOISY)(h)  # large enough to be fused
    b = dense(2)(h)
    outputs = [keras.layers.Dense(2)(a) + b, b, h]
    return keras.Model(x, outputs), X


def residual():
    x = keras.Input((3,))
    h = dense(3, "tanh")(x)
    h = keras.layers.BatchNormalization()(x + keras.layers.Dropout(0.5)(h))
    return keras.Model(x, keras.layers.Concatenate()([dense(2)(h), x])), X


def several_inputs():
    a, b = keras.Input((2,), name="a"), keras.Input((3,), name="b")
    h = keras.layers.Dense(4, "relu")(keras.layers.Concatenate()([a, b]))
    outputs = {"one": dense(2)(h), "other": h, "sum": dense(4)(h) + h}
    model = keras.Model({"b": b, "a": a}, outputs)
    return model, {"a": normal(4, 2), "b": X}


def nested():
    """A model in a model in a model, and a Sequential one."""
    x = keras.Input((3,))
    innermost = keras.Model(x, [dense(3, "tanh")(x), keras.layers.ReLU()(x)])
    y = keras.Input((3,))
    a, b = innermost(y)
    inner = keras.Model([y], a * b + dense(3)(y))
    z = keras.Input((3,))
    chain = keras.Sequential([keras.layers.Dense(3), dense(3, "relu")])
    return keras.Model(z, dense(2)(chain(inner([z])))), X


def shared_model():
    x = keras.Input((3,))
    inner = keras.Model(x, dense(3, "tanh")(keras.layers.Dense(3)(x)))
    z = keras.Input((3,))
    return keras.Model(z, dense(2)(inner(z)) + dense(2)(inner(inner(z)))), X


def shared_layer():
    x, layer = keras.Input((3,)), dense(3, "tanh")
    return keras.Model(x, layer(layer(x)) + x), X


def users_layer():
    x = keras.Input((3,))
    h = dense(3)(Doubled()(x))
    return keras.Model(x, dense(2)(Doubled()(h))), X


def along_rows():
    """Rows of a batch meet, so draws must not be put into one batch."""
    x = keras.Input((3,))
    h = keras.ops.softmax(dense(3)(x), axis=0)
    centre = keras.layers.Lambda(lambda t: t - keras.ops.mean(t, 0))
    return keras.Model(x, dense(2)(centre(h))), X


def training_by_hand():
    """Keras takes `training=False` of a call before that of its graph."""
    x = keras.Input((3,))
    h = keras.layers.Dropout(0.5)(x, training=True)
    return keras.Model(x, dense(2)(h)), X


def conv():
    x = keras.Input((6, 6, 2))
    h = layers.Conv2DReparameterization(3, 3, activation="relu", **BIASED)(x)
    h = keras.layers.BatchNormalization()(h)
    h = layers.SeparableConv2DFlipout(
        2, 2, depthwise_posterior=WIDE, pointwise_posterior=WIDE
    )(h)
    h = keras.layers.GlobalAveragePooling2D()(h)
    return keras.Model(x, dense(2)(h)), normal(2, 6, 6, 2)


def attention():
    x = keras.Input((5, 3))
    cls = layers.MultiHeadAttentionReparameterization
    h = x + cls(2, 2, kernel_posterior=WIDE)(x, x, use_causal_mask=True)
    return keras.Model(x, dense(2)(h[:, -1])), SEQUENCES


def recurrent():
    x = keras.Input((5, 3))
    noisy = NOISY | {"recurrent_posterior": WIDE}
    h = layers.GRUReparameterization(3, return_sequences=True, **noisy)(x)
    h = layers.Variational(keras.layers.LSTM(3), prior=None)(h)
    return keras.Model(x, dense(2)(h)), SEQUENCES


def einsum():
    x = keras.Input((5, 3))
    cls = layers.EinsumDenseLocalReparameterization
    h = cls("abc,cde->abde", (None, 2, 4), bias_axes="de", **BIASED)(x)
    return keras.Model(x, keras.layers.Flatten()(h)), SEQUENCES


def masked():
    """A mask goes through random layers, from a random one and another."""
    ids, pool = (
        keras.Input((4,), dtype="int32"),
        keras.layers.GlobalAveragePooling1D,
    )
    own = {"embeddings_posterior": WIDE, "mask_zero": True}
    h = pool()(dense(2)(layers.EmbeddingFlipout(5, 3, **own)(ids)))
    fixed = keras.layers.Embedding(5, 3, mask_zero=True)(ids)
    return keras.Model(ids, h + pool()(dense(2)(fixed))), IDS


def any_length():
    x = keras.Input((None, 3))
    h = dense(4, "relu")(x)
    return keras.Model(x, keras.layers.GlobalMaxPooling1D()(h)), SEQUENCES


def half_precision():
    keras.config.set_dtype_policy("mixed_float16")
    return residual()


def subclassed():
    model = Subclassed()
    model(X)
    return model, X


def holding_a_subclassed():
    x = keras.Input((3,))
    return keras.Model(x, dense(2)(Subclassed()(x))), X


# Whether all draws can go through at once, by the model.
MODELS = {
    sequential: True,
    fused: True,
    last_layers: True,
    residual: True,
    several_inputs: True,
    nested: True,
    shared_model: True,
    shared_layer: True,
    users_layer: False,
    along_rows: False,
    training_by_hand: True,
    conv: False,
    attention: False,
    recurrent: False,
    einsum: True,
    masked: False,
    any_length: True,
    half_precision: True,
    subclassed: False,
    holding_a_subclassed: False,
}


def settled(make):
    """A model and inputs; normalizations have statistics of their own."""
    model, x = make()
    for weight in model.weights:
        if weight.path.rsplit("/", 1)[-1] in ("moving_mean", "moving_variance"):
            size = weight.shape[0]
            weight.assign(np.random.default_rng(0).uniform(0.5, 2.0, size))
    return model, x
