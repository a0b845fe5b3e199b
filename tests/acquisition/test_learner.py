"""The loop: pools of all forms, rounds that were interrupted, and the KL."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tfpbnn import acquisition, layers, likelihoods
from tfpbnn.acquisition import ActiveLearner
from tfpbnn.acquisition.learner import seed_of

SIZE, FEATURES = 40, 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(SIZE, FEATURES)).astype("float32")
Y = (X @ [1.0, -2.0, 0.5] + 0.1 * RNG.normal(size=SIZE)).astype("float32")
START = slice(0, 5)
POOL = slice(5, SIZE)


def new_model(classes=None):
    model = tfpbnn.Sequential(
        [keras.Input((FEATURES,)), layers.DenseReparameterization(classes or 1)]
    )
    loss = likelihoods.Normal(scale=0.5)
    model.compile("adam", likelihoods.Categorical() if classes else loss)
    return model


@pytest.fixture(scope="module")
def model():
    """One network for all rounds: it is traced once."""
    return new_model()


def solve(model, x, y):
    """Trains in closed form; scales fall with the number of rows."""
    kernel, *_ = np.linalg.lstsq(x, y, rcond=None)
    posterior = model.layers[0].kernel_posterior
    posterior.loc.assign(kernel.reshape(posterior.loc.shape))
    spread = np.linalg.inv(x.T @ x + 0.1 * np.eye(x.shape[1]))
    raw = np.log(np.expm1(np.sqrt(np.diag(spread))))
    posterior.untransformed_scale.assign(np.tile(raw[:, None], (1, 1)))


def learner(model, pool=None, oracle=None, **kwargs):
    options = {
        "query_size": 4,
        "fit": solve,
        "predict": {"num_samples": 6},
        "seed": 3,
    } | kwargs
    return ActiveLearner(
        lambda: model,
        X[POOL] if pool is None else pool,
        oracle or (lambda _, rows: Y[POOL][rows]),
        X[START],
        Y[START],
        **options,
    )


class Batches(keras.utils.PyDataset):
    """The pool as a PyDataset, with an odd last batch."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return X[POOL][10 * index : 10 * index + 10]


def pools():
    dataset = tf.data.Dataset.from_tensor_slices(X[POOL])
    return {
        "tensor": tf.constant(X[POOL]),
        "dataset": dataset.batch(9),
        "with targets": tf.data.Dataset.zip(dataset, dataset).batch(9),
        "pydataset": Batches(),
    }


@pytest.fixture(scope="module")
def in_memory(model):
    return learner(model).run(3)


def test_rounds_ask_the_highest_scores(model, in_memory):
    assert len(in_memory.asked) == 12
    assert len(set(in_memory.asked)) == 12
    np.testing.assert_array_equal(in_memory.x[5:], X[POOL][in_memory.asked])
    np.testing.assert_array_equal(in_memory.y[5:], Y[POOL][in_memory.asked])
    assert [e["num_labels"] for e in in_memory.log] == [5, 9, 13, 17]
    solve(model, X[START], Y[START])
    p = tfpbnn.predict(model, X[POOL], 6, seed=seed_of(3, 0, 1))
    first = acquisition.top(acquisition.epistemic_variance(p), 4)
    np.testing.assert_array_equal(in_memory.asked[:4], first)


@pytest.mark.parametrize("form", sorted(pools()))
def test_pools_of_all_forms_are_asked_alike(model, in_memory, form):
    found = learner(model, pools()[form]).run(3)
    np.testing.assert_array_equal(found.asked, in_memory.asked)
    np.testing.assert_array_equal(found.x, in_memory.x)


@pytest.mark.parametrize("selector", ["power", "softmax", "random", "k_center"])
def test_selectors(model, selector):
    runs = [
        learner(model, pool, selector=selector, num_candidates=20).run(2)
        for pool in (X[POOL], pools()["dataset"])
    ]
    for one in runs:
        assert len(set(one.asked)) == 8
    again = learner(model, selector=selector, num_candidates=20).run(2)
    np.testing.assert_array_equal(again.asked, runs[0].asked)


def test_the_pool_ends(model):
    found = learner(model, X[POOL][:6]).run(5)
    assert sorted(found.asked) == list(range(6))
    assert [e["num_labels"] for e in found.log] == [5, 9, 11]
    assert not found.step()
    stream = tf.data.Dataset.from_tensor_slices(X[POOL][:6]).batch(4)
    found = learner(model, stream).run(5)
    assert sorted(found.asked) == list(range(6))


class Interrupted(RuntimeError):
    pass


@pytest.mark.parametrize("where", ["oracle", "fit", "between"])
def test_a_learner_goes_on_where_it_was_interrupted(
    model, in_memory, where, tmp_path
):
    asked, fits = [], []

    def oracle(x, rows):
        if where == "oracle" and len(asked) == 1:
            asked.append(None)
            raise Interrupted
        asked.append(rows)
        np.testing.assert_array_equal(x, X[POOL][rows])
        return Y[POOL][rows]

    def fit(model, x, y):
        fits.append(len(x))
        if where == "fit" and len(fits) == 2:
            raise Interrupted
        solve(model, x, y)

    first = learner(model, oracle=oracle, fit=fit, directory=tmp_path)
    if where == "between":
        first.run(1)
    else:
        with pytest.raises(Interrupted):
            first.run(3)
    again = learner(model, oracle=oracle, fit=fit, directory=tmp_path).run(3)
    np.testing.assert_array_equal(again.asked, in_memory.asked)
    np.testing.assert_array_equal(again.y, in_memory.y)
    answered = np.concatenate([rows for rows in asked if rows is not None])
    np.testing.assert_array_equal(answered, in_memory.asked)
    assert [e["round"] for e in again.log] == [0, 1, 2, 3]
    # What was chosen is not chosen again.
    assert fits.count(9) == (2 if where in ("fit", "between") else 1)
    assert not list(tmp_path.glob("*.part"))


def test_a_warm_start_goes_on_with_the_saved_model(tmp_path):
    def count(model, x, y):
        del x, y
        kernel = model.layers[0].kernel_posterior.loc
        kernel.assign(kernel + 1.0)

    model = new_model()
    model.optimizer.build(model.trainable_variables)
    before = np.asarray(model.layers[0].kernel_posterior.loc)
    kwargs = {"fit": count, "warm_start": True, "directory": tmp_path}
    learner(model, selector="random", **kwargs).run(1)
    again = learner(None, selector="random", **kwargs).run(3)
    # Trainings of rounds 0 and 1, and, after the restart, 1 to 3.
    found = np.asarray(again.model.layers[0].kernel_posterior.loc)
    np.testing.assert_allclose(found, before + 4, rtol=1e-5)


def test_an_interrupted_warm_start_is_the_same_bit_for_bit(tmp_path):
    def model_fn():
        model = tfpbnn.Sequential(
            [
                keras.Input((FEATURES,)),
                keras.layers.Dropout(0.5),
                layers.DenseFlipout(1),
            ]
        )
        model.compile("adam", likelihoods.Normal(scale=0.5))
        return model

    def run(name, *rounds):
        for number in rounds:  # each by a learner that is made anew
            one = ActiveLearner(
                model_fn,
                X[POOL],
                lambda _, rows: Y[POOL][rows],
                X[START],
                Y[START],
                selector="random",
                warm_start=True,
                directory=tmp_path / name,
                seed=3,
            ).run(number)
        return one

    whole, parts = run("whole", 2), run("parts", 1, 2)
    np.testing.assert_array_equal(whole.asked, parts.asked)
    weights = whole.model.get_weights(), parts.model.get_weights()
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_weight_of_the_kl_follows_the_rows():
    weights = []

    class Watch(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            del logs
            weights.append(float(self.model.layers[0].kl_weight))

    found = ActiveLearner(
        new_model,
        X[POOL],
        lambda _, rows: Y[POOL][rows],
        X[START],
        Y[START],
        selector="random",
        query_size=10,
        fit={"epochs": 1, "callbacks": [Watch()]},
        warm_start=True,
        test=(X, Y),
        predict={"num_samples": 3},
    ).run(1)
    np.testing.assert_allclose(weights, [1 / 5, 1 / 15], rtol=1e-6)
    assert found.log[-1].keys() >= {"nll", "rmse", "fit_seconds"}


def two_outputs():
    a, b = keras.Input((FEATURES,), name="a"), keras.Input((1,), name="b")
    h = keras.layers.Concatenate()([a, b])
    outputs = {
        "kind": layers.DenseFlipout(3, name="kind")(h),
        "size": layers.DenseFlipout(1, name="size")(h),
    }
    model = tfpbnn.Model({"a": a, "b": b}, outputs)
    losses = {
        "kind": likelihoods.Categorical(),
        "size": likelihoods.Normal(1.0),
    }
    model.compile("adam", losses)
    return model


def test_several_inputs_and_outputs():
    model = two_outputs()
    rows = {"a": X, "b": Y[:, None]}
    labels = {"kind": (Y > 0).astype("int64"), "size": Y}

    def part(tree, rows):
        return {name: leaf[rows] for name, leaf in tree.items()}

    found = ActiveLearner(
        lambda: model,
        part(rows, POOL),
        lambda _, i: part(part(labels, POOL), i),
        part(rows, START),
        part(labels, START),
        selector="batch_bald",
        output="kind",
        query_size=3,
        num_candidates=10,
        fit=lambda *_: None,
        predict={"num_samples": 8},
        seed=0,
    ).run(1)
    seed = seed_of(0, 0, 1)
    p = tfpbnn.predict(
        model, part(rows, POOL), 8, draws="coherent", seed=seed, verbose=0
    )["kind"]
    best = np.argsort(-acquisition.bald(p), kind="stable")[:10]
    expected = best[acquisition.batch_bald(p[best], 3, seed=seed)]
    np.testing.assert_array_equal(found.asked, expected)
    np.testing.assert_array_equal(
        found.y["kind"][5:], labels["kind"][POOL][expected]
    )


def shuffled():
    dataset = tf.data.Dataset.from_tensor_slices(X[POOL])
    return dataset.shuffle(100, reshuffle_each_iteration=True).batch(9)


def run(**kwargs):
    fit = kwargs.pop("fit", lambda *_: None)
    options = {"selector": "random", "fit": fit} | kwargs
    return lambda model: learner(model, **options).run(2)


BAD = {
    "generator": (run(pool=(x for x in [X])), TypeError, "read once"),
    "list": (run(pool=[[1.0, 2.0]]), TypeError, "`pool` must be"),
    "nan": (run(pool=X * np.nan), ValueError, "`pool` must be finite"),
    "shuffled": (run(pool=shuffled()), ValueError, "same rows in the same"),
    "oracle": (run(oracle=3), TypeError, "`oracle` must be a function"),
    "too few": (
        run(oracle=lambda *_: Y[:2]),
        ValueError,
        "`oracle` must return 4 labels",
    ),
    "shape": (
        run(oracle=lambda *_: X[:4]),
        ValueError,
        r"of the shapes \[\(\)\], one for each row. Received: 4 of the shapes",
    ),
    "unknown": (
        run(oracle=lambda *_: np.full(4, np.nan)),
        ValueError,
        "must be finite",
    ),
    "size": (run(query_size=0), ValueError, "`query_size` must be"),
    "selector": (run(selector="best"), ValueError, "`selector` must be one"),
    "name": (run(acquisition="bold"), ValueError, "`acquisition` must be one"),
    "scores": (
        run(selector="top", acquisition=lambda p: p.mean),
        ValueError,
        "`acquisition` must return one score for each row",
    ),
    "seed": (run(seed=0.5), TypeError, "`seed` must be"),
    "verbose": (run(verbose="loud"), ValueError, "`verbose` must be"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(model, case):
    call, error, message = BAD[case]
    with pytest.raises(error, match=message):
        call(model)


def test_a_directory_is_of_one_learner(model, tmp_path):
    run(directory=tmp_path)(model)
    before = (tmp_path / "state.npz").read_bytes()
    with pytest.raises(ValueError, match="with the same settings"):
        run(directory=tmp_path, query_size=5)(model)
    with pytest.raises(ValueError, match="began with the same rows"):
        ActiveLearner(
            lambda: model,
            X[POOL],
            lambda *_: None,
            X[POOL][:5],
            Y[START],
            query_size=4,
            selector="random",
            seed=3,
            directory=tmp_path,
        )
    assert (tmp_path / "state.npz").read_bytes() == before


def test_labels_must_fit_rows(model):
    with pytest.raises(ValueError, match="`y` must have a label for each row"):
        ActiveLearner(lambda: model, X, lambda *_: None, X[:3], Y[:2])
