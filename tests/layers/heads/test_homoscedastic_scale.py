import keras
import numpy as np
import pytest

from tfpbnn import layers, likelihoods

X = np.random.default_rng(0).normal(size=(200, 3)).astype("float32")


def test_appends_raw_scales():
    layer = layers.HomoscedasticScale(0.5)
    y = layer(X[:, :2])
    assert y.shape == layer.compute_output_shape((200, 2)) == (200, 4)
    np.testing.assert_array_equal(y[:, :2], X[:, :2])
    scale = likelihoods.Normal().marginals(y).stddev()
    np.testing.assert_allclose(scale, 0.5, rtol=1e-4)


def test_learns_the_noise():
    """The optimum is the root mean square of the residuals."""
    layer = layers.HomoscedasticScale()
    model = keras.Sequential([keras.Input((2,)), layer])
    model.compile(keras.optimizers.Adam(0.1), likelihoods.Normal())
    y = X[:, :2] + np.array([0.3, 2.0]) * X[:, 1:]
    # An epoch takes its time, and has 25 passes for it.
    x, targets = np.tile(X[:, :2], (25, 1)), np.tile(y, (25, 1))
    model.fit(x, targets, 200, epochs=4, shuffle=False, verbose=0)
    rms = np.sqrt(np.mean((y - X[:, :2]) ** 2, axis=0))
    scale = np.logaddexp(0, layer.raw_scale.numpy())
    np.testing.assert_allclose(scale, rms, rtol=0.01)


def test_round_trip(tmp_path):
    model = keras.Sequential(
        [keras.Input((2,)), layers.HomoscedasticScale(0.25)]
    )
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again(X[:, :2]), model(X[:, :2]))
    assert again.layers[0].initial_scale == 0.25


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), None])
def test_bad_scale(scale):
    with pytest.raises(ValueError, match="`initial_scale` must be a positive"):
        layers.HomoscedasticScale(scale)
