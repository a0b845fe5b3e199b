"""Posteriors of what one training visits: SWA, SWAG, MultiSWAG, snapshots.

Callbacks that collect weights, and leave a model of `tfpbnn.posteriors`. To
add one: a subclass of `collector.Collector` in a file of its own.
"""
