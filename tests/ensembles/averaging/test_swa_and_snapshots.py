"""Averages and snapshots are of the weights that they say."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.ensembles.averaging.iterates import (
    L,
    classifier,
    feed,
    flat,
    iterates,
    labelled,
    linear,
    normal,
)
from tfpbnn.ensembles import SWA, SnapshotEnsemble, WeightSamples


def test_swa_is_the_mean_of_the_weights():
    model = linear()
    sets = iterates(model, 9, loc=100.0)
    for start, frequency in ((0, 1), (3, 2)):
        swa = SWA(start, frequency)
        feed(swa, model, sets)
        used = sets[start + frequency - 1 :: frequency]
        expected = [np.mean(v, 0, "float64") for v in zip(*used, strict=True)]
        average = swa.average()
        assert swa.num_collected == len(used)
        np.testing.assert_allclose(
            flat(average.weights), flat(expected), rtol=1e-6
        )
    assert type(average) is type(model)
    assert isinstance(average.optimizer, keras.optimizers.SGD)
    again = SWA(0)
    again.resume(average, len(used))
    feed(again, model, sets[:1])
    expected = (len(used) * flat(expected) + flat(sets[0])) / (len(used) + 1)
    np.testing.assert_allclose(
        flat(again.average().weights), expected, rtol=1e-5
    )


class Recorder(keras.callbacks.Callback):
    """What the learning rate was at each step, the weights at each end."""

    def on_train_begin(self, logs=None):
        self.rates, self.last_rates, self.ends = [], [], []

    def on_train_batch_begin(self, batch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))

    def on_epoch_end(self, epoch, logs=None):
        self.last_rates.append(float(self.model.optimizer.learning_rate))
        self.ends.append(self.model.get_weights())


def test_learning_rates_of_swa():
    x, y = labelled()
    swa, recorder = SWA(2, learning_rate=lambda e: 0.01 * e), Recorder()
    classifier().fit(x, y, epochs=4, callbacks=[swa, recorder], verbose=0)
    np.testing.assert_allclose(recorder.rates, [0.1, 0.1, 0.02, 0.03])


def cosine(step, total, cycles, rate):
    """Huang et al., equation 2, with steps from 0."""
    length = total // cycles
    return rate / 2 * (np.cos(np.pi * (step % length) / length) + 1)


def test_snapshots_are_the_ends_of_cycles():
    x, y = labelled()
    model = classifier(L.BatchNormalization())
    snapshots, recorder = SnapshotEnsemble(3, 0.2), Recorder()
    callbacks = [snapshots, recorder]
    model.fit(x, y, 8, epochs=6, callbacks=callbacks, verbose=0)
    steps = np.arange(24)
    np.testing.assert_allclose(
        recorder.rates, cosine(steps, 24, 3, 0.2), rtol=1e-5
    )
    assert float(model.optimizer.learning_rate) == pytest.approx(0.2)
    posterior = snapshots.posterior
    for member, expected in zip(
        posterior.members, recorder.ends[1::2], strict=True
    ):
        for a, b in zip(member.get_weights(), expected, strict=True):
            np.testing.assert_array_equal(a, b)
    outputs = [m.predict(x, verbose=0) for m in posterior.members]
    np.testing.assert_allclose(
        posterior.predict(x, verbose=0), np.mean(outputs, 0), 1e-4, 1e-5
    )
    p = tfpbnn.predict(posterior, x, num_samples=100)
    assert p.num_samples == 3
    chances = [keras.ops.softmax(output) for output in outputs]
    np.testing.assert_allclose(
        p.probabilities, np.mean(chances, 0), rtol=1e-4, atol=1e-5
    )
    scores = posterior.evaluate(x, y, verbose=0, return_dict=True)
    assert set(scores) == {"loss", "accuracy"}


@pytest.mark.filterwarnings("ignore:.*ran out of data")
def test_cycles_of_unequal_length_and_data_of_unknown_length():
    x, y = labelled()
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
    data = data.filter(lambda *_: True)
    model = classifier()
    snapshots, recorder = SnapshotEnsemble(3, 0.2), Recorder()
    callbacks = [snapshots, recorder]
    model.fit(data, epochs=7, callbacks=callbacks, verbose=0)
    ends = [flat(m.weights) for m in snapshots.posterior.members]
    expected = [flat(recorder.ends[i]) for i in (1, 3, 6)]
    np.testing.assert_allclose(ends, expected)
    # Steps are not known: the rate is that of the epoch's start.
    places = np.array([0, 1 / 2, 0, 1 / 2, 0, 1 / 3, 2 / 3])
    expected = 0.1 * (1 + np.cos(np.pi * places))
    np.testing.assert_allclose(recorder.last_rates, expected, rtol=1e-5)


def test_snapshots_go_on_in_a_new_process():
    x, y = labelled()
    model = classifier()
    first, second = SnapshotEnsemble(2, 0.2), SnapshotEnsemble(2, 0.2)
    model.fit(x, y, epochs=2, callbacks=[first], verbose=0)
    second.resume(first.posterior)
    model.fit(x, y, epochs=4, initial_epoch=2, callbacks=[second], verbose=0)
    assert second.num_collected == 3
    old = first.posterior.members
    for a, b in zip(old, second.posterior.members[:2], strict=True):
        np.testing.assert_array_equal(flat(a.weights), flat(b.weights))


def test_members_are_not_of_the_model_s_weights_now():
    model = linear()
    old = [normal(*v.shape) for v in model.weights]
    (member,) = WeightSamples.from_weights(model, [old]).members
    np.testing.assert_array_equal(flat(member.weights), flat(old))


def test_several_outputs_and_a_half_precision_optimizer():
    keras.config.set_dtype_policy("mixed_float16")
    inputs = keras.Input((3,))
    model = keras.Model(
        inputs, {"a": L.Dense(1)(inputs), "b": L.Dense(2)(inputs)}
    )
    model.compile("adam", {"a": "mse", "b": tfpbnn.likelihoods.Normal()})
    x, y = labelled()
    y = {"a": y[:, None], "b": x[:, :1]}
    snapshots = SnapshotEnsemble(2, 0.01)
    model.fit(x, y, epochs=2, callbacks=[snapshots], verbose=0)
    posterior = snapshots.posterior
    assert posterior.evaluate(x, y, verbose=0)[0] > 0
    scores = tfpbnn.evaluate(posterior, x, y)
    assert np.isfinite([scores["a_nll"], scores["b_crps"]]).all()
