"""Trains members in other processes or on other machines.

To add a way to run jobs: a class with `submit`, like those of
`concurrent.futures`.
"""
