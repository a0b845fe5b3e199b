"""Estimators in scikit-learn's tools, against what `predict` says."""

import pickle
import random

import keras
import numpy as np
import pytest
from sklearn import base, exceptions, model_selection, pipeline, preprocessing

import tfpbnn
from tests import fresh
from tfpbnn.layers import DenseFlipout
from tfpbnn.sklearn import BayesianClassifier, BayesianRegressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 3))
# In units of their own, so that a network without them would miss y by far.
Y = 500 + 100 * X @ np.array([1.0, -0.5, 0.0]) + 5 * RNG.normal(size=80)
LABELS = np.array(["no", "yes"])[(X[:, 0] > 0).astype(int)]
FEW = {"epochs": 15, "batch_size": 20, "num_samples": 20, "random_state": 0}


def network(X, y, units=4, outputs=2, loss=None, layer=DenseFlipout):
    model = keras.Sequential(
        [
            keras.Input(X.shape[1:]),
            keras.layers.Flatten(),
            layer(units, activation="tanh"),
            layer(outputs),
        ]
    )
    if loss is not None:
        model.compile("adam", loss=loss)
    return model


@pytest.fixture(scope="module")
def regressor():
    return BayesianRegressor(**FEW).fit(X, Y)


@pytest.fixture(scope="module")
def classifier():
    return BayesianClassifier(**FEW).fit(X, LABELS)


def test_a_regressor_says_what_predict_says(regressor):
    p = tfpbnn.predict(
        regressor.model_, X, 20, seed=regressor._seed, draws="coherent"
    )
    mean, stddev = regressor.predict(X, return_std=True)
    np.testing.assert_allclose(mean, p.mean[:, 0], rtol=1e-6)
    np.testing.assert_allclose(stddev, p.stddev[:, 0], rtol=1e-6)
    for found, expected in zip(
        regressor.predict_interval(X, 0.8), p.interval(0.8), strict=True
    ):
        np.testing.assert_allclose(found, expected[:, 0], rtol=1e-5)
    quantiles = regressor.predict_quantiles(X, [0.1, 0.5])
    np.testing.assert_allclose(quantiles, p.quantile([0.1, 0.5])[..., 0])
    samples = regressor.sample_y(X, 7)
    np.testing.assert_allclose(samples, p.sample(7, 0)[..., 0].T)
    assert regressor.score(X, Y) > 0.9
    assert regressor.predictive(X).evaluate(Y).keys() == p.evaluate(Y).keys()


def test_a_classifier_says_what_predict_says(classifier):
    p = tfpbnn.predict(
        classifier.model_, X, 20, seed=classifier._seed, draws="coherent"
    )
    found = classifier.predict_proba(X)
    np.testing.assert_allclose(found, p.probabilities, rtol=1e-6)
    # scikit-learn's scores warn of sums that are right to float32 only.
    np.testing.assert_allclose(found.sum(axis=-1), 1.0, atol=1e-12)
    np.testing.assert_allclose(classifier.predict_log_proba(X), np.log(found))
    assert classifier.classes_.tolist() == ["no", "yes"]
    assert np.all(classifier.predict(X) == classifier.classes_[p.labels])
    assert classifier.score(X, LABELS) > 0.9


def test_a_row_does_not_depend_on_the_others(regressor):
    alone = [regressor.predict(X[i : i + 1])[0] for i in (0, 7)]
    np.testing.assert_allclose(alone, regressor.predict(X)[[0, 7]], rtol=1e-5)


def test_fits_repeat_and_leave_global_seeds_alone(regressor):
    def states():
        return random.getstate(), np.random.get_state()[1].tolist()

    before = states()
    again = BayesianRegressor(**FEW).fit(X, Y)
    assert states() == before
    np.testing.assert_array_equal(again.predict(X), regressor.predict(X))
    other = BayesianRegressor(**FEW | {"random_state": 1}).fit(X, Y)
    assert np.all(other.predict(X) != regressor.predict(X))


def test_the_kl_of_a_plain_model_counts_once_for_all_rows():
    """Keras's own `fit` would count it once for each row."""
    found = BayesianRegressor(network, **FEW | {"epochs": 1}).fit(X, Y)
    assert type(found.model_) is keras.Sequential
    assert found.history_["kl_weight"] == pytest.approx([1 / len(X)])


def test_pipelines_and_searches():
    steps = pipeline.make_pipeline(
        preprocessing.StandardScaler(),
        BayesianClassifier(network, **FEW | {"epochs": 2}),
    )
    search = model_selection.GridSearchCV(
        steps, {"bayesianclassifier__model__units": [2, 5]}, cv=2
    ).fit(X, LABELS)
    best = search.best_estimator_[-1]
    assert best.model_.layers[1].units == best.model_kwargs["units"]
    assert search.predict_proba(X).shape == (80, 2)
    # What was asked for is in the copy, and what was learned is not.
    copy = base.clone(best)
    assert copy.get_params() == best.get_params()
    assert copy.get_params()["model__units"] in (2, 5)
    assert not hasattr(copy, "model_")


def test_each_fit_trains_a_copy_of_a_ready_model():
    model = network(X, Y, loss=tfpbnn.likelihoods.Normal().adapt(Y))
    before = [w.numpy() for w in model.weights]
    few = FEW | {"epochs": 1}
    first, second = (BayesianRegressor(model, **few).fit(X, Y) for _ in "ab")
    np.testing.assert_array_equal(first.predict(X), second.predict(X))
    for now, then in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(now.numpy(), then)
    # While a warm start goes on.
    first.set_params(warm_start=True)
    mean = first.predict(X)
    network_before = first.model_
    assert first.fit(X, Y).model_ is network_before
    assert np.all(first.predict(X) != mean)


def test_a_warm_start_has_the_classes_of_the_first_fit():
    """As many classes of other names would be taken for those of before."""
    model = network(X, Y, outputs=2, loss=tfpbnn.likelihoods.Categorical())
    found = BayesianClassifier.from_posterior(model, warm_start=True)
    with pytest.raises(ValueError, match=r"first fit, \[0, 1\].*: \[1, 2\]"):
        found.fit(X, 1 + (X[:, 0] > 0))
    assert found.classes_.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("loss", "outputs"),
    [
        (keras.losses.BinaryCrossentropy(from_logits=True), 1),
        (tfpbnn.likelihoods.Bernoulli(), 1),
        (keras.losses.CategoricalCrossentropy(from_logits=True), 2),
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True), 2),
    ],
    ids=["binary", "bernoulli", "one_hot", "sparse"],
)
def test_losses_of_two_classes(loss, outputs):
    def make(X, y):
        return network(X, y, outputs=outputs, loss=loss)

    found = BayesianClassifier(make, **FEW | {"epochs": 40}).fit(X, LABELS)
    p = found.predict_proba(X)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    assert found.score(X, LABELS) > 0.85
    assert np.mean(p[LABELS == "yes", 1]) > np.mean(p[LABELS == "no", 1])


def test_several_targets_and_images():
    images = RNG.normal(size=(40, 3, 4, 1))
    targets = np.stack([images.sum((1, 2, 3)), images[:, 0, 0, 0]], axis=1)
    found = BayesianRegressor(
        network, model_kwargs={"outputs": 4}, **FEW | {"epochs": 2}
    ).fit(images, targets)
    assert found.predict(images).shape == (40, 2)
    assert found.predict_interval(images)[0].shape == (40, 2)
    assert found.sample_y(images, 5).shape == (40, 2, 5)


SCRIPT = """
import pickle, sys, numpy as np
import tfpbnn.sklearn
with open(sys.argv[1], "rb") as file:
    estimator, x = pickle.load(file)
np.save(sys.argv[2], estimator.predict(x))
"""


def test_pickled_estimators_predict_in_another_process(regressor, tmp_path):
    file, answer = tmp_path / "estimator", tmp_path / "answer.npy"
    file.write_bytes(pickle.dumps((regressor, X)))
    fresh.run(SCRIPT, str(file), str(answer))
    np.testing.assert_allclose(np.load(answer), regressor.predict(X), rtol=1e-5)


def test_a_posterior_becomes_an_estimator(regressor):
    found = BayesianRegressor.from_posterior(
        regressor.model_, num_samples=20, random_state=0
    )
    assert found.score(X, Y) > 0.9
    assert found.predict(X).shape == (80,)


def test_bad_input(regressor):
    with pytest.raises(ValueError, match="an output for each class"):
        BayesianClassifier(
            network, model_kwargs={"outputs": 3}, **FEW | {"epochs": 1}
        ).fit(X, LABELS).predict_proba(X)
    with pytest.raises(TypeError, match="`model` must be a Keras model, a fun"):
        BayesianRegressor(lambda *_: "network").fit(X, Y)
    with pytest.raises(ValueError, match="contains NaN"):
        regressor.predict(np.full((2, 3), np.nan))
    with pytest.raises(ValueError, match=r"4 features, but .* expecting 3"):
        regressor.predict(np.zeros((2, 4)))
    with pytest.raises(exceptions.NotFittedError, match="not fitted"):
        BayesianClassifier().predict(X)
    hidden = [np.ma.masked_array(part, part == part.flat[0]) for part in (X, Y)]
    for name, call in {
        "X": lambda: BayesianRegressor().fit(hidden[0], Y),
        "y": lambda: BayesianRegressor().fit(X, hidden[1]),
        "sample_weight": lambda: BayesianRegressor().fit(X, Y, hidden[1]),
        "X` must be an": lambda: regressor.predict(hidden[0]),
    }.items():
        with pytest.raises(ValueError, match=f"`{name}.*masked values"):
            call()
