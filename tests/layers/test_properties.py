"""Properties that hold for all arguments of a layer, by hypothesis."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfpbnn import layers, priors

CLASSES = [
    layers.DenseFlipout,
    layers.DenseLocalReparameterization,
    layers.DenseReparameterization,
]
QUICK = settings(max_examples=15, deadline=None, derandomize=True)

positive = st.floats(1e-3, 1e3)
prior_objects = st.one_of(
    st.builds(priors.Normal, st.floats(-5, 5), positive, st.booleans()),
    st.builds(priors.ScaleMixture, st.floats(0.01, 0.99), positive, positive),
)
arguments = st.fixed_dictionaries(
    {
        "units": st.integers(1, 6),
        "activation": st.sampled_from([None, "relu", "tanh", "softplus"]),
        "use_bias": st.booleans(),
        "kernel_posterior": st.sampled_from(
            [None, "mean_field_normal", "point_estimate"]
        ),
        "kernel_prior": st.one_of(st.none(), prior_objects),
        "bias_posterior": st.sampled_from([None, "mean_field_normal"]),
        "bias_prior": st.one_of(st.none(), prior_objects),
        "kl_weight": st.one_of(st.none(), st.floats(0, 10)),
        "seed": st.one_of(st.none(), st.integers(0, 2**31)),
    }
)


@pytest.mark.parametrize("cls", CLASSES)
@QUICK
@given(
    kwargs=arguments, shape=st.lists(st.integers(1, 4), min_size=2, max_size=4)
)
def test_any_layer_round_trips_and_computes(cls, kwargs, shape):
    layer = cls(**kwargs)
    again = cls.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    x = np.ones(shape, "float32")
    y = layer(x)
    assert y.shape == layer.compute_output_shape(tuple(shape))
    assert np.all(np.isfinite(y))
    assert all(np.isfinite(loss) for loss in layer.losses)
    again.build(tuple(shape))
    again.set_weights(layer.get_weights())
    np.testing.assert_allclose(again(x), layer(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cls", CLASSES)
@QUICK
@given(
    units=st.one_of(
        st.integers(max_value=0),
        st.floats(),
        st.text(max_size=3),
        st.booleans(),
    )
)
def test_units_that_are_not_positive_integers(cls, units):
    with pytest.raises(ValueError, match="`units` must be a positive integer"):
        cls(units)


@QUICK
@given(
    weight=st.one_of(
        st.floats(max_value=-1e-9), st.just(float("nan")), st.text(max_size=3)
    )
)
def test_weights_that_are_not_finite_and_positive(weight):
    with pytest.raises(ValueError, match="`kl_weight` must be None or"):
        layers.DenseFlipout(2, kl_weight=weight)
