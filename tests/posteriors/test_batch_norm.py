"""Statistics of BatchNorm are those of the data, for each set of weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.ensembles.averaging.iterates import (
    L,
    classifier,
    flat,
    labelled,
    normal,
)
from tfpbnn.ensembles import SWA, SWAG, update_batch_norm


def two_norms():
    return classifier(
        L.BatchNormalization(), L.Dense(4), L.BatchNormalization()
    )


def norms_of(model):
    return [
        layer
        for layer in model.layers
        if isinstance(layer, L.BatchNormalization)
    ]


def expected(model, x, batch_size):
    """Layer by layer in NumPy, in training mode: (mean, variance) of each."""
    parts = np.split(x.astype("float64"), range(batch_size, len(x), batch_size))
    found = []
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            rows = np.concatenate(parts)
            found.append((rows.mean(0), rows.var(0)))
            gamma, beta = (np.asarray(v) for v in (layer.gamma, layer.beta))
            parts = [
                (part - part.mean(0)) / np.sqrt(part.var(0) + layer.epsilon)
                * gamma + beta
                for part in parts
            ]  # fmt: skip
        else:
            parts = [np.asarray(layer(part), "float64") for part in parts]
    return found


def assert_statistics(model, x, batch_size):
    for layer, moments in zip(
        norms_of(model), expected(model, x, batch_size), strict=True
    ):
        found = (layer.moving_mean, layer.moving_variance)
        for a, b in zip(found, moments, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["array", "tf.data"])
def test_statistics_are_those_of_the_data(kind):
    x, y = labelled(22)  # the last batch has 6 rows
    model = two_norms()
    swa = SWA(2)
    model.fit(x, y, epochs=3, callbacks=[swa], verbose=0)
    others = flat(model.trainable_variables)  # of SWA(2): the last ones
    if kind == "array":
        average = swa.average(x, batch_size=8)
    else:
        data = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
        average = swa.average(data)
    assert_statistics(average, x, 8)
    np.testing.assert_array_equal(others, flat(average.trainable_variables))


def test_frozen_layers_keep_theirs():
    model = two_norms()
    norms = norms_of(model)
    norms[0].trainable = False
    before = [flat(norm.get_weights()) for norm in norms]
    update_batch_norm(model, normal(16, 3))
    after = [flat(norm.get_weights()) for norm in norms]
    np.testing.assert_array_equal(before[0], after[0])
    assert np.all(before[1][8:] != after[1][8:])


def test_each_draw_has_statistics_of_its_own():
    x, y = labelled(24)
    model, swag = two_norms(), SWAG(1, 3)
    model.fit(x, y, 8, epochs=6, callbacks=[swag], verbose=0)
    posterior = swag.posterior
    before = flat(posterior.variables)
    samples = posterior.materialize(3, x, batch_size=8, seed=0)
    np.testing.assert_array_equal(before, flat(posterior.variables))
    members = samples.members
    for member in members:
        assert_statistics(member, x, 8)
    assert np.any(
        norms_of(members[0])[0].moving_mean
        != norms_of(members[1])[0].moving_mean
    )
    p = tfpbnn.predict(samples, x)
    chances = [keras.ops.softmax(member(x)) for member in members]
    np.testing.assert_allclose(
        p.probabilities, np.mean(chances, 0), rtol=1e-4, atol=1e-5
    )
    update_batch_norm(posterior, x, batch_size=8)
    assert_statistics(posterior.network, x, 8)
    assert tfpbnn.evaluate(posterior, x, y, draws="mean")["nll"] > 0


def test_dropout_in_between_and_momentum():
    """Masks differ from batch to batch; a layer that never moves is left."""
    x = np.repeat(normal(1, 3), 2048, axis=0)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            L.Dropout(0.5, seed=1),
            L.BatchNormalization(),
            L.BatchNormalization(momentum=1.0),
        ]
    )
    update_batch_norm(model, x, batch_size=8)
    first, second = norms_of(model)
    # Scaled masks of rate 1/2 are 0 or 2: 6 standard errors.
    np.testing.assert_allclose(first.moving_mean, x[0], rtol=0.14)
    np.testing.assert_allclose(first.moving_variance, x[0] ** 2, rtol=0.02)
    np.testing.assert_array_equal(second.moving_mean, np.zeros(3))
