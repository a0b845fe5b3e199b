"""Attention layers whose projections are variational.

To add one: a subclass of `base.BaseAttention`, and a final class for each
estimator.
"""
