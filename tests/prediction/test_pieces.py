"""Pieces of rows and draws don't change a prediction; its errors are stated."""

import gc
import os
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

import tfpbnn
from tests import fresh
from tests.layers.table import normal
from tests.particles import table
from tests.statistics import FALSE_FAIL, assert_correlation
from tfpbnn import likelihoods
from tfpbnn.particles import costs, engine, functions
from tfpbnn.particles.ways import STACKED, Draws
from tfpbnn.prediction.pieces import Run

X = normal(7, 3)
FIXED = likelihoods.Normal(scale=1.0)


def predict(model, x, *args, **kwargs):
    kwargs = {"likelihood": FIXED, "seed": 5, "verbose": 0} | kwargs
    return tfpbnn.predict(model, x, *args, **kwargs)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    hidden = table.dense(8, "tanh")
    return keras.Sequential([keras.Input((3,)), hidden, table.dense(2)])


WAYS = ("coherent", "marginal", "mixed", "coherent loop", "mixed loop")


@pytest.fixture(params=WAYS)
def draws(request, monkeypatch):
    """How draws are made; the loop is what large models take."""
    name, *loop = request.param.split()
    if loop:
        monkeypatch.setattr(costs, "_SMALL_IF_SHARED", 0)
        monkeypatch.setattr(costs, "_SMALL", 0)
        monkeypatch.setattr(costs, "_FLOPS_PER_STEP", 0)
    return name


@pytest.mark.parametrize("antithetic", [False, True])
def test_pieces_do_not_change_a_prediction(model, draws, antithetic):
    def run(x, num_samples, **kwargs):
        return predict(
            model, x, num_samples, draws=draws, antithetic=antithetic, **kwargs
        ).outputs

    whole = run(X, 9)
    assert np.abs(whole[0] - whole[1]).max() > 0.1
    dataset = tf.data.Dataset.from_tensor_slices(X).batch(5)
    for x, kwargs in [
        (X, {"batch_size": 3}),
        (X, {"memory_budget": 1}),  # one row and one draw at a time
        (X, {"memory_budget": 600}),
        (dataset, {}),
        (dataset, {"memory_budget": 300}),  # batches larger than it
    ]:
        np.testing.assert_allclose(run(x, 9, **kwargs), whole, atol=1e-5)
    np.testing.assert_allclose(run(X, 30)[:9], whole, atol=1e-5)
    assert np.abs(run(X, 9, seed=6) - whole).min(axis=(1, 2)).max() > 1e-4


def test_a_small_budget_does_make_pieces(model):
    run = Run(
        model,
        X,
        9,
        draws=Draws.MARGINAL,
        seed=0,
        antithetic=False,
        memory_budget=300,
    )

    class Shapes:
        def take(self, outputs):
            return outputs.shape

        def piece(self, taken, masks):
            return taken

    shapes, _ = run.over(None, 0, Shapes())
    rows = [pieces[0][1] for pieces in shapes]
    assert (sum(rows), len(rows) > 1) == (7, True)
    for pieces, count in zip(shapes, rows, strict=True):
        assert sum(piece[0] for piece in pieces) == 9
        assert len(pieces) > 1
        assert {piece[1] for piece in pieces} == {count}


def differences(a, b):
    """p-values of differences in mean, variance and whole distribution.

    The standard error of a variance is that of any distribution, by its fourth
    moment; quantiles are compared by Kolmogorov and Smirnov.
    """
    found = []
    for i in np.ndindex(a.shape[1:]):
        one, other = (y[(slice(None), *i)].astype("float64") for y in (a, b))
        for f in (lambda v: v, lambda v: (v - v.mean()) ** 2):
            found.append(stats.ttest_ind(f(one), f(other), equal_var=False)[1])
        found.append(stats.ks_2samp(one, other)[1])
    return np.array(found)


@pytest.mark.parametrize("way", ["marginal", "mixed"])
def test_rows_have_the_distribution_of_coherent_ones(model, way):
    """20,000 draws each see errors of 8 % of a standard deviation in the mean.

    And of a variance that is 10 % too large.

    The product of a row's outputs stands for their dependence.
    """

    def draw(seed, draws):
        y = predict(model, X[:3], 20_000, seed=seed, draws=draws).outputs
        return np.concatenate([y, y[..., :1] * y[..., 1:]], axis=-1)

    coherent, other = draw(1, "coherent"), draw(2, way)
    found = differences(coherent, other)
    assert found.min() > FALSE_FAIL / len(found)
    deviation = other - other.mean(0)
    for wrong in (other + 0.08 * other.std(0), other + 0.0488 * deviation):
        found = differences(coherent, wrong)
        assert found.min() < FALSE_FAIL / len(found), "too few draws to see it"


def test_equal_rows_have_what_they_share_in_common():
    """A function; nothing; or the weights of all layers but the first."""
    model = keras.Sequential(
        [keras.Input((3,)), table.dense(2), table.dense(1)]
    )
    first, last = model.layers
    kernel = first.kernel_posterior
    x = X[:1]
    mean = x @ kernel.loc + first.bias_posterior.loc
    variance = x**2 @ kernel.variance() + first.bias_posterior.variance()
    mean, variance = np.array(mean)[0], np.array(variance)[0]
    loc = np.array(last.kernel_posterior.loc)[:, 0]
    spread = np.array(last.kernel_posterior.variance())[:, 0]
    shared = np.sum(mean**2 * spread) + last.bias_posterior.variance().numpy()
    whole = shared + np.sum(variance * (loc**2 + spread))
    twice = np.repeat(x, 2, axis=0)
    for kind, expected in (
        ("coherent", 1.0),
        ("marginal", 0.0),
        ("mixed", float((shared / whole).item())),
    ):
        y = predict(model, twice, 20_000, draws=kind).outputs[..., 0]
        assert_correlation(y[:, 0], y[:, 1], expected)
    assert 0.1 < expected < 0.9


@pytest.mark.parametrize("draws", ["coherent", "marginal"])
def test_antithetic_means_of_a_linear_model_are_exact(draws):
    model = keras.Sequential([keras.Input((3,)), table.dense(2)])
    mean = predict(model, X, draws="mean").mean
    kwargs = {"draws": draws, "antithetic": True}
    for count in (2, 10):
        p = predict(model, X, count, **kwargs)
        np.testing.assert_allclose(p.mean, mean, atol=1e-5)
    assert np.abs(predict(model, X, 10, draws=draws).mean - mean).max() > 0.02
    assert np.all(p.epistemic_variance > 1e-3)


def test_antithetic_means_have_smaller_errors():
    """Of 8 draws, over 100 seeds: at most half of the squared error.

    Where the noise is small beside the weights, as after training, what is
    linear in it is most of the error.
    """
    hidden, last = (
        tfpbnn.layers.DenseFlipout(
            n, "tanh", kernel_initializer="glorot_normal"
        )
        for n in (16, 2)
    )
    model = keras.Sequential([keras.Input((3,)), hidden, last])
    truth = predict(model, X, 20_000, seed=1000, antithetic=True).mean
    errors = {}
    for antithetic in (False, True):
        means = [
            predict(model, X, 8, seed=i, antithetic=antithetic).mean
            for i in range(100)
        ]
        errors[antithetic] = np.mean((np.array(means) - truth) ** 2)
    print(errors)
    assert errors[True] < 0.5 * errors[False]


@pytest.mark.parametrize(
    "likelihood", [likelihoods.Normal(), likelihoods.Categorical()]
)
def test_without_draws(model, draws, likelihood):
    kwargs = {"draws": draws, "likelihood": likelihood}
    kept = predict(model, X, 60, **kwargs)
    p = predict(model, X, 60, keep_draws=False, memory_budget=2000, **kwargs)
    names = ["mean", "epistemic_variance", "aleatoric_variance", "stddev"]
    if isinstance(likelihood, likelihoods.Categorical):
        names += ["expected_entropy", "mutual_information", "variation_ratio"]
        np.testing.assert_array_equal(p.labels, kept.labels)
    for name in names:
        expected = getattr(kept, name)
        np.testing.assert_allclose(
            getattr(p, name), expected, rtol=1e-4, atol=1e-6
        )
        np.testing.assert_allclose(getattr(p[2:4], name), getattr(p, name)[2:4])
    assert (len(p), p.num_samples, p.draws) == (7, 60, draws)
    assert "7 rows, 60 draws" in repr(p)
    for ask in (
        lambda: p.outputs,
        lambda: p.sample(2),
        lambda: p.log_prob(np.full((7, *p.mean.shape[1:]), 0.5)),
    ):
        with pytest.raises(ValueError, match=r"not kept.*keep_draws=True"):
            ask()


def test_without_draws_there_are_no_quantiles(model):
    p = predict(model, X, 5, keep_draws=False, likelihood=likelihoods.Normal())
    for ask in (lambda: p.quantile(0.1), lambda: p.interval(0.9)):
        with pytest.raises(ValueError, match=r"not kept.*keep_draws=True"):
            ask()


def resident():
    """Bytes of this process in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="no /proc")
def test_predictions_of_changing_shapes_leave_nothing_behind(model, quick_gc):
    """A graph for each shape, or 300 kB for each call, would be seen.

    TensorFlow's own caches are full after 200 calls.
    """

    def growth(count, leak=0):
        held = []
        gc.collect()
        start = resident()
        for i in range(count):
            x = np.resize(X, [1 + i % 40, 3])
            predict(model, x, 3 + i % 17, draws="coherent")
            held.append(np.ones(leak // 8))
        gc.collect()
        return resident() - start

    growth(200)
    limit = 10 * 2**20
    assert growth(200) < limit
    assert growth(200, leak=300_000) > limit
    function = engine.draw_function(model, X)
    assert function.compiled(STACKED).experimental_get_tracing_count() == 1


@pytest.mark.parametrize("make", [table.shared_model, table.subclassed])
def test_models_go_when_they_are_not_used(make, quick_gc):
    model, x = make()
    predict(model, x, 2)
    references = [weakref.ref(part) for part in (model, model.layers[-1])]
    del model
    gc.collect()
    gc.collect()  # Of what was kept with the model, once it is gone.
    assert [reference() for reference in references] == [None, None]


MILLION = """
import resource, sys
import keras, tensorflow as tf, tfpbnn

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

dense = tfpbnn.layers.DenseFlipout
model = keras.Sequential([keras.Input((3,)), dense(16, "tanh"), dense(2)])
model.compile("adam", tfpbnn.likelihoods.Normal())
data = tf.data.Dataset.range(1_000_000).batch(5000).map(
    lambda i: tf.ones([1, 3]) * tf.cast(i[:, None], tf.float32) / 1e6
)
kwargs = {"num_samples": 50, "keep_draws": False}
tfpbnn.predict(model, data.take(5), verbose=0, **kwargs)
before = peak()
sys.stdout = open(sys.argv[1], "w")
p = tfpbnn.predict(model, data, verbose=1, **kwargs)
print("\\n", len(p), peak() - before, flush=True)
"""


def test_a_million_rows_take_little_memory(tmp_path):
    """Their 50 draws would take 381 MiB; averages over draws are kept."""
    fresh.run(MILLION, str(tmp_path / "out"))
    printed = (tmp_path / "out").read_text()
    assert "200/200" in printed  # the progress bar
    rows, mebibytes = map(float, printed.split()[-2:])
    assert rows == 1_000_000
    assert mebibytes < 150


def test_an_interrupt_keeps_the_rows_that_are_done(model, monkeypatch):
    """A Ctrl-C in the middle of the third batch of a stream."""
    whole = predict(model, np.concatenate([X, X + 1]), 5).outputs

    def batches():
        for number in range(5):
            yield X + number

    def interrupt(self, x, *args):
        if np.max(x) > np.max(X) + 1.5:
            raise KeyboardInterrupt
        return draws(self, x, *args)

    draws = functions.DrawFunction.draws
    monkeypatch.setattr(functions.DrawFunction, "draws", interrupt)
    spec = tf.TensorSpec([None, 3])
    stream = tf.data.Dataset.from_generator(batches, output_signature=spec)
    kwargs = {"draws": "coherent", "memory_budget": 300}
    with pytest.warns(UserWarning, match=r"Interrupted.*first 2 of an unknown"):
        p = predict(model, stream, 5, **kwargs)
    np.testing.assert_allclose(p.outputs, whole, atol=1e-5)


def test_an_interrupt_counts_batches_and_keeps_targets(model):
    class Interrupted(keras.utils.PyDataset):
        num_batches = 5

        def __getitem__(self, index):
            if index == 3:
                raise KeyboardInterrupt
            return X, X[:, :2]

    data = Interrupted()
    with pytest.warns(UserWarning, match="of the first 3 of 5 batches"):
        scores = tfpbnn.evaluate(
            model, data, num_samples=5, likelihood=FIXED, memory_budget=300
        )
    assert np.isfinite(scores["rmse"])


def test_an_interrupt_before_anything_is_done_is_one(model):
    class Interrupted(keras.utils.PyDataset):
        num_batches = 1

        def __getitem__(self, index):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(model, Interrupted(), 5)


def test_auto_takes_marginal_for_few_rows_and_weights_for_many():
    """Those of the first layer would be more work than its outputs."""
    layers = [tfpbnn.layers.DenseFlipout(n) for n in (128, 128, 2)]
    model = keras.Sequential([keras.Input((512,)), *layers])
    few, many = (predict(model, np.ones((n, 512)), 2).draws for n in (1, 1000))
    assert (few, many) == ("marginal", "mixed")
    narrow = keras.Sequential(
        [keras.Input((4,)), *map(tfpbnn.layers.DenseFlipout, (128, 128))]
    )
    assert predict(narrow, np.ones((1000, 4)), 2).draws == "coherent"
    # A stream is taken to be long, whatever the size of its batches.
    rows = tf.data.Dataset.from_tensor_slices(np.ones((6, 512)))
    alone, together = (predict(model, rows.batch(n), 2) for n in (1, 6))
    assert (alone.draws, together.draws) == ("mixed", "mixed")
    np.testing.assert_allclose(alone.outputs, together.outputs, atol=1e-5)
    assert predict(*table.conv(), 2).draws == "coherent"


def test_changed_weights_are_seen(model, draws):
    """Outputs of the last layer at its loc plus 1 are higher by 1."""
    before = predict(model, X, 3, draws=draws).outputs
    bias = model.layers[-1].bias_posterior.loc
    bias.assign_add([1.0, 0.0])
    after = predict(model, X, 3, draws=draws).outputs
    bias.assign_sub([1.0, 0.0])
    np.testing.assert_allclose(
        after - before, np.eye(2)[0] + 0 * after, atol=1e-5
    )
