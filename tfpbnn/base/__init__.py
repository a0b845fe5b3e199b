"""What everything else stands on, and knows nothing of Bayes.

Argument checks, type aliases, the registry of saved names, shapes of stacks,
data in all forms that Keras takes, the progress bar, Keras's private
attributes (each read in `keras_private.py` alone). To add a check: one
function in `checks.py` whose error names the argument, what was expected and
what was received.
"""
