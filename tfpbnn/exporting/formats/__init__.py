"""The files that exports are written as: one format a file.

To add one: a file with a function that writes the traced signatures to a path,
its name in `FORMATS` of `arguments`, and its call in `export`. `converting`
and `unrolled` are for run times that have no lists of tensors.
"""
