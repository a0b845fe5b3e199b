"""Likelihoods that were adapted to the units of the targets."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfpbnn import likelihoods

MEAN, STDDEV = np.array([36.0, -5.0]), np.array([17.0, 2e-3])
KINDS = {
    "normal": likelihoods.Normal,
    "normal_of_known_scale": lambda: likelihoods.Normal(scale=0.3),
    "laplace": likelihoods.Laplace,
    "laplace_of_known_scale": lambda: likelihoods.Laplace(scale=[2.0, 0.1]),
    "student_t": likelihoods.StudentT,
    "student_t_learned_df": lambda: likelihoods.StudentT(df=None),
    "mixture_normal": lambda: likelihoods.MixtureNormal(3),
}
rng = np.random.default_rng(0)
Z = rng.standard_normal((50, 2))
Z = (Z - Z.mean(0)) / Z.std(0)
Y = MEAN + STDDEV * Z


class Dataset(keras.utils.PyDataset):
    num_batches = 5

    def __getitem__(self, index):
        rows = slice(10 * index, 10 * index + 10)
        return Z[rows], Y[rows]


def outputs_of(likelihood):
    shape = (50, likelihood.params_size(2))
    return tf.constant(np.random.default_rng(1).standard_normal(shape))


@pytest.mark.parametrize("name", KINDS)
def test_adapted_is_the_standardized_one_in_other_units(name):
    """Density, moments, distribution function; a known scale is one of y."""
    adapted, plain = KINDS[name]().adapt(Y), KINDS[name]()
    if getattr(plain, "scale", None) is not None:
        plain.scale = (plain.scale / STDDEV).tolist()
    outputs = outputs_of(plain)
    expected = plain.log_prob(tf.constant(Z), outputs)
    expected -= np.log(STDDEV).sum()
    np.testing.assert_allclose(adapted.log_prob(Y, outputs), expected)
    y = adapted.align(tf.constant(Y), outputs)
    np.testing.assert_allclose(
        adapted.distribution(outputs).log_prob(y), expected, rtol=1e-6
    )
    ours, theirs = adapted.marginals(outputs), plain.marginals(outputs)
    np.testing.assert_allclose(ours.mean(), MEAN + STDDEV * theirs.mean())
    np.testing.assert_allclose(
        ours.stddev() + 0 * Z, STDDEV * theirs.stddev() + 0 * Z
    )
    np.testing.assert_allclose(ours.cdf(Y), theirs.cdf(Z), rtol=1e-6)


@pytest.mark.parametrize("name", KINDS)
def test_saved_and_repeated(name):
    adapted = KINDS[name]().adapt(Y)
    config = keras.saving.serialize_keras_object(adapted)
    again = keras.saving.deserialize_keras_object(config)
    assert again.units == adapted.units
    assert again.get_config() == adapted.get_config()
    assert "Units(mean=(3" in repr(again)
    assert KINDS[name]().get_config().keys() < adapted.get_config().keys()


@pytest.mark.parametrize("name", KINDS)
def test_rescale_moves_the_density(name):
    adapted = KINDS[name]().adapt(Y)
    other = adapted.rescale([2.0, 30.0], [1.0, -4.0])
    outputs = outputs_of(adapted)
    y = Y * [2.0, 30.0] + [1.0, -4.0]
    expected = adapted.log_prob(Y, outputs) - np.log(60.0)
    np.testing.assert_allclose(other.log_prob(y, outputs), expected, rtol=1e-6)
    assert adapted.units == KINDS[name]().adapt(Y).units


def test_the_loss_has_the_gradient_of_standardized_targets():
    adapted, plain = likelihoods.Normal().adapt(Y), likelihoods.Normal()
    outputs = tf.Variable(tf.cast(outputs_of(plain), tf.float32))
    with tf.GradientTape(persistent=True) as tape:
        ours, theirs = adapted(Y, outputs), plain(Z, outputs)
    assert float(ours - theirs) == pytest.approx(np.log(STDDEV).sum(), 1e-3)
    # The second target has four digits beside its mean in float32.
    np.testing.assert_allclose(
        tape.gradient(ours, outputs), tape.gradient(theirs, outputs), atol=1e-3
    )


def weighted(copies):
    """Rows that are repeated are rows of more weight."""
    return np.repeat(Y, copies, axis=0)


COPIES = np.random.default_rng(2).integers(0, 3, 50)
STREAM = tf.data.Dataset.from_tensor_slices


@pytest.mark.parametrize(
    ("y", "weights", "rows"),
    [
        (Y.tolist(), None, Y),
        (tf.constant(Y), None, Y),
        (Y[:, 0], None, Y[:, :1]),
        (Y.reshape(5, 10, 2), None, Y),
        (np.where(np.arange(50)[:, None] < 9, np.nan, Y), None, Y[9:]),
        (Y, COPIES, weighted(COPIES)),
        (Y, COPIES[:, None], weighted(COPIES)),
        (Y.reshape(5, 10, 2), COPIES.reshape(5, 10), weighted(COPIES)),
        (np.where(COPIES[:, None], Y, np.inf), COPIES, weighted(COPIES)),
        (STREAM(Y).batch(7), None, Y),
        (STREAM((Z, Y)).batch(7), None, Y),
        (STREAM((Z, Y, COPIES)).batch(7), None, weighted(COPIES)),
        (STREAM((Z, Y)).batch(7).filter(lambda *_: True), None, Y),
        (Dataset(), None, Y),
    ],
)
def test_mean_and_standard_deviation_of_any_data(y, weights, rows):
    mean, stddev = likelihoods.Normal().adapt(y, weights).units
    np.testing.assert_allclose(mean, rows.mean(0))
    np.testing.assert_allclose(stddev, rows.std(0))


def test_far_means_cost_no_digits():
    y = 1e9 + np.arange(100.0)
    _, (stddev,) = likelihoods.Normal().adapt(STREAM(y).batch(3)).units
    assert stddev == pytest.approx(np.arange(100).std(), rel=1e-9)


def test_one_value_keeps_its_unit():
    units = likelihoods.Normal().adapt(np.full((9, 1), 0.1)).units
    assert units.stddev == (1.0,)


@pytest.mark.parametrize(
    "make",
    [
        likelihoods.Poisson,
        likelihoods.NegativeBinomial,
        likelihoods.Categorical,
        likelihoods.Bernoulli,
    ],
)
@pytest.mark.parametrize("method", ["adapt", "rescale"])
def test_labels_and_counts_have_no_units(make, method):
    with pytest.raises(ValueError, match=f"`{method}` .* Received: .*Leave"):
        getattr(make(), method)(2.0)


@pytest.mark.parametrize(
    ("y", "weights", "match"),
    [
        ([1.0, np.inf], None, "`y` must be finite"),
        ([[1.0, np.nan], [2.0, np.nan]], None, r"`y` must have.*\[2. 0.\]"),
        ([1.0, 2.0], [0.0, 0.0], "`y` must have"),
        ([1.0, 2.0], [1.0], "`sample_weight` must be"),
        ([1.0, 2.0], [1.0, -1.0], "`sample_weight` must be .* -1.0"),
        (3.0, None, "`y` must be real numbers"),
        ([1j], None, "`y` must be real numbers"),
        (STREAM(Y).repeat(), None, "`y` must be finite"),
        (STREAM(Y).batch(2), COPIES, "`sample_weight` must be None"),
    ],
)
def test_targets_that_have_no_mean(y, weights, match):
    with pytest.raises(ValueError, match=match):
        likelihoods.Normal().adapt(y, weights)


@pytest.mark.parametrize("y", [["a", "b"], {"a": [1.0], "b": [2.0]}])
def test_targets_that_are_no_numbers(y):
    with pytest.raises(TypeError, match="`y` must"):
        likelihoods.Normal().adapt(y)


def test_as_many_targets_as_outputs():
    adapted = likelihoods.Normal().adapt(Y)
    with pytest.raises(ValueError, match=r"as many targets .* 3.*of 2 targets"):
        adapted.marginals(np.zeros((4, 6), "float32"))
    with pytest.raises(ValueError, match=r"`scale` must be one number.*3 targ"):
        likelihoods.Normal(scale=[1.0, 2.0]).marginals(np.zeros((4, 3)))
    for scale in (0.0, -1.0, [1.0, np.nan], "x", [[1.0]]):
        with pytest.raises(ValueError, match="`scale` must be"):
            adapted.rescale(scale)
