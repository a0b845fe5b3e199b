"""Defines last layers that say how noisy the targets are.

To add one: a file with a Keras layer that appends the parameters of the noise
to the outputs, in the order in which a likelihood of `tfpbnn.likelihoods`
takes them.
"""
