"""Defines attention layers whose projections are variational.

`masks` knows which positions see which. To add one: a subclass of
`base.BaseAttention` and a final class for each estimator, in a file of its
own.
"""
