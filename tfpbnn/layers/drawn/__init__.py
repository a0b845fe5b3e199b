"""Runs Keras's own code with drawn values of its weights.

This is for layers that are not linear in their weights: recurrent layers, and
any layer in `Variational`. To add one: a subclass of `base.DrawnLayer` and of
Keras's layer.
"""
