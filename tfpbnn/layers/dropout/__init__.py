"""Layers whose noise is on their inputs, random in inference too.

MC dropout and its kin, dropout with a rate that is learned, DropConnect. To
add one: a subclass of `mc_noise.MCNoise` with `noisy`; if it stands for a layer
of Keras's, its entry in `mc_wrapper.py`.
"""
