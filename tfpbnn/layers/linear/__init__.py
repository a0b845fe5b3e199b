"""Defines layers that are linear in their kernels: operation and estimator.

`ops` says how a kernel is applied (strides, paddings, groups), `estimators`
how its noise enters in training, `drawing` how draws are made for prediction.
A named layer is the base of its operation plus its estimator. To add an option
of an operation, such as a padding: `ops`, and its name in `conv_arguments`; an
operation: `ops`, and a base in a file of its own; an estimator: a function of
`estimators` and a final class for each operation.
"""
