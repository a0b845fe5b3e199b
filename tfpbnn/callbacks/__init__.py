"""Defines callbacks of `fit`, one in each file.

To add one: a file with a Keras callback, and its name below. Callbacks that
collect weights and leave a posterior behind are in
`tfpbnn.ensembles.averaging`.
"""

from tfpbnn.callbacks.backup_and_restore import BackupAndRestore
from tfpbnn.callbacks.kl_weight import KLWeight

__all__ = ["BackupAndRestore", "KLWeight"]
