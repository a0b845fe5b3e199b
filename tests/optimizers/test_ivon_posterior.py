"""IVON's posterior, its files, and what can't be trained by it."""

import json
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests import fresh
from tests.optimizers.networks import classifier, labelled, regressor
from tests.statistics import assert_moments
from tfpbnn import random
from tfpbnn.optimizers import IVON, DiagonalNormalPosterior

L = keras.layers
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def trained(model=None, optimizer=None, **compiled):
    model = model or classifier((4,))
    rate = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    model.compile(optimizer or IVON(rate, hess_init=0.1), LOSS, **compiled)
    x, y = labelled()
    model.fit(x, y, batch_size=16, epochs=1, shuffle=False, verbose=0)
    return model


@pytest.fixture(scope="module")
def model():
    return trained(classifier((4,), L.BatchNormalization()))


@pytest.fixture(scope="module")
def posterior(model):
    return model.optimizer.posterior(model)


def test_draws_have_the_means_and_deviations(posterior):
    """With a false-alarm rate of 1e-6."""
    key, types = random.as_key(3), [v.dtype for v in posterior.random_weights]

    @tf.function(autograph=False)
    def draws():
        return tf.map_fn(
            lambda n: posterior.sample(random.fold(key, n)),
            tf.range(8_000, dtype=tf.int64),
            fn_output_signature=types,
            parallel_iterations=1,
        )

    found = draws()
    for number, variable in enumerate(posterior.random_weights):
        stddev = posterior.stddevs[number].numpy()
        assert_moments(found[number], variable.numpy(), stddev, detects=0.15)


def test_it_is_a_posterior_like_the_others(posterior, model, tmp_path):
    x, y = labelled()
    np.testing.assert_allclose(
        posterior.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5
    )
    scores = tfpbnn.evaluate(posterior, x, y, draws="mean")
    loss = posterior.evaluate(x, y, verbose=0)
    np.testing.assert_allclose(loss, scores["nll"], rtol=1e-5)
    p = tfpbnn.predict(posterior, x, 7, seed=3)
    assert p.mutual_information.min() > 1e-4
    tfpbnn.export(posterior, tmp_path / "1", 4, signatures=["serving_default"])
    served = tf.saved_model.load(tmp_path / "1").signatures["serving_default"]
    name = next(iter(served.structured_input_signature[1]))
    found = served(**{name: tf.constant(x)})["probabilities"]
    np.testing.assert_allclose(np.sum(found, -1), 1, rtol=1e-5)
    with pytest.raises(NotImplementedError, match="can't be trained"):
        posterior.fit(x, y)
    with pytest.raises(ValueError, match="`x` must be given"):
        posterior.materialize(3)
    kept = posterior.materialize(3, x, seed=0)  # statistics of their own
    assert not np.allclose(*(m.get_weights()[4] for m in kept.members[:2]))


_LOAD = """
import sys, keras, numpy as np, tfpbnn
folder = sys.argv[1]
x, y = np.load(folder + "/x.npy"), np.load(folder + "/y.npy")
p = tfpbnn.predict(keras.saving.load_model(folder + "/p.keras"), x, 7, seed=3)
model = keras.saving.load_model(folder + "/m.keras")
model.fit(x, y, batch_size=16, epochs=1, shuffle=False, verbose=0)
posterior = model.optimizer.posterior(model)
np.savez(folder + "/found.npz", p.probabilities, *model.get_weights(),
         *(v.numpy() for v in posterior.stddevs))
"""


def test_files_predict_and_go_on_in_a_fresh_process(tmp_path):
    """Bit for bit: with the schedule, the draws, Hessians and examples."""
    model, (x, y) = trained(), labelled()
    posterior = model.optimizer.posterior(model)
    posterior.save(tmp_path / "p.keras")
    model.save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    fresh.run(_LOAD, str(tmp_path))
    p = tfpbnn.predict(posterior, x, 7, seed=3)
    model.fit(x, y, batch_size=16, epochs=1, shuffle=False, verbose=0)
    later = model.optimizer.posterior(model)
    expected = [
        p.probabilities,
        *model.get_weights(),
        *(v.numpy() for v in later.stddevs),
    ]
    found = np.load(tmp_path / "found.npz").values()
    np.testing.assert_allclose(next(iter(found)), expected[0], rtol=1e-6)
    for a, b in zip(list(found)[1:], expected[1:], strict=True):
        np.testing.assert_array_equal(a, b)
    config = json.loads(json.dumps(model.optimizer.get_config()))
    assert IVON.from_config(dict(config)).get_config() == config


def test_frozen_weights_and_embeddings_by_rows():
    x = np.random.default_rng(0).integers(0, 6, (48, 5))
    model = tfpbnn.Sequential(
        [
            keras.Input((5,)),
            L.Embedding(10, 4, mask_zero=True),
            L.GlobalAveragePooling1D(),
            L.Dense(4, trainable=False),
            L.Dense(3),
        ]
    )
    optimizer = IVON(0.1, hess_init=0.1, beta_2=0.9)
    model.compile(optimizer, LOSS)
    model.fit(x, labelled()[1], epochs=1, verbose=0)
    posterior = optimizer.posterior(model)
    assert posterior.indices == (0, 3, 4)
    stddev = posterior.stddevs[0].numpy()
    hess = 0.1
    for _ in range(2):  # words without a gradient: towards the prior
        hess = 0.9 * hess + 0.005 * hess**2 / (hess + 1e-4)
    expected = 1 / np.sqrt(48 * (hess + 1e-4))
    np.testing.assert_allclose(stddev[6:], expected, rtol=1e-5)
    assert np.abs(stddev[1:6] - expected).min() > 1e-5
    model.layers[2].trainable = True
    model.compile(optimizer, LOSS)
    with pytest.raises(ValueError, match="built for all trainable weights"):
        model.fit(x, labelled()[1], epochs=1, verbose=0)


def test_loops_of_ones_own():
    x, y = labelled()
    network = classifier((4,), cls=keras.Sequential)
    optimizer = IVON(0.1, ess=len(x), hess_init=0.1, seed=0)
    variables = network.trainable_variables
    before = network.get_weights()
    with tf.GradientTape() as tape, optimizer.sampled(network):
        drawn = LOSS(y, network(x))
    assert drawn != LOSS(y, network(x))
    for a, b in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    optimizer.apply(tape.gradient(drawn, variables), variables)
    assert not np.allclose(before[0], network.get_weights()[0])
    with optimizer.sampled(network), tf.GradientTape() as tape:
        drawn = LOSS(y, network(x))
    found = tape.gradient(drawn, variables)
    with pytest.raises(ValueError, match=r"open `optimizer.sampled` inside"):
        optimizer.apply(found, variables)


def unknown_length(model):
    model.compile(IVON(0.1), LOSS)
    x, y = labelled()
    rows = tf.data.Dataset.from_tensor_slices((x, y)).batch(16).repeat()
    model.fit(rows, steps_per_epoch=2, verbose=0)


def without_gradient(_):
    x = keras.Input((4,))
    model = tfpbnn.Model(x, [L.Dense(3)(x), L.Dense(3, name="unused")(x)])
    model.compile(IVON(0.1), [LOSS, None])
    model.fit(labelled()[0], [labelled()[1], None], verbose=0)


def diverged(_):
    network, optimizer = regressor(4, 3), IVON(0.1, ess=1)
    variables, x = network.trainable_variables, np.full((1, 4), np.inf)
    found = optimizer.gradients(lambda: tf.reduce_sum(network(x)), variables)
    optimizer.apply(found, variables)
    optimizer.posterior(network)


def apart(in_graph):
    """Draws in a loop of one's own, and does the rest in another function."""
    network = classifier((4,), cls=keras.Sequential)
    variables = network.trainable_variables
    optimizer = IVON(0.1, ess=48)

    def gradients():
        with tf.GradientTape() as tape, optimizer.sampled(network):
            loss = LOSS(labelled()[1], network(labelled()[0]))
        return tape.gradient(loss, variables)

    def apply(found):
        optimizer.apply(found, variables)

    if in_graph:
        apply(tf.function(gradients)())
    else:
        tf.function(apply)(gradients())


def apart_from_the_step(wrap):
    """What a layer computes by a function of its own knows of no draws."""
    layer = L.Dense(3)
    layer.build((None, 4))
    variables, x = layer.trainable_variables, tf.ones((2, 4))
    own = wrap(lambda x: layer(x))
    own(x)  # traces it
    IVON(0.1, ess=2).gradients(lambda: tf.reduce_sum(own(x)), variables)


def plain(**compiled):
    return lambda _: trained(
        classifier((4,), cls=keras.Sequential), IVON(0.1), **compiled
    )


def frozen(_):
    model = classifier((4,))
    model.trainable = False
    trained(model)


CASES = {
    "rate": (lambda _: IVON(-0.1), "`learning_rate` must be"),
    "frozen": (frozen, "`model` must have trainable weights"),
    "ess 0": (lambda _: IVON(0.1, ess=0), "`ess` must be None .*ess=0"),
    "ess nan": (lambda _: IVON(0.1, ess=float("nan")), "`ess` must be"),
    "hess_init": (lambda _: IVON(0.1, hess_init=0), "`hess_init` must be"),
    "beta_1": (lambda _: IVON(0.1, beta_1=1.0), "`beta_1` must be"),
    "beta_2": (lambda _: IVON(0.1, beta_2=-0.1), "`beta_2` must be"),
    "decay": (lambda _: IVON(0.1, weight_decay=-1.0), "`weight_decay` must"),
    "num_mc": (lambda _: IVON(0.1, num_mc=0), "`num_mc` must be"),
    "radius": (lambda _: IVON(0.1, clip_radius=0), "`clip_radius` must be"),
    "accumulated": (
        lambda _: IVON(0.1, gradient_accumulation_steps=2),
        "`gradient_accumulation_steps` must be None",
    ),
    "plain": (plain(), r"Make the model a `tfpbnn.Sequential`"),
    "plain, eager": (plain(run_eagerly=True), "Make the model a"),
    "constraint": (
        lambda _: trained(
            classifier((4,), L.Dense(2, kernel_constraint="unit_norm"))
        ),
        "must have no constraint",
    ),
    "16 bits": (
        lambda _: trained(classifier((4,), dtype="float16")),
        'Use dtype="mixed_float16"',
    ),
    "variational": (
        lambda _: trained(classifier((4,), tfpbnn.layers.DenseFlipout(3))),
        r"Received: one with variational layers",
    ),
    "length": (unknown_length, r"`ess`\) must be given .* None; x is a tf"),
    "no ess": (
        lambda m: IVON(0.1).gradients(lambda: LOSS([0], m(np.ones((1, 4)))), m),
        r"Give `IVON\(ess=len\(x\)\)`",
    ),
    "no gradient": (without_gradient, "none for .*unused/kernel"),
    "recomputed": (
        lambda _: apart_from_the_step(tf.recompute_grad),
        r"none for .*`keras\.RematScope`",
    ),
    "traced": (
        lambda _: apart_from_the_step(tf.function),
        r"none for .*`tf\.function`",
    ),
    "diverged": (diverged, r"dense.*/kernel with NaN .* larger `hess_init`"),
    "drawn in": (lambda _: apart(True), "a draw inside of a tf.function"),
    "drawn out": (lambda _: apart(False), "a draw outside of a tf.function"),
    "another model": (
        lambda m: m.optimizer.posterior(regressor(4, 3)),
        "must be the model that the optimizer has trained",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input(name, model):
    call, message = CASES[name]
    with pytest.raises(ValueError, match=message):
        call(model)


def test_the_constructor_of_the_posterior_is_public():
    network = regressor(3, 1)
    posterior = DiagonalNormalPosterior(network, [0])
    assert [tuple(v.shape) for v in posterior.stddevs] == [(3, 1)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        p = tfpbnn.predict(
            posterior,
            np.ones((2, 3), "float32"),
            3,
            likelihood=tfpbnn.likelihoods.Normal(scale=1.0),
        )
    np.testing.assert_allclose(p.epistemic_variance, 0, atol=1e-12)
