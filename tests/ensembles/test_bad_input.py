"""What can't be collected, and what can't be asked for."""

import operator

import keras
import numpy as np
import pytest

import tfpbnn
from tests.ensembles.averaging.iterates import (
    classifier,
    feed,
    iterates,
    labelled,
    linear,
)
from tfpbnn import ensembles
from tfpbnn.ensembles import SWA, SWAG, MultiSWAG, SnapshotEnsemble

POSTERIOR = operator.attrgetter("posterior")


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: SWAG(0, rank=0), "`rank` must be .* 2 or more.*rank=0"),
        (lambda: SWAG(0, rank=1), "`rank` must be .* 2 or more.*rank=1"),
        (lambda: SWAG(0, scale=-1), "`scale` must be a finite.*scale=-1"),
        (lambda: SWA(-1), "`start_epoch` must be .* 0 or more.*start_epoch=-1"),
        (lambda: SWA(0, 0), "`frequency` must be a positive integer.*=0"),
        (lambda: SWA(0, unit="day"), r"one of \['epoch', 'step'\].*'day'"),
        (lambda: SWA(0, learning_rate=0), "`learning_rate` must be.*=0"),
        (lambda: SnapshotEnsemble(0, 0.1), "`num_cycles` must be a positive"),
        (lambda: SnapshotEnsemble(2, -1), "`learning_rate` must be.*=-1"),
        (lambda: MultiSWAG([]), "list of one posterior or more"),
    ],
)
def test_arguments(make, match):
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.parametrize(
    ("callback", "ask", "match"),
    [
        (SWA(5), SWA.average, "SWA has collected 0.*start_epoch=5"),
        (SWAG(5), POSTERIOR, "collected 0.*needs 2.*and 2 epochs began"),
        (SWAG(1), POSTERIOR, "SWAG has collected 1 sets.*needs 2"),
        (SWAG(0, frequency=3), POSTERIOR, "every 3 epochs"),
    ],
)
def test_too_little_was_collected(callback, ask, match):
    x, y = labelled()
    classifier().fit(x, y, epochs=2, callbacks=[callback], verbose=0)
    with pytest.raises(ValueError, match=match):
        ask(callback)


def test_no_snapshot_yet():
    x, y = labelled()
    with pytest.raises(ValueError, match="no members yet: the first of 2"):
        _ = SnapshotEnsemble(2, 0.1).posterior
    with pytest.raises(ValueError, match="num_cycles=3, epochs=2"):
        classifier().fit(
            x, y, epochs=2, callbacks=[SnapshotEnsemble(3, 0.1)], verbose=0
        )


@pytest.mark.parametrize(
    "callback", [SWA(0, learning_rate=0.1), SnapshotEnsemble(1, 0.1)]
)
def test_a_learning_rate_that_cannot_be_set(callback):
    x, y = labelled()
    model = classifier()
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    model.compile(keras.optimizers.SGD(schedule), model.loss)
    with pytest.raises(ValueError, match=r"must be a number.*CosineDecay"):
        model.fit(x, y, callbacks=[callback], verbose=0)


def test_what_is_found_before_training_and_not_after():
    class NoConfig(keras.Model):
        def __init__(self, units):
            super().__init__()
            self.dense = keras.layers.Dense(units)

        def call(self, x):
            return self.dense(x)

    x, y = labelled()
    model = NoConfig(2)
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="must be one that can be copied"):
        model.fit(x, y, callbacks=[SWAG(0)], verbose=0)


def test_another_model_is_another_collection():
    swa = SWA(0)
    model = linear()
    feed(swa, model, iterates(model, 2))
    with pytest.raises(ValueError, match="collects the weights of one model"):
        feed(swa, linear(5), [])


def swag_posterior(units=2):
    swag, model = SWAG(0, 2), linear(units)
    feed(swag, model, iterates(model, 3))
    return swag.posterior


def test_posteriors():
    posterior = swag_posterior()
    with pytest.raises(NotImplementedError, match="SWAGPosterior is collected"):
        posterior.fit(np.ones((2, 3)), np.ones((2, 2)))
    with pytest.raises(ValueError, match="`scale` must be a finite number"):
        posterior.scale = -1.0
    with pytest.raises(ValueError, match="`num_samples` must be"):
        posterior.materialize(0)
    with pytest.raises(ValueError, match="must be different objects"):
        MultiSWAG([posterior, posterior])
    with pytest.raises(ValueError, match="outputs of the same shapes"):
        MultiSWAG([posterior, swag_posterior(3)])
    with pytest.raises(
        TypeError, match=r"must be posteriors.*Received: Sequen"
    ):
        MultiSWAG([posterior, linear()])
    with pytest.raises(ValueError, match="one network or a posterior with a"):
        ensembles.update_batch_norm(MultiSWAG([posterior]), np.ones((2, 3)))
    from_weights = ensembles.WeightSamples.from_weights
    with pytest.raises(ValueError, match="must have one set or more"):
        from_weights(linear(), [])
    with pytest.raises(ValueError, match=r"Received: shapes.*weights\[0\]"):
        from_weights(linear(), [linear(3).get_weights()])


def test_batch_norm_without_data():
    x, y = labelled()
    swa, swag = SWA(0), SWAG(0, 2)
    model = classifier(keras.layers.BatchNormalization())
    model.fit(x, y, epochs=2, callbacks=[swa, swag], verbose=0)
    with pytest.raises(ValueError, match="`x` must be given"):
        swa.average()
    posterior = swag.posterior
    with pytest.raises(ValueError, match=r"statistics of their own.*material"):
        tfpbnn.predict(posterior, x)
    with pytest.raises(ValueError, match="of other weights than the mean"):
        tfpbnn.predict(posterior, x, draws="mean")
    with pytest.raises(ValueError, match="of other weights than the mean"):
        posterior.predict(x, verbose=0)
    with pytest.raises(ValueError, match="`x` must be given"):
        posterior.materialize(3)
    with pytest.raises(ValueError, match="finite"):
        ensembles.update_batch_norm(posterior, np.full((4, 3), np.nan))
