"""The files that exports are written as: one format a file.

To add one: a file with `write(path, saved, name)`, and its entry below.
"""
