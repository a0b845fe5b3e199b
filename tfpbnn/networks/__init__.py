"""Reads, copies and rewrites Keras models, whatever their layers.

`reading` says what a model is made of, `calls` lists the calls that it does,
`copying` makes more of a layer or model, `states` knows what they have beside
weights, `rewriting` makes a model anew with other layers, `kernels` says which
layers have some, `missing` whether a model sees to NaN, `stand_ins` calls a
layer with something in it done otherwise.
Nothing here knows of randomness. To change models in a new way, write what is
to become of one call, and give it to `rewriting`.
"""
