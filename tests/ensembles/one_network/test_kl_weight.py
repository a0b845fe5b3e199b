"""What the KL is divided by where members share one network, by hand."""

import keras
import numpy as np
import pytest

from tests.callbacks.fits import dataset, divisor_of
from tfpbnn import ensembles, layers, likelihoods

rng = np.random.default_rng(0)
N, T, M, BATCH = 11, 4, 3, 4
LIVE = np.arange(T) < rng.integers(1, T + 1, N)[:, np.newaxis]
X = np.where(LIVE[..., np.newaxis], rng.normal(size=(N, T, 2)), 0.0)
X = X.astype("float32")
TAGS = rng.integers(0, 3, (N, T))
WEIGHTS = rng.uniform(0.5, 2.0, (N, T)).astype("float32")


def dense(units):
    return layers.DenseReparameterization(units)


def plain(mask, last):
    inputs = keras.Input((T, 2))
    x = keras.layers.Masking()(inputs) if mask else inputs
    x = keras.layers.Dropout(0.1)(keras.layers.Dense(6, "tanh")(x))
    return keras.Model(inputs, last(x))


def mimo(mask):
    inputs = keras.Input((T, 2))
    x = keras.layers.Masking()(inputs) if mask else inputs
    features, order = layers.JoinMembers(M, batch_repetition=2)(x)
    x = layers.SplitMembers(M)(dense(3 * M)(features), order)
    return ensembles.MIMO(inputs, x)


MAKE = {
    "rank1": lambda mask: ensembles.to_rank1(
        plain(mask, keras.layers.Dense(3)), M
    ),
    "masksembles": lambda mask: ensembles.to_masksembles(
        plain(mask, dense(3)), M
    ),
    "mimo": mimo,
}


def by_hand(reduction, mask, weighted):
    """The divisors of the losses of batches, added up, of one member."""
    if reduction == "sum":
        return np.ceil(N / BATCH)
    counts = LIVE if mask else np.ones((N, T))
    is_by_weight = reduction == "mean_with_sample_weight" and weighted
    return np.sum(counts * WEIGHTS if is_by_weight else counts)


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("kind", MAKE)
def test_the_divisor_is_that_of_one_member(kind, mask):
    """The loss is the mean of the members', so M members count as one."""
    model = MAKE[kind](mask)
    for reduction in ("sum", "sum_over_batch_size", "mean_with_sample_weight"):
        loss = keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction=reduction
        )
        model.compile("sgd", loss)
        for weights in ([], [WEIGHTS]):
            right = by_hand(reduction, mask, bool(weights))
            names = ("x", "y", "sample_weight")
            arrays = dict(zip(names, (X, TAGS, *weights), strict=False))
            batches = {"x": dataset(X, TAGS, *weights).batch(BATCH)}
            for given in (arrays | {"batch_size": BATCH}, batches):
                assert divisor_of(model, given) == pytest.approx(right)


@pytest.mark.parametrize("kind", MAKE)
def test_the_kl_of_a_step_has_that_weight(kind):
    """What `fit` logs as its loss is the members' mean and the weighted KL."""
    model = MAKE[kind](False)
    for reduction in ("sum", "mean_with_sample_weight"):
        model.compile(
            keras.optimizers.SGD(0.0),
            likelihoods.Categorical(reduction=reduction),
        )
        given = {"x": X, "y": TAGS, "batch_size": BATCH, "verbose": 0}
        logs = model.fit(**given).history
        divisor = 3 if reduction == "sum" else N
        assert 1 / logs["kl_weight"][0] == pytest.approx(divisor)
        assert logs["loss"][0] > logs["kl"][0] / divisor
