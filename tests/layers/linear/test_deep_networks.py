"""Where scales start decides whether deep networks train."""

import keras
import numpy as np
import tensorflow as tf
from sklearn import datasets

import tfpbnn
from tfpbnn.families import MeanFieldNormal


def resnet20(width):
    """He et al.'s 20 layers for small images, all convolutions Bayesian."""

    def convolution(x, filters, strides=1, size=3):
        x = tfpbnn.layers.Conv2DReparameterization(
            filters,
            size,
            strides,
            "same",
            use_bias=False,
            kernel_posterior="he_normal",
            kl_weight=1 / 1797,
        )(x)
        return keras.layers.BatchNormalization()(x)

    inputs = keras.Input((8, 8, 1))
    x = keras.layers.ReLU()(convolution(inputs, width, strides=2))
    for stage in range(3):
        for block in range(3):
            filters, strides = width * 2**stage, 1 + (stage > 0 == block)
            y = keras.layers.ReLU()(convolution(x, filters, strides))
            y = convolution(y, filters)
            if x.shape != y.shape:
                x = convolution(x, filters, strides, size=1)
            x = keras.layers.ReLU()(x + y)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(10)(x))


def make_step(model, optimizer):
    """A step on 128 digits, which returns its cross entropy."""
    images, labels = datasets.load_digits(return_X_y=True)
    x = (images[:128] / 16.0).reshape(-1, 8, 8, 1).astype("float32")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    variables = model.trainable_variables
    optimizer.build(variables)

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            cross_entropy = loss(labels[:128], model(x, training=True))
            total = cross_entropy + tf.add_n(model.losses)
        optimizer.apply(
            tape.gradient(total, [v.value for v in variables]), variables
        )
        return cross_entropy

    return step


def start_as_tfp(model):
    for layer in model.layers:
        if not isinstance(layer, tfpbnn.layers.Conv2DReparameterization):
            continue
        posterior, start = layer.kernel_posterior, MeanFieldNormal()
        start.build(posterior.loc.shape)
        posterior.loc.assign(start.loc)
        posterior.untransformed_scale.assign(start.untransformed_scale)


def test_twenty_layers_train_from_he_normal():
    model = resnet20(width=4)
    optimizer = keras.optimizers.Adam(5e-3)
    step = make_step(model, optimizer)
    variables = [*model.variables, *optimizer.variables]
    start = [np.array(keras.ops.convert_to_numpy(v)) for v in variables]
    he_normal = [step() for _ in range(60)]
    for variable, value in zip(variables, start, strict=True):
        variable.assign(value)
    start_as_tfp(model)
    tfp = [step() for _ in range(60)]
    # Chance is log(10) = 2.3; here it is 0.1 and 2.0.
    assert np.mean(he_normal[-5:]) < 0.5
    assert np.mean(tfp[-5:]) > 1.5
