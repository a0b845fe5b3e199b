"""Losses and metrics of ensembles, against Keras's of their members.

Data are padded, weighted and named, in the ways that Keras takes them.
"""

import keras
import numpy as np
import pytest

from tests.ensembles.deep.comparison import FIT, assert_same
from tests.ensembles.deep.networks import mlp
from tfpbnn.ensembles import (
    DeepEnsemble,
    HyperEnsemble,
    MixedEnsemble,
    MultiSWAG,
    WeightSamples,
    to_packed_ensemble,
)

layers = keras.layers
rng = np.random.default_rng(0)
N, T = 20, 5
IDS = rng.integers(1, 9, (N, T))
IDS[np.arange(T) >= rng.integers(1, T + 1, N)[:, np.newaxis]] = 0
TAGS = rng.integers(0, 3, (N, T))
STEP_WEIGHTS = rng.uniform(size=(N, T)).astype("float32")
X = rng.normal(size=(N, 4)).astype("float32")
Y = {name: rng.normal(size=(N, k)) for name, k in (("a", 1), ("b", 2))}
WEIGHTS = {name: rng.uniform(size=N).astype("float32") for name in "ab"}
REDUCTIONS = ("sum", "mean_with_sample_weight", "sum_over_batch_size")


def cross_entropy(**kwargs):
    return keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, **kwargs
    )


def tagger(outputs=("tags",)):
    """Padded places are masked through wrappers, for each of its outputs."""
    ids = keras.Input((None,), dtype="int32")
    x = layers.Embedding(9, 4, mask_zero=True)(ids)
    found = {
        name: layers.TimeDistributed(layers.Dense(3), name=name)(x)
        for name in outputs
    }
    return keras.Model(ids, found if len(outputs) > 1 else found["tags"])


def two_outputs(as_list=False):
    """Named in the order that is not the alphabet's."""
    inputs = keras.Input((4,))
    outputs = {
        "b": layers.Dense(2, name="b")(inputs),
        "a": layers.Dense(1, name="a")(inputs),
    }
    as_listed = list(outputs.values())
    return keras.Model(inputs, as_listed if as_list else outputs)


class RowLoss(layers.Layer):
    """Adds a loss of a number for each row, as Keras allows."""

    def call(self, x):
        self.add_loss(keras.ops.mean(x**2, axis=-1))
        return x


def with_added_losses():
    inputs = keras.Input((4,))
    x = layers.Dense(3, activity_regularizer="l2")(inputs)
    return keras.Model(inputs, layers.Dense(1)(RowLoss()(x)))


def padded_case():
    """Each reduction, each with weights of its own for each step."""
    names = (*REDUCTIONS, "ignored")
    loss = {name: cross_entropy(reduction=name) for name in REDUCTIONS}
    loss["ignored"] = cross_entropy(ignore_class=1)
    weights = {n: STEP_WEIGHTS + i for i, n in enumerate(names)}
    metrics = {"ignored": ["accuracy"]}
    y = dict.fromkeys(names, TAGS)
    return (
        lambda: tagger(names),
        {"loss": loss, "metrics": metrics, "weighted_metrics": metrics},
        {"x": IDS, "y": y, "sample_weight": weights},
    )


CASES = {
    "padded": padded_case(),
    "dict": (
        two_outputs,
        {
            "loss": {"a": "mse", "b": "mae"},
            "loss_weights": {"a": 2.0, "b": 0.3},
            "metrics": {"a": ["mae"]},
            "weighted_metrics": {"b": ["mse"]},
        },
        {"x": X, "y": Y, "sample_weight": WEIGHTS},
    ),
    "dict of targets, list of outputs": (
        lambda: two_outputs(as_list=True),
        {
            "loss": {"a": "mse", "b": "mae"},
            "loss_weights": {"b": 2.0, "a": 0.3},
            "metrics": {"a": ["mae"], "b": ["mse"]},
        },
        {"x": X, "y": Y},
    ),
    "an output without a loss": (
        two_outputs,
        {"loss": {"a": "mse"}},
        {"x": X, "y": {"a": Y["a"]}},
    ),
    "no reduction": (
        mlp,
        {"loss": keras.losses.MeanSquaredError(reduction=None)},
        {"x": X, "y": Y["b"], "sample_weight": WEIGHTS["a"]},
    ),
    "added losses": (with_added_losses, {"loss": "mse"}, {"x": X, "y": Y["a"]}),
}


def compiled_by(model, arguments):
    """The model, compiled with losses, and metrics of its own."""
    parts = {k: v for k, v in arguments.items() if "metrics" in k}
    config = keras.saving.serialize_keras_object(parts)
    own = keras.saving.deserialize_keras_object(config)
    losses = {k: v for k, v in arguments.items() if "loss" in k}
    model.compile(keras.optimizers.SGD(0.1), **losses, **own)
    return model


def mean_model(members, compiled):
    """What scores the mean of the outputs, as Keras does."""
    inputs = keras.Input(members[0].inputs[0].shape[1:])
    for number, member in enumerate(members):
        member.name = f"member_{number}"
    outputs = [member(inputs) for member in members]
    flat = [keras.tree.flatten(output) for output in outputs]
    names = getattr(members[0], "output_names", ["output"])
    means = [
        layers.Average(name=name)(list(parts))
        for name, *parts in zip(names, *flat, strict=True)
    ]
    packed = keras.tree.pack_sequence_as(outputs[0], means)
    return compiled_by(keras.Model(inputs, packed), compiled)


def scored(model, data, batch_size=8):
    return model.evaluate(
        **data, batch_size=batch_size, verbose=0, return_dict=True
    )


def validation(data):
    rows = keras.tree.map_structure(lambda a: a[:7], data)
    return tuple(rows.values())


@pytest.mark.filterwarnings("ignore:Gradients do not exist")  # without a loss
@pytest.mark.parametrize(
    ("case", "member_batch"),
    [*((case, "auto") for case in CASES), ("padded", 1)],
)
def test_members_learn_and_are_scored_as_by_keras(case, member_batch):
    build, compiled, data = CASES[case]
    ensemble = DeepEnsemble(build, 2, member_batch=member_batch)
    compiled_by(ensemble, compiled)
    alone = [compiled_by(member, compiled) for member in ensemble.members]
    kwargs = FIT | {"batch_size": 10, "validation_data": validation(data)}
    history = ensemble.fit(**data, **kwargs).history
    own = [member.fit(**data, **kwargs).history for member in alone]
    assert_same(ensemble, alone)
    assert set(history) == set(own[0])
    for name in (name for name in history if name.endswith("loss")):
        expected = np.mean([h[name] for h in own], axis=0)
        np.testing.assert_allclose(history[name], expected, rtol=1e-5)
    losses = [h["val_loss"] for h in own]
    found = np.transpose(ensemble.member_history["val_loss"])
    np.testing.assert_allclose(found, losses, rtol=1e-5)
    found, expected = (
        scored(m, data) for m in (ensemble, mean_model(alone, compiled))
    )
    assert set(found) == set(expected)
    for name in (n for n in found if not n.endswith("loss")):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)


MAKE = {
    "hyper": lambda: HyperEnsemble(lambda **_: tagger(), [{}, {}]),
    "mixed": lambda: MixedEnsemble([tagger(), tagger()]),
    "samples": lambda: WeightSamples.from_weights(
        tagger(), [tagger().get_weights() for _ in range(2)]
    ),
    "multi": lambda: MultiSWAG(
        [WeightSamples.from_weights(m, [m.get_weights()]) for m in two()]
    ),
}


def two():
    return [tagger(), tagger()]


@pytest.mark.parametrize("kind", MAKE)
def test_padded_places_count_in_no_ensemble(kind):
    """Whatever is at them."""
    compiled = {"loss": cross_entropy(), "metrics": ["accuracy"]}
    ensemble = compiled_by(MAKE[kind](), compiled)
    if kind == "multi":
        members = [part.members[0] for part in ensemble.components]
    else:
        members = list(ensemble.members)
    alone = [compiled_by(member, compiled) for member in members]
    data = {"x": IDS, "y": np.where(IDS == 0, 2, TAGS)}
    found = scored(ensemble, data)
    expected = scored(mean_model(alone, compiled), data)
    np.testing.assert_allclose(
        found["accuracy"], expected["accuracy"], rtol=1e-6
    )
    loss = expected["loss"]
    if kind == "hyper":
        loss = np.mean([scored(member, data)["loss"] for member in alone])
    np.testing.assert_allclose(found["loss"], loss, rtol=1e-5)
    assert scored(ensemble, data | {"y": np.where(IDS == 0, 0, TAGS)}) == found


@pytest.mark.parametrize("as_list", [False, True])
@pytest.mark.parametrize("make", [DeepEnsemble, to_packed_ensemble])
def test_names_that_do_not_fit_are_listed(make, as_list):
    ensemble = make(two_outputs(as_list), 2)
    ensemble.compile("sgd", {"a": "mse", "b": "mae"})
    for y, found in (
        ({"a": Y["a"]}, r"\['a'\], of which \[\] are unknown, and \['b'\]"),
        ({"a": Y["a"], "c": Y["b"]}, r"which \['c'\] are.*and \['b'\] miss"),
        (Y | {"c": Y["b"]}, r"which \['c'\] are unknown, and \[\] missing"),
    ):
        for use in (ensemble.fit, ensemble.evaluate):
            with pytest.raises(ValueError, match=rf"\['b', 'a'\].*{found}"):
                use(X, y, verbose=0)


def test_one_output_goes_without_a_name():
    ensemble = DeepEnsemble(mlp, 2)
    ensemble.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"must be an array.*\['out'\]"):
        ensemble.fit(X, {"out": Y["a"]}, verbose=0)


def test_bootstrap_weighs_members_and_not_their_scores():
    """Weights of each step, and of each output, go with their rows."""
    ensemble = DeepEnsemble(tagger, 2, bootstrap="poisson", seed=0)
    metric = {"weighted_metrics": ["accuracy"]}
    compiled_by(ensemble, {"loss": cross_entropy(), **metric})
    ensemble.optimizer.learning_rate = 0.0
    alone = [
        compiled_by(member, {"loss": cross_entropy(), **metric})
        for member in ensemble.members
    ]
    data = {"x": IDS, "y": TAGS, "sample_weight": STEP_WEIGHTS}
    history = ensemble.fit(**data, batch_size=N, verbose=0).history
    counts = ensemble.options.bootstrap_counts(N, 2)
    for number, member in enumerate(alone):
        own = STEP_WEIGHTS * counts[:, number, np.newaxis]
        expected = scored(member, data | {"sample_weight": own}, N)
        found = ensemble.member_history["loss"][0][number]
        np.testing.assert_allclose(found, expected["loss"], rtol=1e-5)
    expected = scored(ensemble, data, N)["accuracy"]
    np.testing.assert_allclose(history["accuracy"], expected, rtol=1e-6)
