"""Layers whose noise is on their inputs, random in inference too.

MC dropout and its kin, dropout with a rate that is learned, DropConnect. To
add one: a file with a subclass of `mc_noise.MCNoise` that has `noisy`; if it
stands for one of Keras's layers, its entry in `mc_wrapper`.
"""
