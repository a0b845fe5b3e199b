"""Defines layers that hold the members of an ensemble in one network.

To add one: a file with a subclass of `base.MembersLayer`. Whole networks get
such layers in `tfpbnn.ensembles.one_network`.
"""
