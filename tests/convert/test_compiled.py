"""Converted models are compiled as the model was."""

import keras
import pytest

import tfpbnn
from tests.layers.table import normal


def sequential():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])


def test_a_compiled_model_stays_compiled_and_trains():
    model = sequential()
    model.compile(keras.optimizers.SGD(0.01), "mse")
    bayes = tfpbnn.to_variational(model)
    x, y = normal(32, 4), normal(32, 3)
    bayes.fit(x, y, verbose=0)
    assert float(bayes.layers[0].kl_weight) == 1 / 32
    assert isinstance(bayes.optimizer, keras.optimizers.SGD)
    assert tfpbnn.to_deterministic(bayes).compiled  # all of it is Keras's


def test_a_loss_of_ones_own_is_kept():
    def unregistered(y, p):
        return (y - p) ** 2

    model = sequential()
    model.compile("sgd", unregistered)
    assert tfpbnn.to_variational(model).loss is unregistered


def test_an_optimizer_that_cannot_be_copied_is_told():
    class Own(keras.optimizers.SGD):
        def __init__(self):
            super().__init__(0.1)

    model = sequential()
    model.compile(Own(), "mse")
    with pytest.warns(UserWarning, match=r"compile the result"):
        assert not tfpbnn.to_variational(model).compiled
