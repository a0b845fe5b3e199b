"""Defines layers with noise on their inputs, random in inference too.

They are MC dropout and its kin, dropout with learned rates, and DropConnect. To
add one: a file with a subclass of `mc_noise.MCNoise` that has `noisy`; if it
stands for one of Keras's layers, its entry in `mc_wrapper`.
"""
