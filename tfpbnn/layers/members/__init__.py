"""Layers that hold the members of an ensemble in one network.

To add one: a subclass of `base.MembersLayer`. `tfpbnn.ensembles.one_network`
puts them into whole models.
"""
