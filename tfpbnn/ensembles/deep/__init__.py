"""Independent members that are trained side by side in one `fit`.

Their weights are stacks `[M, ...]` with one optimizer. To add a kind: a
subclass of `base.StackedEnsemble` that says how its members are made.
"""
