import keras
import numpy as np
import pytest
from scipy import stats

import tfpbnn
from tests.checks import draws
from tests.statistics import assert_correlation, assert_moments
from tfpbnn import families, layers

X = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")


@pytest.mark.parametrize("units", [0, -3, 2.5, "8", True, None])
def test_bad_units(units):
    with pytest.raises(ValueError, match="`units` must be a positive integer"):
        layers.DenseFlipout(units)


def test_unknown_names_list_the_known_ones():
    with pytest.raises(
        ValueError, match=r"`kernel_posterior`.*mean_field_normal.*'gauss'"
    ):
        layers.DenseFlipout(2, kernel_posterior="gauss")
    with pytest.raises(ValueError, match=r"`bias_prior`.*scale_mixture"):
        layers.DenseFlipout(2, bias_prior="gauss")
    with pytest.raises(TypeError, match="`seed` must be None or an integer"):
        layers.DenseFlipout(2, seed="x")


def test_estimators_refuse_families_that_they_do_not_hold_for():
    class Odd(families.MeanFieldNormal):
        independent_normal = False

    with pytest.raises(
        ValueError, match=r"local_reparam.*bias_posterior=Odd.*Reparameteriz"
    ):
        layers.DenseLocalReparameterization(2, bias_posterior=Odd())
    layers.DenseFlipout(2, kernel_posterior=Odd())


def test_bad_inputs():
    with pytest.raises(ValueError, match=r"rank 2 or more.*\(5,\)"):
        layers.DenseFlipout(2).build((5,))
    with pytest.raises(ValueError, match="known last axis"):
        layers.DenseFlipout(2).build((None, None))


def test_parameters_are_counted_as_users_expect():
    layer = layers.DenseFlipout(7)
    layer.build((None, 5))
    trainable = sum(np.prod(v.shape) for v in layer.trainable_variables)
    assert trainable == 2 * 5 * 7 + 7
    assert [v.path.split("/", 1)[1] for v in layer.weights] == [
        "kl_weight",
        "noise_state",
        "kernel_posterior/loc",
        "kernel_posterior/untransformed_scale",
        "bias_posterior/loc",
    ]


def test_a_draw_is_one_function():
    """Inside of a draw scope equal rows give equal outputs, of all layers.

    Here with positions; for rows see `test_moments`.
    """
    x = np.random.default_rng(1).normal(size=(3, 4, 5)).astype("float32")
    x[1] = x[0]
    layer, *others = (
        cls(2, bias_posterior="mean_field_normal")
        for cls in (
            layers.DenseFlipout,
            layers.DenseLocalReparameterization,
            layers.DenseReparameterization,
        )
    )
    layer.build((None, 4, 5))
    found = draws(layer, x, 20_000)
    for other in others:
        other.build((None, 4, 5))
        other.set_weights(layer.get_weights())
        np.testing.assert_allclose(draws(other, x, 3), found[:3], rtol=1e-4)
    loc = layer.kernel_posterior.loc.numpy()
    kernel_variance = layer.kernel_posterior.scale.numpy() ** 2
    bias_variance = layer.bias_posterior.scale.numpy() ** 2
    mean = x @ loc + layer.bias_posterior.loc.numpy()
    assert_moments(found, mean, np.sqrt(x**2 @ kernel_variance + bias_variance))
    assert_correlation(found[:, 0], found[:, 1], 1.0)


def test_flipout_decorrelates_the_bias_too():
    """One draw of the bias for a call, its sign flipped for each row."""
    layer = layers.DenseFlipout(1, bias_posterior="mean_field_normal")
    layer.build((None, 3))
    layer.bias_posterior.loc.assign([0.0])
    outputs = layer(np.zeros((4000, 3))).numpy()[:, 0]
    np.testing.assert_allclose(np.abs(outputs), np.abs(outputs[0]))
    assert stats.binomtest(int((outputs > 0).sum()), 4000).pvalue > 1e-6
    assert_correlation(outputs[:-1], outputs[1:], 0.0)


def test_masks_pass_through():
    inputs = keras.Input((None,), dtype="int32")
    embedded = keras.layers.Embedding(5, 4, mask_zero=True)(inputs)
    outputs = layers.DenseFlipout(3)(embedded)
    model = keras.Model(inputs, outputs)
    y = model(np.array([[1, 2, 0]]))
    np.testing.assert_array_equal(y._keras_mask, [[True, True, False]])


@pytest.mark.parametrize("draws", ["coherent", "marginal"])
def test_integers_are_taken_for_numbers(draws):
    """In calls and in predictions, whatever is declared."""
    x = np.arange(10).reshape(2, 5).astype("int32")
    inputs = keras.Input((5,), dtype="int32")
    h = layers.DenseFlipout(4, bias_posterior="mean_field_normal")(inputs)
    model = keras.Model(inputs, layers.DenseFlipout(1)(h))
    kwargs = {"draws": draws, "seed": 1, "likelihood": "mse"}
    found = tfpbnn.predict(model, x, 3, **kwargs).outputs
    same = keras.Sequential([keras.Input((5,)), *model.layers[1:]])
    expected = tfpbnn.predict(same, x.astype("float32"), 3, **kwargs).outputs
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.std(found) > 1e-3
    assert model(x).dtype == "float32"
