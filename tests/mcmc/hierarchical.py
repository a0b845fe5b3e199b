"""A network with priors of several kinds, with scales that are drawn."""

import keras

import tfpbnn

PRIORS = {
    "a/kernel": tfpbnn.priors.HierarchicalNormal(
        tfpbnn.priors.InverseGamma(3.0, 2.0), axis=-1
    ),
    "b/kernel": tfpbnn.priors.Horseshoe(0.5),
    "c": tfpbnn.priors.Laplace(2.0),
}


def network():
    return keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(3, name="a"),
            keras.layers.Dense(2, name="b"),
            keras.layers.Dense(1, name="c"),
            tfpbnn.layers.HomoscedasticScale(initial_scale=0.5, name="noise"),
        ]
    )
