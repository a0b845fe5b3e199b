import itertools

import keras
import numpy as np
import pytest

import tfpbnn
from tfpbnn import families, layers

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 4, 4, 1)).astype("float32")


def parts():
    return [
        layers.Conv2DFlipout(3, 2, activation="relu", name="conv"),
        keras.layers.Flatten(),
        keras.layers.BatchNormalization(),
        layers.DenseReparameterization(
            2,
            bias_posterior="mean_field_normal",
            bias_prior="normal",
            name="dense",
        ),
    ]


class Subclassed(keras.Model):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.inner = layers.DenseFlipout(units, name="dense")

    def call(self, x):
        return self.inner(keras.ops.reshape(x, (-1, 16)))

    def get_config(self):
        return {"units": self.units}


def functional(cls):
    inputs = outputs = keras.Input((4, 4, 1))
    for part in parts():
        outputs = part(outputs)
    return cls(inputs, outputs)


MODELS = {
    "sequential": lambda: keras.Sequential([keras.Input((4, 4, 1)), *parts()]),
    "deferred": lambda: tfpbnn.Sequential(parts()),
    "functional": lambda: functional(keras.Model),
    "own_functional": lambda: functional(tfpbnn.Model),
    "nested": lambda: keras.Sequential(
        [keras.Input((4, 4, 1)), keras.Sequential(parts()), *parts()[1:]]
    ),
    "subclassed": lambda: Subclassed(2),
}


def make(kind="sequential"):
    model = MODELS[kind]()
    model.compile("adam", tfpbnn.likelihoods.Normal())
    model(X)
    for weight in model.weights:
        if weight.path.endswith(("/loc", "/untransformed_scale")):
            weight.assign(RNG.normal(size=weight.shape))
    return model


def reference(model):
    """|loc| / scale by the number of loc's weight; its scale comes next."""
    weights = list(model.weights)
    return {
        i: np.abs(loc.numpy()) / (np.log1p(np.exp(raw.numpy())) + 2**-23)
        for i, (loc, raw) in enumerate(itertools.pairwise(weights))
        if raw.path.endswith("untransformed_scale")
    }


def test_signal_to_noise():
    model = make()
    snr = tfpbnn.signal_to_noise(model)
    # The points, such as conv's bias, are not among them.
    assert list(snr) == ["conv/kernel", "dense/kernel", "dense/bias"]
    for ours, theirs in zip(
        snr.values(), reference(model).values(), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_layers_of_one_name_are_kept_apart():
    twins = [functional(keras.Model), functional(keras.Model)]
    inputs = keras.Input((4, 4, 1))
    model = keras.Model(inputs, [twin(inputs) for twin in twins])
    names = ["conv/kernel", "dense/kernel", "dense/bias"]
    expected = names + [f"{name}_1" for name in names]
    assert list(tfpbnn.signal_to_noise(model)) == expected


@pytest.mark.parametrize("kind", MODELS)
def test_the_highest_of_the_whole_model_stay(kind):
    model = make(kind)
    before = model.get_weights()
    pruned = tfpbnn.prune(model, keep=0.3)
    assert type(pruned) is type(model)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)

    ratios = reference(model)
    joined = np.sort(np.concatenate([np.ravel(r) for r in ratios.values()]))
    count = round(0.3 * len(joined))
    after = dict(enumerate(pruned.get_weights()))
    kept = 0
    for i, ratio in ratios.items():
        stays = ratio >= joined[-count]
        kept += stays.sum()
        loc, raw = after.pop(i), after.pop(i + 1)
        np.testing.assert_array_equal(loc, np.where(stays, before[i], 0))
        np.testing.assert_array_equal(raw[stays], before[i + 1][stays])
        assert np.all(np.exp(raw[~stays]) < 1e-9)
    assert kept == count
    for i, weight in after.items():  # points, states and statistics
        np.testing.assert_array_equal(weight, before[i])


@pytest.mark.parametrize("kind", ["deferred", "subclassed"])
def test_predictions_and_files(kind, tmp_path):
    model = make(kind)
    everything = tfpbnn.predict(model, X, 5, seed=0)
    same = tfpbnn.predict(tfpbnn.prune(model, keep=1.0), X, 5, seed=0)
    np.testing.assert_allclose(same.outputs, everything.outputs, atol=1e-5)
    if kind == "subclassed":  # not registered: Keras can't load it
        return
    pruned = tfpbnn.prune(model, keep=0.2)
    p = tfpbnn.predict(pruned, X, 5, seed=0)
    pruned.save(tmp_path / "pruned.keras")
    again = keras.saving.load_model(tmp_path / "pruned.keras")
    q = tfpbnn.predict(again, X, 5, seed=0)
    np.testing.assert_allclose(q.outputs, p.outputs, atol=1e-6)


def test_pruned_weights_are_zero_in_every_draw():
    """One weight is left: draws are that weight times its input."""
    model = keras.Sequential(
        [keras.Input((16,)), layers.DenseFlipout(3, use_bias=False)]
    )
    model.compile("sgd", "mse")
    loc = model.layers[0].kernel_posterior.loc
    loc.assign(np.where(np.arange(48).reshape(16, 3) == 22, 9.0, 1e-3))
    x = RNG.normal(size=(5, 16)).astype("float32")
    outputs = tfpbnn.predict(
        tfpbnn.prune(model, 1e-9), x, 20, seed=0, draws="coherent"
    ).outputs
    np.testing.assert_allclose(outputs[..., [0, 2]], 0, atol=1e-5)
    weights = outputs[..., 1] / x[:, 7]
    np.testing.assert_allclose(weights, weights[:, :1] + 0 * weights, rtol=1e-4)
    assert 0.005 < weights[:, 0].std() < 0.5
    assert abs(weights.mean() - 9) < 0.5


@pytest.mark.parametrize("keep", [0, -0.1, 1.5, float("nan"), "half"])
def test_bad_fractions(keep):
    with pytest.raises(ValueError, match=f"`keep` must be .*keep={keep!r}"):
        tfpbnn.prune(make(), keep)


def test_models_that_have_nothing_to_prune():
    plain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    unbuilt = keras.Sequential([layers.DenseFlipout(1)])
    for model in (plain, unbuilt):
        with pytest.raises(ValueError, match="must have weights with a post"):
            tfpbnn.prune(model, 0.5)


def test_a_model_that_failed():
    model = make()
    model.layers[0].kernel_posterior.loc.assign(np.full((2, 2, 1, 3), np.nan))
    with pytest.raises(ValueError, match="`conv/kernel` has NaN"):
        tfpbnn.prune(model, 0.5)


def test_a_model_that_cannot_be_copied():
    class Closed(Subclassed):
        def get_config(self):
            return {}

    model = Closed(2)
    model(X)
    with pytest.raises(ValueError, match=r"Closed.from_config.*get_config"):
        tfpbnn.prune(model, 0.5)


class Joint(families.PointEstimate):
    """A family of which only the mean is known."""

    is_random = True

    def variance(self):
        return families.Family.variance(self)


class Rotated(families.PointEstimate):
    """A family whose elements have variances, but aren't apart."""

    is_random = True

    def variance(self):
        return keras.ops.ones_like(self.loc)


@pytest.mark.parametrize(
    ("family", "match"),
    [
        (Joint, "`dense/kernel` have no .*`Joint` has no elementwise variance"),
        (Rotated, "`dense/kernel` can't be pruned: `Rotated` cannot lose"),
    ],
)
def test_families_that_cannot_be_pruned(family, match):
    layer = layers.DenseReparameterization(
        2, kernel_posterior=family(), kernel_prior=None, name="dense"
    )
    model = keras.Sequential([keras.Input((3,)), layer])
    with pytest.raises(ValueError, match=match):
        tfpbnn.prune(model, 0.5)
