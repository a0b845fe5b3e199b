"""Layers that are linear in their kernels: operation times estimator.

`ops` says how a kernel is applied, `estimators` how its noise enters in
training, `drawing` how draws are made for prediction. A named layer is the base
of its operation plus its estimator. To add an operation: a function of `ops`
and a base; an estimator: a function of `estimators` and a final class for each
operation.
"""
