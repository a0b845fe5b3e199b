"""Collects posteriors from one training: SWA, SWAG, snapshots, samples.

Callbacks collect weights during `fit`, and make a model of `tfpbnn.posteriors`
of them. To add one: a subclass of `collector.Collector` in a file of its own.
"""
