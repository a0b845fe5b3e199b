"""Keras's own code, run with drawn values of its weights.

For what is not linear in its weights: recurrent layers, and any layer in
`Variational`. To add one: a subclass of `base.DrawnLayer` and of Keras's layer.
"""
