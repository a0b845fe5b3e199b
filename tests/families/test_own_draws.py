"""A subclass of a family that draws in a way of its own is drawn so anywhere.

Also where the family has a shortcut: in the fused passes over large weights, in
the draws of prediction and in the KL.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tfpbnn import families, layers, random
from tfpbnn.priors.kl import kl_divergence

TIMES = 10.0
# Units of 128 inputs; the large one is above the least of the fused passes.
SIZES = {"small": 8, "large": 256}
X = np.random.default_rng(0).normal(size=(64, 128)).astype("float32")


class LoudNormal(families.MeanFieldNormal):
    def noise(self, key):
        return TIMES * super().noise(key)


class LoudSample(families.MeanFieldNormal):
    def sample(self, key):
        return self.loc + TIMES * (super().sample(key) - self.loc)


class LoudScale(families.MeanFieldNormal):
    @property
    def scale(self):
        return TIMES * super().scale


class LoudKTied(families.KTiedNormal):
    def noise(self, key):
        return TIMES * super().noise(key)


class LoudMasks(families.DropConnect):
    def sample(self, key):
        return self.loc + TIMES * (super().sample(key) - self.loc)


FAMILIES = {
    cls: cls.__mro__[1]
    for cls in (LoudNormal, LoudSample, LoudScale, LoudKTied, LoudMasks)
}


def spread(y):
    """The root of the mean variance over draws, the first axis."""
    return np.sqrt(np.mean(np.var(y, axis=0)))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("cls", FAMILIES)
def test_in_training_and_prediction(cls, size):
    """Ten times the spread of the family beneath it; 15 % off would fail."""
    found = []
    for family in (cls, FAMILIES[cls]):
        keras.utils.set_random_seed(1)
        layer = layers.DenseReparameterization(
            SIZES[size], kernel_posterior=family(), kernel_prior=None, seed=1
        )
        model = keras.Sequential([keras.Input((128,)), layer])
        train = tf.function(lambda m: m(X, training=True), autograph=False)
        trained = np.stack([train(model).numpy() for _ in range(40)])
        p = tfpbnn.predict(
            model,
            X,
            40,
            seed=2,
            verbose=0,
            draws="coherent",
            likelihood=tfpbnn.likelihoods.Normal(scale=1.0),
        )
        found.append([spread(trained), spread(p.outputs)])
    np.testing.assert_allclose(np.divide(*found), TIMES, rtol=0.1)


@pytest.mark.parametrize("size", SIZES)
def test_kl_of_an_own_scale(size):
    """As of a family that has those scales by itself."""
    kls = []
    prior = tfpbnn.priors.Normal()
    for cls in (LoudScale, families.MeanFieldNormal):
        family = cls(untransformed_scale_initializer=keras.initializers.Zeros())
        family.build((128, SIZES[size]))
        family.loc.assign(tf.zeros_like(family.loc))
        if cls is families.MeanFieldNormal:
            raw = np.log(np.expm1(TIMES * np.log(2)))
            family.untransformed_scale.assign(
                tf.fill(family.loc.shape, np.float32(raw))
            )
        own = prior.copy(name="p", dtype="float32")
        own.build_for(family)
        kls.append(float(kl_divergence(family, own, random.as_key(0))))
    np.testing.assert_allclose(kls[0], kls[1], rtol=1e-5)
