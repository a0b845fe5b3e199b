"""A row's prediction does not depend on what its data come in."""

import collections

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import tfpbnn
from tests.prediction import inputs
from tests.prediction.inputs import DENSE, FORMS, SPARSE, WORDS, Y
from tfpbnn.particles import costs

# What each network can be drawn by.
DRAWS = {
    "sparse": ("coherent", "marginal", "mixed"),
    "words": ("coherent", "marginal"),
}


def predict(model, x, num_samples=4, **kwargs):
    kwargs = {"seed": 3, "verbose": 0} | kwargs
    return tfpbnn.predict(model, x, num_samples, **kwargs)


def without_noise(model, x):
    """What Keras's `predict` gives if no weight is uncertain."""
    model.predict(x, verbose=0)  # builds a subclassed one
    kept = model.get_weights()
    for weight in model.weights:
        if weight.name == "untransformed_scale":
            weight.assign(keras.ops.full_like(weight, -1e4))
    outputs = model.predict(x, verbose=0)
    model.set_weights(kept)
    return outputs


@pytest.fixture(scope="module")
def networks():
    """Each network, and what is expected for its data, by kind of draws."""
    made = {}
    for name, forms in FORMS.items():
        model, x = inputs.make(name), next(iter(forms.values()))
        expected = {"mean": without_noise(model, x())[np.newaxis]}
        for draws in DRAWS.get(name, ("coherent",)):
            expected[draws] = predict(model, x(), draws=draws).outputs
        assert np.ptp(expected["coherent"], axis=0).max() > 1e-3
        made[name] = model, expected
    # The same weights: sparse data are the dense ones.
    np.testing.assert_allclose(
        *(made[n][1]["coherent"] for n in ("dense", "sparse")), atol=1e-6
    )
    return made


@pytest.mark.parametrize(("name", "form"), inputs.CASES)
def test_forms_of_data_do_not_change_a_prediction(networks, name, form):
    model, expected = networks[name]
    for draws, outputs in expected.items():
        x = FORMS[name][form]()
        found = predict(model, x, draws=draws, batch_size=5)
        np.testing.assert_allclose(found.outputs, outputs, atol=1e-5)


def test_a_loop_over_draws_takes_sparse_rows(networks, monkeypatch):
    """As large networks are drawn."""
    for limit in ("_SMALL_IF_SHARED", "_SMALL", "_FLOPS_PER_STEP"):
        monkeypatch.setattr(costs, limit, 0)
    model, expected = networks["sparse"]
    for draws in ("coherent", "mixed"):
        found = predict(model, SPARSE, draws=draws, memory_budget=3000)
        np.testing.assert_allclose(found.outputs, expected[draws], atol=1e-5)


def test_sparse_rows_beside_what_is_drawn():
    """Stacked draws need them once for each draw, dense."""
    x = keras.Input((6,), sparse=True)
    y = tfpbnn.layers.DenseFlipout(3)(x)
    model = keras.Model(x, keras.layers.Concatenate()([y, x]))
    likelihood = tfpbnn.likelihoods.Normal(scale=1.0)
    kwargs = {"likelihood": likelihood, "draws": "coherent"}
    sparse, dense = (predict(model, x, **kwargs) for x in (SPARSE, DENSE))
    np.testing.assert_allclose(sparse.outputs, dense.outputs, atol=1e-5)
    np.testing.assert_array_equal(sparse.outputs[0, :, 3:], DENSE)


def test_scores_with_sparse_rows(networks):
    model, _ = networks["sparse"]
    given = tfpbnn.evaluate(model, SPARSE, Y, draws="coherent", seed=1)
    brought = tfpbnn.evaluate(
        model, inputs.Batches(SPARSE, Y), draws="coherent", seed=1
    )
    assert given == pytest.approx(brought, abs=1e-5)


def test_a_memory_map_is_read(networks, tmp_path):
    model, expected = networks["dense"]
    x = inputs.memory_map(tmp_path / "x.npy")
    found = predict(model, x, draws="coherent", batch_size=5)
    np.testing.assert_allclose(found.outputs, expected["coherent"], atol=1e-5)


def test_one_row_alone(networks):
    for name, (model, expected) in networks.items():
        x = next(iter(FORMS[name].values()))()
        if name == "sparse":
            x = x.tocsr()
        one = keras.tree.map_structure(
            lambda leaf: None if leaf is None else leaf[:1], x
        )
        found = predict(model, one, draws="coherent").outputs
        np.testing.assert_allclose(
            found, expected["coherent"][:, :1], atol=1e-5
        )


@pytest.mark.parametrize(
    ("name", "x", "error", "match"),
    [
        ("dense", DENSE[:0], ValueError, r"one row or more.*'x.*\(0, 6\)"),
        ("sparse", SPARSE[:0], ValueError, r"one row.*input counts.*\(0, 6\)"),
        ("dense", pd.DataFrame(DENSE[:0]), ValueError, "one row or more"),
        ("dense", DENSE.tolist(), TypeError, r"nested lists.*np.asarray\(x\)"),
        ("words", list(WORDS), TypeError, "nested lists.*strings"),
        ("optional", [None, None], TypeError, "must be an array"),
        ("optional", [DENSE, DENSE[:4]], ValueError, r"input more\)': \(4, 6"),
        ("dense", inputs.Batches, TypeError, "must be an array"),
        (
            "dense",
            inputs.stream(DENSE).repeat(),
            ValueError,
            r"repeats for ever.*take\(n\)",
        ),
        ("dense", iter([]), ValueError, "one row or more"),
        (
            "columns",
            {"z": DENSE[:, 0], "a": DENSE[:, 1], "word": np.array([object()])},
            TypeError,
            r"`x\['word'\]` must hold numbers or strings",
        ),
        (
            "optional",
            [DENSE, DENSE.astype(object)],
            TypeError,
            r"`x\[1\]` \(input `more`\) must hold numbers",
        ),
    ],
)
def test_errors_name_the_input(networks, name, x, error, match):
    with pytest.raises(error, match=match):
        predict(networks[name][0], x)


def test_a_dataset_without_an_end():
    class Endless(inputs.Batches):
        num_batches = None

    model = inputs.make("dense")
    with pytest.raises(ValueError, match="PyDataset without a number"):
        predict(model, Endless(DENSE, Y))


class Impute(keras.layers.Layer):
    """Puts 0 where a number is missing."""

    def call(self, x):
        return keras.ops.where(keras.ops.isnan(x), 0.0, x)


def asked(model, x, form):
    y = np.zeros((inputs.N, 3), "f4")
    if form == "fit":
        model.fit(x, y, verbose=0)
        return 0.0
    if form == "evaluate":
        model.evaluate(x, y, verbose=0)
        return 0.0
    return predict(model, inputs.stream(x) if form == "dataset" else x).mean


@pytest.mark.parametrize("form", ["dataset", "fit", "evaluate"])
def test_a_model_may_see_to_missing_numbers_itself(form):
    """As in Keras; in a model that does not, a NaN is an error."""
    x = np.where(DENSE == 0, np.nan, DENSE)
    for imputes in (True, False):
        chain = inputs.dense()
        layers = [chain[0], *([Impute()] if imputes else []), *chain[1:]]
        model = tfpbnn.Sequential(layers)
        model.compile("sgd", "mse")
        if imputes:
            found, right = asked(model, x, form), asked(model, DENSE, form)
            np.testing.assert_allclose(found, right)
        else:
            with pytest.raises(ValueError, match="must be finite"):
                asked(model, x, form)


@pytest.mark.parametrize("name", ["x", "y"])
def test_values_that_numpy_masks_are_refused(name):
    """NumPy's own functions would drop the mask without a word."""
    model = inputs.make("dense", "tfpbnn")
    given = {"x": DENSE, "y": Y}
    given[name] = np.ma.masked_equal(given[name], given[name].flat[0])
    with pytest.raises(ValueError, match=f"`{name}`.* must be .*masked"):
        model.fit(**given, verbose=0)
    with pytest.raises(ValueError, match=f"`{name}`.* must be .*masked"):
        model.evaluate(**given, verbose=0)
    with pytest.raises(ValueError, match=f"`{name}`.* must be .*masked"):
        tfpbnn.evaluate(model, **given, num_samples=2, verbose=0)


def test_inputs_in_an_order_of_their_own_go_by_name():
    """A plain dict was paired with them in the order of the names."""
    x = collections.OrderedDict(
        (name, keras.Input((6,), name=name)) for name in "za"
    )
    last = tfpbnn.layers.DenseReparameterization(1)
    model = keras.Model(x, last(10 * x["z"] + x["a"]))
    given = {"draws": "mean", "likelihood": "mse"}
    z, a = DENSE, DENSE[::-1]
    kernel = np.asarray(last.kernel_posterior.loc)
    right = (10 * z + a) @ kernel
    for x in ({"z": z, "a": a}, collections.OrderedDict(a=a, z=z)):
        for form in (x, inputs.stream(x)):
            found = predict(model, form, **given).mean
            np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-4)


def batches_of_lengths(with_mask):
    """Batches of 3, 5 and 2 steps, with targets and weights of each step."""
    rng = np.random.default_rng(0)
    for steps in (3, 5, 2):
        x = rng.normal(size=(4, steps, 2)).astype("f4")
        if with_mask:
            x[:, 0] = 0
        weights = rng.uniform(size=(4, steps)).astype("f4")
        yield x, rng.integers(0, 3, (4, steps)), weights


@pytest.mark.parametrize("keep_draws", [True, False])
@pytest.mark.parametrize("with_mask", [False, True])
def test_batches_of_different_lengths(with_mask, keep_draws):
    """Shorter ones are padded, and what is added is in no score."""
    masking = [keras.layers.Masking()] if with_mask else []
    last = tfpbnn.layers.DenseReparameterization(3)
    model = keras.Sequential([keras.Input((None, 2)), *masking, last])
    given = {
        "likelihood": tfpbnn.likelihoods.Categorical(),
        "keep_draws": keep_draws,
        "draws": "coherent",
    }
    batches = list(batches_of_lengths(with_mask))
    p = predict(model, iter(batches), **given)
    parts = [predict(model, x, **given) for x, _, _ in batches]
    assert p.mean.shape == (12, 5, 3)
    for number, part in enumerate(parts):
        rows, steps = slice(4 * number, 4 * number + 4), part.mean.shape[1]
        np.testing.assert_allclose(p.mean[rows, :steps], part.mean, atol=1e-5)
        first = int(with_mask)
        assert p.mask[rows, first:steps].all()
        assert not p.mask[rows, :first].any()
        assert not p.mask[rows, steps:].any()
    if keep_draws:
        given.pop("keep_draws")
        found = tfpbnn.evaluate(
            model, iter(batches), num_samples=4, seed=3, verbose=0, **given
        )
        scores = [
            part.evaluate(y, w)
            for part, (_, y, w) in zip(parts, batches, strict=True)
        ]
        sums = [w[:, int(with_mask) :].sum() for _, _, w in batches]
        for name in ("nll", "accuracy", "brier"):
            right = np.average([s[name] for s in scores], weights=sums)
            assert found[name] == pytest.approx(right, rel=1e-4)


SPARSE_LAYERS = {
    "reparameterization": lambda: tfpbnn.layers.DenseReparameterization(4),
    "matrix": lambda: tfpbnn.layers.DenseReparameterization(
        4, kernel_posterior="matrix_normal"
    ),
    "members": lambda: tfpbnn.layers.DenseBatchEnsemble(4, num_members=2),
    "rank 1": lambda: tfpbnn.layers.DenseRank1(4, num_members=2),
    "dropout": lambda: tfpbnn.layers.MCDropout(0.3),
    "concrete": lambda: tfpbnn.layers.ConcreteDropout(keras.layers.Dense(4)),
    "any": lambda: tfpbnn.layers.Variational(keras.layers.Dense(4)),
    "plain": lambda: keras.layers.Dense(4),
}


@pytest.mark.parametrize("kind", SPARSE_LAYERS)
def test_layers_draw_the_same_of_sparse_rows(kind):
    layers = [SPARSE_LAYERS[kind](), tfpbnn.layers.DenseFlipout(3)]
    model = keras.Sequential([keras.Input((6,), sparse=True), *layers])
    kwargs = {"likelihood": tfpbnn.likelihoods.Categorical()}
    kwargs["draws"] = "coherent"
    found, expected = (predict(model, x, **kwargs) for x in (SPARSE, DENSE))
    np.testing.assert_allclose(found.outputs, expected.outputs, atol=1e-5)


@pytest.mark.parametrize("name", ["sparse", "ragged", "optional", "words"])
def test_posteriors_of_networks_take_the_same(networks, name):
    model, expected = networks[name]
    network = tfpbnn.to_deterministic(model)
    samples = tfpbnn.ensembles.WeightSamples.from_weights(
        network, [network.get_weights()] * 2
    )
    x = next(iter(FORMS[name].values()))()
    found = predict(samples, x, 2, likelihood=model.loss).outputs
    np.testing.assert_allclose(found[0], expected["mean"][0], atol=1e-5)


def test_a_layer_that_takes_no_ragged_rows_says_so():
    x = keras.Input((None,), dtype="int32", ragged=True)
    y = tfpbnn.layers.EmbeddingReparameterization(9, 4, name="words")(x)
    model = keras.Model(x, inputs.Average()(y))
    with pytest.raises(TypeError, match=r"the layer `words`.*to_tensor\(\)"):
        predict(
            model,
            tf.ragged.constant(inputs.TOKENS),
            likelihood=tfpbnn.likelihoods.Categorical(),
        )
