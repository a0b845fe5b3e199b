"""Predictions of a dataset are those of `predict`, a batch at a time."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.layers.table import normal
from tfpbnn.layers import DenseFlipout

X = normal(23, 3)
NORMAL = tfpbnn.likelihoods.Normal(scale=0.5)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((3,))
    outputs = {
        "a": DenseFlipout(1)(inputs),
        "b": DenseFlipout(4)(inputs),
    }
    model = keras.Model(inputs, outputs)
    losses = {"a": NORMAL, "b": tfpbnn.likelihoods.Categorical()}
    model.compile("sgd", loss=losses)
    return model


def dataset():
    return tf.data.Dataset.from_tensor_slices((X, X[:, :1])).batch(5)


def joined(batches, *names):
    parts = []
    for batch in batches:
        for name in names:
            batch = batch[name]
        parts.append(batch.numpy())
    return np.concatenate(parts)


@pytest.mark.parametrize("draws", ["coherent", "marginal"])
def test_batches_are_those_of_predict(model, draws):
    kwargs = {"seed": 4, "draws": draws}
    expected = tfpbnn.predict(model, X, 9, verbose=0, **kwargs)
    for x in (dataset(), X):
        found = tfpbnn.predict_dataset(model, x, 9, 5, **kwargs)
        assert [len(batch["a"]["mean"]) for batch in found] == [5, 5, 5, 5, 3]
        for _ in range(2):  # it can be read again
            for output in ("a", "b"):
                for value in ("mean", "variance"):
                    np.testing.assert_allclose(
                        joined(found, output, value),
                        getattr(expected[output], value),
                        rtol=1e-4,
                        atol=1e-6,
                    )


def test_values_of_draws_and_in_a_pipeline(model):
    one = keras.Model(model.inputs, model.output["b"])
    losses = tfpbnn.likelihoods.Categorical()
    found = tfpbnn.predict_dataset(
        one,
        dataset(),
        7,
        seed=1,
        likelihood=losses,
        values=["outputs", "probabilities", "predictive_entropy"],
        keep_draws=True,
        draws="coherent",
    )
    (x, _), batch = next(iter(tf.data.Dataset.zip(dataset(), found)))
    assert batch["outputs"].shape == (7, len(x), 4)
    assert batch["predictive_entropy"].shape == (5,)
    np.testing.assert_allclose(
        batch["probabilities"],
        tf.nn.softmax(batch["outputs"]).numpy().mean(0),
        rtol=1e-4,
    )


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"x": iter([X])}, ["`x` must be data that can be read again"]),
        ({"values": ["means"]}, ["`values` must be names", "'means'"]),
        ({"values": ["log_prob"]}, ["`values` must be names", "'log_prob'"]),
        ({"num_samples": 0}, ["`num_samples`"]),
        ({"x": dataset().take(0)}, ["`x` must have one row or more"]),
    ],
    ids=["generator", "unknown", "method", "no draws", "no rows"],
)
def test_bad_input(model, kwargs, words):
    with pytest.raises(ValueError, match=words[0]) as error:
        tfpbnn.predict_dataset(model, **{"x": dataset()} | kwargs)
    assert words[-1] in str(error.value)
