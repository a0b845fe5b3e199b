"""Converts models of edward2 and of tfp.layers to models of this package.

To take over another package's layers: a file with their names and arguments.
"""
