"""Members that are trained in other processes or on other machines.

To add a way to run jobs: a class with `submit`, as `concurrent.futures` has it.
"""
