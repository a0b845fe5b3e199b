import keras
import numpy as np
import pytest

import tfpbnn
from tfpbnn.layers.kl import _warned, kl_terms, managed_weights

X, Y = np.ones((20, 3), "float32"), np.ones((20, 1), "float32")


def make_model(**kwargs):
    model = keras.Sequential(
        [
            keras.Input((3,)),
            tfpbnn.layers.DenseFlipout(4, **kwargs),
            tfpbnn.layers.DenseReparameterization(1),
        ]
    )
    model.compile("sgd", "mse")
    return model


class Recorder(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.weights = []

    def on_train_batch_end(self, batch, logs=None):
        self.weights.append(
            [
                float(w.numpy() * w.factor.numpy())
                for w in managed_weights(self.model)
            ]
        )


def run(callback, epochs=1, model=None):
    recorder = Recorder()
    model = model or make_model()
    history = model.fit(
        X, Y, epochs=epochs, verbose=0, callbacks=[callback, recorder]
    )
    return np.array(recorder.weights), history.history, model


def test_weight_and_logs():
    weights, history, model = run(tfpbnn.callbacks.KLWeight(20))
    np.testing.assert_allclose(weights, 1 / 20)
    terms = kl_terms(model)
    kl = sum(float(term.divergence()) for term in terms)
    np.testing.assert_allclose(history["kl"][-1], kl, rtol=1e-5)
    np.testing.assert_allclose(history["kl_weight"], 1 / 20)
    np.testing.assert_allclose(sum(model.losses), kl / 20, rtol=1e-5)


def test_loss_is_the_likelihood_plus_the_weighted_kl():
    """The logged loss of one step: its KL is that of before the step."""
    model = make_model()
    before = sum(float(t.divergence()) for t in kl_terms(model))
    layer = model.layers[0]
    for part in model.layers:  # no noise, so that the likelihood is known
        part.kernel_posterior.untransformed_scale.assign(
            -50 * np.ones(part.kernel_posterior.loc.shape)
        )
    before = sum(float(t.divergence()) for t in kl_terms(model))
    nll = np.mean((Y - np.asarray(model(X))) ** 2)
    _, history, _ = run(tfpbnn.callbacks.KLWeight(20), model=model)
    np.testing.assert_allclose(history["loss"], nll + before / 20, rtol=1e-4)
    assert layer.built


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("linear", [0, 0.5, 1, 1, 1, 1]),
        ("cyclical", [0, 0.5, 1, 1, 0, 0.5]),
        (lambda epoch: 1 / (epoch + 1), [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 6]),
    ],
)
def test_schedules(schedule, expected):
    callback = tfpbnn.callbacks.KLWeight(20, 2, schedule)
    weights, history, model = run(callback, epochs=6)
    np.testing.assert_allclose(weights[:, 0], np.array(expected) / 20)
    np.testing.assert_allclose(history["kl_weight"], weights[:, 0])
    for weight in managed_weights(model):
        np.testing.assert_allclose(weight.numpy(), 1 / 20)


def test_temperature_and_floor():
    """The weight that is left behind has the temperature, and no floor."""
    callback = tfpbnn.callbacks.KLWeight(20, 4, temperature=0.1, floor=0.3)
    weights, history, model = run(callback, epochs=5)
    expected = 0.1 / 20 * np.array([0.3, 0.3, 0.5, 0.75, 1])
    np.testing.assert_allclose(weights[:, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(history["kl_weight"], expected)
    for weight in managed_weights(model):
        np.testing.assert_allclose(weight.numpy(), 0.1 / 20)


def test_own_models_leave_the_temperature_alone():
    model = tfpbnn.Sequential([tfpbnn.layers.DenseFlipout(1)])
    model.compile("sgd", "mse")
    run(tfpbnn.callbacks.KLWeight(20, temperature=0.5), model=model)
    np.testing.assert_allclose(model.layers[0].kl_weight.numpy(), 0.5 / 20)


def test_keras_schedules():
    schedule = keras.optimizers.schedules.PolynomialDecay(1.0, 4, 0.2)
    callback = tfpbnn.callbacks.KLWeight(20, schedule=schedule)
    factors = [callback.factor(epoch) for epoch in range(6)]
    np.testing.assert_allclose(factors, [1, 0.8, 0.6, 0.4, 0.2, 0.2])


def test_a_layers_own_weight_stays():
    _, _, model = run(
        tfpbnn.callbacks.KLWeight(20), model=make_model(kl_weight=0.3)
    )
    np.testing.assert_allclose(model.layers[0].kl_weight.numpy(), 0.3)
    np.testing.assert_allclose(model.layers[1].kl_weight.numpy(), 1 / 20)


@pytest.mark.parametrize("kind", ["deferred", "subclassed", "wrapped"])
def test_weight_is_right_in_the_very_first_step(kind):
    """Also where Keras builds the model inside of that step."""

    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = tfpbnn.layers.DenseFlipout(1)

        def call(self, x):
            return self.inner(x)

    layer = tfpbnn.layers.DenseFlipout(1)
    model = {
        "deferred": lambda: keras.Sequential([layer]),
        "subclassed": Subclassed,
        "wrapped": lambda: keras.Sequential(
            [keras.Sequential([layer]), keras.layers.Dense(1)]
        ),
    }[kind]()
    model.compile("sgd", "mse")
    _warned.clear()  # and an unset weight would warn: an error here
    weights, history, _ = run(tfpbnn.callbacks.KLWeight(20), model=model)
    np.testing.assert_allclose(weights, 1 / 20)
    assert history["kl"][0] > 0


def test_a_model_without_kl():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="no KL for `KLWeight`"):
        run(tfpbnn.callbacks.KLWeight(20), model=model)


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"num_examples": 0}, "num_examples=0"),
        ({"num_examples": -5}, "num_examples=-5"),
        ({"num_examples": float("inf")}, "num_examples=inf"),
        ({"warmup_epochs": -1}, "warmup_epochs=-1"),
        ({"schedule": "cosine"}, r"cyclical.*linear.*schedule='cosine'"),
        ({"temperature": 0.0}, "`temperature` must be .*temperature=0.0"),
        ({"floor": -0.1}, "`floor` must be a number from 0 to 1.*floor=-0.1"),
        ({"floor": 1.5}, "floor=1.5"),
    ],
)
def test_bad_arguments(kwargs, match):
    with pytest.raises(ValueError, match=match):
        tfpbnn.callbacks.KLWeight(**{"num_examples": 10} | kwargs)


def test_a_schedule_that_goes_negative():
    callback = tfpbnn.callbacks.KLWeight(10, schedule=lambda _: -1.0)
    with pytest.raises(ValueError, match=r"-1\.0 for epoch 0"):
        run(callback)
