"""Each format that exports are written in has a file here.

All begin as a SavedModel (`saved_model`), which the others convert. To add one:
a file with `write(path, saved, name)`, and its entry below. `converting` and
`unrolled` are for run times that have no lists of tensors.
"""

from tfpbnn.exporting.formats import litert, onnx

# What converts a signature of a SavedModel, by the name of the format.
WRITERS = {"litert": litert.write, "onnx": onnx.write}
