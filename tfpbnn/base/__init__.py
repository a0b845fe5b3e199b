"""Defines what everything else stands on, and knows nothing of Bayes.

These are argument checks, type aliases, the registry of saved names, stacks of
arrays, the progress bar, data in all forms that Keras takes, and Keras's
private attributes (read in `keras_private` only). To add a check: a
function of `checks` whose error names the argument, what was expected and what
was received. To take data in a new form: `data`, which makes arrays and
batches of all of them.
"""
