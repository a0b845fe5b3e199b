"""Distances of features against loops, closed forms and scikit-learn."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from sklearn import covariance, metrics
from sklearn.ensemble import ExtraTreesRegressor

import tfpbnn
from tfpbnn import ood
from tfpbnn.ood import trees

RNG = np.random.default_rng(0)
N, D, K = 60, 4, 3
Y = RNG.integers(0, K, N)
X = (RNG.normal(size=(N, D)) + 2 * np.eye(K, D)[Y]).astype("float32")
FAR = (3 * RNG.normal(size=(20, D))).astype("float32")


@pytest.fixture(scope="module")
def identity():
    """A network whose features are its inputs."""
    inputs = keras.Input((D,))
    same = keras.layers.Identity(name="same")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(K, name="head")(same))
    model.compile(loss=tfpbnn.likelihoods.Categorical(from_logits=True))
    return model


def gaussian(x, weights=None):
    """The mean, and the inverse of scikit-learn's shrunk covariance."""
    weights = np.ones(len(x), int) if weights is None else weights
    x = np.repeat(x.astype("float64"), weights, axis=0)
    mean = x.mean(axis=0)
    fitted = covariance.OAS(assume_centered=True).fit(x - mean)
    return mean, np.linalg.inv(fitted.covariance_)


def distances(x, mean, inverse):
    return np.array([(row - mean) @ inverse @ (row - mean) for row in x])


def of_classes(x):
    means = [X[k == Y].astype("float64").mean(axis=0) for k in range(K)]
    centered = X - np.array(means)[Y]
    fitted = covariance.OAS(assume_centered=True).fit(centered)
    inverse = np.linalg.inv(fitted.covariance_)
    return np.min([distances(x, mean, inverse) for mean in means], axis=0)


def test_mahalanobis(identity):
    one = ood.Mahalanobis().fit(identity, X, layer="same")
    np.testing.assert_allclose(one.score(FAR), distances(FAR, *gaussian(X)))
    many = ood.Mahalanobis().fit(identity, X, Y, layer="same")
    np.testing.assert_allclose(many.score(FAR), of_classes(FAR))
    relative = ood.Mahalanobis(relative=True).fit(identity, X, Y, layer="same")
    expected = of_classes(FAR) - distances(FAR, *gaussian(X))
    np.testing.assert_allclose(relative.score(FAR), expected)


FORMS = {
    "small batches": lambda: {"x": X, "y": Y, "batch_size": 7},
    "dataset": lambda: {
        "x": tf.data.Dataset.from_tensor_slices((X, Y)).batch(7)
    },
    "one-hot": lambda: {"x": X, "y": np.eye(K)[Y]},
    "column": lambda: {"x": X, "y": Y[:, None].astype("float32")},
    "other labels": lambda: {"x": X, "y": 10 * Y - 7},
    "rows of weight 0": lambda: {
        "x": np.concatenate([X, FAR]),
        "y": np.concatenate([Y, np.zeros(20, int)]),
        "sample_weight": np.arange(N + 20) < N,
    },
    "generator": lambda: {
        "x": ((X[i : i + 9], Y[i : i + 9]) for i in range(0, N, 9))
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_of_data_agree(form, identity):
    given = FORMS[form]()
    score = ood.Mahalanobis(batch_size=given.pop("batch_size", 256))
    score.fit(identity, **given, layer="same")
    batches = tf.data.Dataset.from_tensor_slices(FAR).batch(6)
    np.testing.assert_allclose(score.score(batches), of_classes(FAR), rtol=1e-6)


def test_weights_count_rows(identity):
    weights = RNG.integers(0, 3, N)
    found = ood.Mahalanobis().fit(
        identity, X, layer="same", sample_weight=weights
    )
    expected = distances(FAR, *gaussian(X, weights))
    np.testing.assert_allclose(found.score(FAR), expected)


def test_large_means_lose_no_digits(identity):
    shifted = X + np.float32(1000.0)
    found = ood.Mahalanobis(batch_size=9).fit(identity, shifted, layer="same")
    expected = distances(FAR + 1000.0, *gaussian(shifted))
    np.testing.assert_allclose(found.score(FAR + 1000), expected, rtol=1e-4)


def test_fewer_rows_than_features_and_constant_ones(identity):
    few = X[:3].copy()
    few[:, 1] = 0.5
    found = ood.Mahalanobis().fit(identity, few, layer="same")
    np.testing.assert_allclose(found.score(FAR), distances(FAR, *gaussian(few)))


def test_neighbors(identity):
    score = ood.NearestNeighbors(k=3, batch_size=7)
    score.fit(identity, X, layer="same")
    rows = X / np.linalg.norm(X, axis=1, keepdims=True)
    far = FAR / np.linalg.norm(FAR, axis=1, keepdims=True)
    each = [np.sort(np.linalg.norm(rows - row, axis=1))[2] for row in far]
    np.testing.assert_allclose(score.score(FAR), each, rtol=1e-5)
    zero = score.score(np.zeros((1, D), "float32"))
    np.testing.assert_allclose(zero, 1.0)


def test_the_auroc_of_gaussians_is_the_known_one(identity):
    """Of N(0, 1) against N(0, 9) in 4 dimensions, by the F distribution.

    Within 5 standard errors of 2,000 rows each: false alarms at 1e-6.
    """
    inside, train = RNG.normal(size=(2, 2000, D)).astype("float32")
    outside = 3 * RNG.normal(size=(2000, D)).astype("float32")
    score = ood.Mahalanobis().fit(identity, train, layer="same")
    values = [score.score(inside), score.score(outside)]
    found = metrics.roc_auc_score(np.repeat([0, 1], 2000), np.ravel(values))
    expected = stats.f(D, D).cdf(9.0)
    assert abs(found - expected) < 5 * np.sqrt(1 / (12 * 2000)) * 2**0.5


def sinusoid():
    """A fixed network that is right for x < 0, and wrong beyond."""
    model = keras.Sequential(
        [
            keras.Input((1,)),
            tfpbnn.layers.DenseReparameterization(1, use_bias=False),
        ]
    )
    model.compile(loss=tfpbnn.likelihoods.Normal(scale=0.1))
    posterior = model.layers[0].kernel_posterior
    posterior.loc.assign([[1.0]])
    posterior.untransformed_scale.assign([[-6.0]])
    return model


def test_deup_knows_where_a_sure_model_is_wrong(tmp_path):
    model = sinusoid()
    x = RNG.uniform(-1, 1, size=(600, 1)).astype("float32")
    y = x + (x > 0) + 0.05 * RNG.normal(size=x.shape)
    score = ood.DEUP(use_features=True, num_samples=5)
    score.fit(model, x[:300], y[:300], held_out=(x[300:], y[300:]))
    grid = np.linspace(-0.9, 0.9, 19, dtype="float32")[:, None]
    grid = grid[np.abs(grid[:, 0]) > 0.05]
    np.testing.assert_allclose(
        score.score(grid), np.where(grid[:, 0] > 0, 1.0, 0.0), atol=0.1
    )
    score.save(tmp_path / "deup.npz")
    again = ood.load(tmp_path / "deup.npz", model)
    np.testing.assert_array_equal(again.score(grid), score.score(grid))


def test_deup_by_cross_fitting():
    seen, model = [], sinusoid()

    def train(x, y):
        seen.append(len(x))
        return model

    x = RNG.uniform(-1, 1, size=(60, 1)).astype("float32")
    score = ood.DEUP(num_samples=2, num_trees=3)
    score.fit(model, x, x[:, 0], train=train, folds=3)
    assert seen == [40, 40, 40]
    assert score.score(x).shape == (60,)


def test_trees_are_those_of_scikit_learn():
    x, y = RNG.normal(size=(80, 3)), RNG.normal(size=80)
    forest = ExtraTreesRegressor(7, min_samples_leaf=5, random_state=3)
    expected = forest.fit(x, y).predict(FAR[:, :3])
    found = trees.predict(trees.fit(x, y, 7, 3), FAR[:, :3])
    np.testing.assert_allclose(found, expected)


SCORES = {
    "mahalanobis": ood.Mahalanobis(relative=True, batch_size=8),
    "neighbors": ood.NearestNeighbors(k=2, members="average"),
}


@pytest.mark.parametrize("name", SCORES)
def test_files(name, identity, tmp_path):
    score = SCORES[name].fit(identity, X, Y, layer="same")
    score.save(tmp_path / "score.npz")
    again = ood.load(tmp_path / "score.npz", identity)
    assert again.arguments() == score.arguments()
    np.testing.assert_array_equal(again.score(FAR), score.score(FAR))
    other = ood.load(tmp_path / "score.npz", two_features())
    with pytest.raises(ValueError, match="2 of them, and 4 were learned"):
        other.score(FAR)


def two_features():
    inputs = keras.Input((D,))
    y = keras.layers.Dense(2, name="same")(inputs)
    return keras.Model(inputs, y)


class Subclassed(keras.Model):
    def call(self, x):
        return x


def bad_input(identity, path):
    fit, nearest = ood.Mahalanobis().fit, ood.NearestNeighbors
    called_twice = keras.layers.Dense(D, name="same")
    inputs = keras.Input((D,))
    twice = keras.Model(inputs, called_twice(called_twice(inputs)))
    dataset = tf.data.Dataset.from_tensor_slices(X).batch(9)
    np.savez(path, other=X)
    subclassed = Subclassed()
    subclassed(X)
    given = {"layer": "same"}
    files = {
        "must be fitted first": lambda: nearest().score(X),
        "that a score of tfpbnn.ood": lambda: ood.load(path, identity),
        "`path` must end in": lambda: fit(identity, X, **given).save("a.txt"),
    }
    return files | of_data(identity, twice, subclassed, dataset)


def of_data(identity, twice, subclassed, dataset):
    fit, nearest = ood.Mahalanobis().fit, ood.NearestNeighbors
    given = {"layer": "same"}
    return {
        r"the model has \['same', 'head'\]": lambda: fit(
            identity, X, layer="body"
        ),
        "calls once": lambda: fit(twice, X, **given),
        "Functional or Sequential": lambda: fit(subclassed, X, **given),
        "y out: one Gaussian": lambda: fit(identity, X, X[:, 0], **given),
        "`y` must have as many rows": lambda: fit(
            identity, X, np.append(Y, 0), **given
        ),
        "`y` must be an array without masked": lambda: fit(
            identity, X, np.ma.masked_equal(Y, 0), **given
        ),
        "`y` must be an array without": lambda: ood.DEUP().fit(
            identity, X, np.ma.masked_equal(Y, 0), train=lambda *_: identity
        ),
        "`y` must be one array": lambda: fit(identity, X, {"a": Y}, **given),
        "`y` must be in the batches": lambda: fit(identity, dataset, Y),
        "`sample_weight` must be one": lambda: fit(
            identity, X, sample_weight=-np.ones(N), **given
        ),
        "all of weight 0": lambda: fit(
            identity, X, sample_weight=np.zeros(N), **given
        ),
        "2 classes or more": lambda: ood.Mahalanobis(True).fit(
            identity, X, **given
        ),
        "features that vary": lambda: fit(identity, np.ones_like(X), **given),
        "`x` must": lambda: fit(identity, np.full_like(X, np.nan), **given),
        "`k` must be at most": lambda: nearest(99).fit(identity, X, **given),
        "`k` must be a positive": lambda: nearest(0),
        "`members` must be": lambda: nearest(members="sum"),
        "`held_out` or `train`": lambda: ood.DEUP().fit(identity, X, Y),
        "10 rows that count": lambda: ood.DEUP().fit(
            identity, X, Y, layer="same", held_out=(X[:5], Y[:5])
        ),
    }


def test_bad_input(identity, tmp_path):
    for match, call in bad_input(identity, tmp_path / "other.npz").items():
        with pytest.raises((TypeError, ValueError), match=match):
            call()
