"""Padded, weighted and named data in ensembles of one network, by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tfpbnn import ensembles, layers

rng = np.random.default_rng(0)
N, T, M = 10, 5, 2
LIVE = np.arange(T) < rng.integers(1, T + 1, N)[:, np.newaxis]
X = np.where(LIVE[..., np.newaxis], rng.normal(size=(N, T, 2)), 0.0)
TAGS = rng.integers(0, 3, (N, T))
WEIGHTS = rng.uniform(size=(N, T)).astype("float32")
REDUCTIONS = ("sum", "mean_with_sample_weight", "sum_over_batch_size")
MAKE = {
    "batch": lambda m: ensembles.to_batch_ensemble(
        m, M, fast_initializer="random_sign"
    ),
    "rank1": lambda m: ensembles.to_rank1(m, M, kl_weight=0.0),
    "packed": lambda m: ensembles.to_packed_ensemble(m, M),
    "masksembles": lambda m: ensembles.to_masksembles(m, M),
    "mimo": lambda m: ensembles.to_mimo(m, M, batch_repetition=2, seed=0),
}


def cross_entropy(reduction):
    return keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, reduction=reduction
    )


def tagger():
    """An output for each reduction, behind a mask."""
    inputs = keras.Input((T, 2))
    x = keras.layers.Masking()(inputs)
    x = keras.layers.Dense(8, activation="tanh")(x)
    outputs = {name: keras.layers.Dense(3, name=name)(x) for name in REDUCTIONS}
    return keras.Model(inputs, outputs)


def made(kind):
    keras.utils.set_random_seed(1)
    model = MAKE[kind](tagger())
    for variable in model.weights:
        if "untransformed_scale" in variable.path:  # no noise
            variable.assign(tf.fill(variable.shape, -30.0))
    model.compile(
        keras.optimizers.SGD(0.0),
        {name: cross_entropy(name) for name in REDUCTIONS},
        metrics={"sum": ["accuracy"]},
    )
    return model


def scores(model, padding):
    """(in training, in evaluation), with targets at the padded places."""
    y = np.where(LIVE, TAGS, padding)
    data = {
        "x": X,
        "y": dict.fromkeys(REDUCTIONS, y),
        "sample_weight": dict.fromkeys(REDUCTIONS, WEIGHTS),
        "batch_size": N,
        "verbose": 0,
    }
    history = model.fit(**data, shuffle=False).history
    trained = {name: values[0] for name, values in history.items()}
    return trained, model.evaluate(**data, return_dict=True)


def loss_by_hand(name, outputs):
    rows = -tf.nn.log_softmax(outputs).numpy()
    nll = np.take_along_axis(rows, TAGS[..., np.newaxis], -1)[..., 0]
    total = np.sum(nll * WEIGHTS, where=LIVE)
    divisor = {
        "sum": 1,
        "mean_with_sample_weight": np.sum(WEIGHTS, where=LIVE),
        "sum_over_batch_size": LIVE.sum(),
    }
    return total / divisor[name]


def accuracy(outputs):
    return np.mean((outputs.argmax(-1) == TAGS)[LIVE])


@pytest.mark.parametrize("kind", MAKE)
def test_padded_places_count_for_nothing(kind):
    model = made(kind)
    trained, evaluated = scores(model, padding=0)
    again = scores(made(kind) if kind == "mimo" else model, padding=2)
    for found, expected in zip(again, (trained, evaluated), strict=True):
        assert found == pytest.approx(expected, rel=1e-4)
    likelihood = {key: cross_entropy(key) for key in REDUCTIONS}
    p = tfpbnn.predict(model, X, num_samples=M, likelihood=likelihood)
    for name in REDUCTIONS:
        draws = p[name].outputs
        mean = draws.mean(0)
        loss = loss_by_hand(name, mean)
        assert evaluated[f"{name}_loss"] == pytest.approx(loss, rel=1e-4)
        if name == "sum":
            assert evaluated["sum_accuracy"] == pytest.approx(accuracy(mean))
        if kind == "mimo":  # joins other rows in training
            continue
        loss = np.mean([loss_by_hand(name, draw) for draw in draws])
        if kind == "masksembles":
            half = np.concatenate([draws[0][: N // 2], draws[1][N // 2 :]])
            loss = loss_by_hand(name, half)
        assert trained[f"{name}_loss"] == pytest.approx(loss, rel=1e-4)


def joined(mask_first=True):
    """A network that hands its inputs on, which has a mask."""
    inputs = keras.Input((T, 2))
    masking = keras.layers.Masking()
    x = masking(inputs) if mask_first else inputs
    features, order = layers.JoinMembers(M, batch_repetition=2)(x)
    x = features if mask_first else masking(features)
    model = ensembles.MIMO(inputs, layers.SplitMembers(M)(x, order))
    model.compile("sgd", "mae", metrics=["mae"], jit_compile=False)
    return model


@pytest.mark.filterwarnings("ignore:.*any trainable weights")
def test_each_member_has_the_mask_and_weights_of_its_rows():
    x = X.astype("float32")
    errors = np.arange(N, dtype="float32")[:, np.newaxis, np.newaxis]
    y = np.where(LIVE[..., np.newaxis], x + errors, 1e3)
    weights = np.repeat(np.linspace(0, 2, N)[:, np.newaxis], T, axis=1)
    logs = joined().fit(x, y, sample_weight=weights, verbose=0).history
    errors = np.broadcast_to(errors[..., 0], (N, T))
    assert logs["loss"][0] == pytest.approx(np.mean((errors * weights)[LIVE]))
    assert logs["mae"][0] == pytest.approx(np.mean(errors[LIVE]))


def test_a_mask_of_joined_rows_is_refused():
    with pytest.raises(ValueError, match="before `JoinMembers`"):
        joined(mask_first=False).fit(X, X, verbose=0)


@pytest.mark.parametrize("suffix", ["BatchEnsemble", "Rank1"])
def test_embeddings_of_members_hand_their_mask_on(suffix):
    embedding = getattr(layers, f"Embedding{suffix}")
    dense = getattr(layers, f"Dense{suffix}")
    ids = keras.Input((T,), dtype="int32")
    x = embedding(9, 4, mask_zero=True, num_members=M)(ids)
    x = keras.layers.Bidirectional(
        keras.layers.SimpleRNN(3, return_sequences=True)
    )(x)
    model = ensembles.BatchEnsemble(ids, dense(1, num_members=M)(x))
    model.compile(keras.optimizers.SGD(0.0), "mae")
    y = np.where(LIVE, 1e3, 1e9)[..., np.newaxis]
    history = model.fit(LIVE.astype(int), y, verbose=0).history
    evaluated = model.evaluate(LIVE.astype(int), y, verbose=0)
    assert history["loss"][0] == pytest.approx(1e3, rel=0.01)
    assert evaluated == pytest.approx(1e3, rel=0.01)
