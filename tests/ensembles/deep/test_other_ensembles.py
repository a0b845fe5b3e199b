"""Ensembles with hyperparameters, of any networks, and bad input."""

import keras
import numpy as np
import pytest

import tfpbnn
from tests.checks import check_save
from tests.ensembles.deep.comparison import FIT, assert_same, compiled
from tests.ensembles.deep.networks import X, Y, mlp
from tfpbnn.ensembles import (
    DeepEnsemble,
    HyperEnsemble,
    MemberEarlyStopping,
    MixedEnsemble,
    to_batch_ensemble,
)


def build(rate, l2, activation="relu"):
    penalty = keras.regularizers.L2(l2)
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(
                8, activation=activation, kernel_regularizer=penalty
            ),
            keras.layers.Dropout(rate),
            keras.layers.Dense(2),
        ]
    )


LISTED = [
    {"rate": 0.0, "l2": 0.1, "learning_rate": 0.02, "activation": "tanh"},
    {"rate": 0.0, "l2": 0.0},
    {"rate": 0.9, "l2": 0.0},
]


@pytest.mark.parametrize(
    "optimizer",
    [
        keras.optimizers.SGD(0.01, momentum=0.9),
        keras.optimizers.AdamW(0.01, weight_decay=0.1),
    ],
    ids=["sgd", "adamw"],
)
def test_hyperparameters_of_each_member(optimizer, tmp_path):
    ensemble = HyperEnsemble(build, LISTED)
    config = optimizer.get_config()
    optimizer = type(optimizer).from_config(config)
    ensemble.compile(optimizer, loss=tfpbnn.likelihoods.Normal())
    alone = list(ensemble.members)
    for network, own in zip(alone, LISTED, strict=True):
        rate = float(network.optimizer.learning_rate)
        assert rate == np.float32(own.get("learning_rate", 0.01))
        network.fit(X, Y, **FIT)
    ensemble.fit(X, Y, **FIT)
    members = ensemble.members
    assert_same(ensemble.members[:2], alone[:2])
    kernels = [network.get_weights()[0] for network in (members[2], alone[2])]
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-4  # other masks
    outputs = np.mean([m.predict(X, verbose=0) for m in members], axis=0)
    np.testing.assert_allclose(ensemble(X), outputs, atol=1e-5)
    assert tfpbnn.predict(ensemble, X).num_samples == 3
    if isinstance(optimizer, keras.optimizers.SGD):
        check_save([(ensemble, X)], tmp_path)
        ensemble.save(tmp_path / "hyper.keras")
        loaded = keras.saving.load_model(tmp_path / "hyper.keras")
        assert loaded.hyperparameters == LISTED
        loaded.fit(X, Y, **FIT)


def test_hyperparameters_are_drawn():
    drawn = {"rate": [0.1, 0.2], "l2": lambda rng: 10 ** rng.uniform(-4, -2)}
    first, second, other = (
        HyperEnsemble(build, drawn, 12, seed=seed).hyperparameters
        for seed in (0, 0, 1)
    )
    assert first == second != other
    assert {one["rate"] for one in first} == {0.1, 0.2}
    assert all(1e-4 < one["l2"] < 1e-2 for one in first)


def test_masks_are_new_ones_in_each_step_and_none_when_served(tmp_path):
    """With dropout between weights, whose states are between them too."""
    ensemble = HyperEnsemble(build, LISTED[2:] * 2)
    loss = tfpbnn.likelihoods.Normal()
    ensemble.compile(keras.optimizers.SGD(0.0), loss=loss)
    ensemble.fit(X, Y, batch_size=len(X), epochs=3, verbose=0)
    losses = np.stack(ensemble.member_history["loss"])
    assert (np.diff(np.sort(losses, axis=0), axis=0) > 1e-4).all()
    tfpbnn.export(ensemble, tmp_path / "served", num_samples=2)


def test_networks_of_different_architectures(tmp_path):
    networks = [mlp(4), mlp(8)]
    ensemble = DeepEnsemble.from_models(networks)
    assert isinstance(ensemble, MixedEnsemble)
    ensemble.compile("adam", loss=tfpbnn.likelihoods.Normal())
    history = ensemble.fit(X, Y, **FIT)
    assert history.history["loss"][1] < history.history["loss"][0]
    outputs = np.stack([network(X) for network in networks])
    p = tfpbnn.predict(ensemble, X)
    np.testing.assert_allclose(p.outputs, outputs, atol=1e-6)
    np.testing.assert_allclose(
        ensemble.predict(X, verbose=0), outputs.mean(0), atol=1e-6
    )
    check_save([(ensemble, X)], tmp_path)


def test_networks_of_different_architectures_that_draw():
    random = [keras.Input((4,)), tfpbnn.layers.DenseFlipout(2)]
    ensemble = MixedEnsemble([mlp(), keras.Sequential(random)])
    ensemble.compile("sgd", loss=tfpbnn.likelihoods.Normal())
    outputs = tfpbnn.predict(ensemble, X, num_samples=6).outputs
    assert len(outputs) == 6
    np.testing.assert_allclose(outputs[0], outputs[2], atol=1e-6)
    assert np.abs(outputs[1] - outputs[3]).max() > 1e-3


def test_networks_that_exist():
    networks = [mlp(), mlp()]
    ensemble = DeepEnsemble.from_models(networks)
    assert isinstance(ensemble, DeepEnsemble)
    assert not ensemble.compiled
    assert_same(ensemble, networks, atol=0)
    networks[0].compile("sgd", loss=tfpbnn.likelihoods.Normal())
    again = DeepEnsemble.from_models(networks)
    assert isinstance(again.optimizer, keras.optimizers.SGD)


def squared(y, outputs):
    return keras.ops.mean(keras.ops.square(y - outputs), -1)


def largest(y, outputs):
    return keras.ops.max(keras.ops.abs(y - outputs), -1)


def own_loss(width=8):
    """Compiled with functions that Keras knows nothing of."""
    network = mlp(width)
    network.compile(keras.optimizers.SGD(0.03), squared, metrics=[largest])
    return network


@pytest.mark.parametrize(
    "make",
    [
        lambda: DeepEnsemble(own_loss(), 2),
        lambda: DeepEnsemble(own_loss, 2),
        lambda: DeepEnsemble.from_models([own_loss(), mlp()]),
        lambda: HyperEnsemble(own_loss, [{}, {}]),
        lambda: MixedEnsemble([own_loss(4), mlp()]),
        lambda: to_batch_ensemble(own_loss(), 2),
    ],
    ids=["model", "builder", "from_models", "hyper", "mixed", "shared"],
)
def test_compiled_as_the_networks_are(make):
    ensemble = make()
    assert ensemble.loss is squared
    np.testing.assert_allclose(ensemble.optimizer.learning_rate, 0.03)
    y = np.stack([Y, Y], axis=1)
    assert {"loss", "largest"} <= set(ensemble.fit(X, y, verbose=0).history)
    if isinstance(ensemble, DeepEnsemble | HyperEnsemble):
        ensemble.members[1].evaluate(X, y, verbose=0)


def around(network):
    return keras.Sequential([keras.Input((4,)), *network.layers])


ONE = mlp()
WIDE_INPUT = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)])
WIDE = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DeepEnsemble(mlp, 0), "num_members.*positive integer.*=0"),
        (lambda: DeepEnsemble(lambda: ONE, 2), "same object twice"),
        (lambda: DeepEnsemble("mlp", 2), "`model` must be a keras.Model, or a"),
        (
            lambda: DeepEnsemble(keras.Sequential([keras.layers.Dense(2)]), 2),
            "never built",
        ),
        (
            lambda: HyperEnsemble(mlp, [{"width": 2}, {"width": 3}]),
            r"same shapes.*\(4, 3\).*from_models",
        ),
        (lambda: DeepEnsemble(mlp, True), "num_members=True"),
        (lambda: DeepEnsemble(lambda: around(ONE), 2), "same object twice"),
        (
            lambda: DeepEnsemble.from_models([ONE, WIDE]),
            r"outputs of the same shape.*\(None, 2\).*\(None, 4\)",
        ),
        (
            lambda: DeepEnsemble.from_models([ONE, WIDE_INPUT]),
            r"inputs of the same shape.*\(None, 4\).*\(None, 5\)",
        ),
        (lambda: DeepEnsemble.from_models(ONE), "list of keras.Models"),
        (lambda: DeepEnsemble.from_models([]), "one model or more"),
        (lambda: MixedEnsemble([]), "one model or more"),
        (lambda: DeepEnsemble.from_models([ONE, ONE]), "same object twice"),
        (lambda: DeepEnsemble(mlp, 3, member_batch=2), "must divide"),
        (lambda: DeepEnsemble(mlp, 3, member_batch=0), '"auto" or a positive'),
        (lambda: DeepEnsemble(mlp, 3, bootstrap=True), 'None or "poisson"'),
        (lambda: DeepEnsemble(mlp, 3, shuffle=True), r"'shared', 'own'"),
        (lambda: DeepEnsemble(mlp, 3, adversarial_epsilon=-1), "epsilon=-1"),
        (lambda: HyperEnsemble(mlp, "width"), "must be a list with a dict"),
        (lambda: HyperEnsemble(mlp, {"width": [2]}), "num_members=None"),
        (lambda: HyperEnsemble(mlp, {"width": 2}, 2), "list to choose from"),
        (lambda: HyperEnsemble(mlp, [{}], 2), "must be left out"),
        (lambda: HyperEnsemble(ONE, [{}]), "function of hyperparameters"),
        (lambda: MemberEarlyStopping("val_accuracy"), r"'loss', 'val_loss'"),
        (lambda: MemberEarlyStopping(patience=-1), "patience=-1"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: DeepEnsemble(mlp, 2),
        lambda: DeepEnsemble.from_models([mlp(4), mlp(8)]),
    ],
)
def test_what_can_not_be_fitted(make):
    ensemble = make()
    with pytest.raises(ValueError, match="`compile` must be called before"):
        ensemble.fit(X, Y)
    ensemble.compile("sgd", loss=tfpbnn.likelihoods.Categorical())
    labels = (Y > 0).astype("int32")
    for y, message in (
        (np.array(["no", "yes"])[labels], "must hold numbers.*'(no|yes)'"),
        (labels + 1, "labels from 0 to 1.*Received: 2"),
        (np.where(labels == 1, np.nan, labels), "must be finite"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            ensemble.fit(X, y)
    ensemble.compile(tfpbnn.optimizers.IVON(0.1), "mse")
    with pytest.raises(ValueError, match=r"no deviations .* IVON\. Train"):
        ensemble.fit(X, Y)


def test_own_orders_are_asked_of_the_constructor():
    with pytest.raises(ValueError, match=r"asked of the constructor.*'own'"):
        compiled().fit(X, Y, shuffle="own")


def test_members_that_start_at_the_same_weights():
    def build():
        keras.utils.set_random_seed(0)
        return mlp()

    with pytest.warns(UserWarning, match="start at the same weights"):
        compiled(build).fit(X, Y, **FIT)


def test_architectures_that_differ_by_chance():
    widths = iter([True, False])
    with pytest.raises(ValueError, match="nothing but their weights"):
        DeepEnsemble(lambda: build(0.5 if next(widths) else 0.1, 0.0), 2)


def test_early_stopping_needs_validation_data_and_an_ensemble():
    stop = MemberEarlyStopping()
    with pytest.raises(ValueError, match="needs validation data"):
        compiled().fit(X, Y, **FIT, callbacks=[stop])
    network = mlp()
    network.compile("sgd", loss=tfpbnn.likelihoods.Normal())
    with pytest.raises(ValueError, match="is for ensembles"):
        network.fit(X, Y, **FIT, callbacks=[stop])


def test_own_rates_need_an_optimizer_in_proportion():
    ensemble = HyperEnsemble(build, LISTED[:1])
    for optimizer in (
        keras.optimizers.Ftrl(),
        keras.optimizers.SGD(
            keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
        ),
    ):
        ensemble.compile(optimizer, loss=tfpbnn.likelihoods.Normal())
        with pytest.raises(ValueError, match="in proportion to its rate"):
            ensemble.fit(X, Y, **FIT)
