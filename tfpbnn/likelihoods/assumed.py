"""Describes where the noise that a plain loss assumes is not that of the data.

Keras's squared and absolute errors leave the size of the noise open, so a
likelihood that is read off one has a noise of a size that nobody chose.
"""

import warnings

import numpy as np

from tfpbnn.base.types import Array
from tfpbnn.likelihoods.base import Likelihood

# Intervals that are off by this factor, with so many targets, are no chance.
_FACTOR = 5.0
_FEWEST = 10


def of_targets(likelihood: Likelihood, y: Array, of: str = "") -> str:
    """Says if targets vary far more, or less, than the noise; else "".

    A likelihood of which somebody gave or learned the noise is left alone.

    Args:
        likelihood: that of the targets.
        y: all targets, `[N, ...]`.
        of: the words for which output it is, such as " of the output `a`".
    """
    is_known = likelihood.assumed_from is None or likelihood.recalibration
    if is_known or y.dtype.kind not in "iuf":
        return ""
    noise = likelihood.distribution(np.zeros((1, 1), "float32")).stddev()
    spread = np.full(y.size, float(noise[0, 0]))
    what = "targets have a standard deviation of"
    return _words(likelihood, spread, what, float(np.std(y)), of)


def warn_of_errors(likelihood: Likelihood, stddev: Array, error: float) -> None:
    """Warns if errors are far larger, or smaller, than they are said to be.

    Args:
        likelihood: that of the targets.
        stddev: the predicted standard deviation of each target.
        error: the root mean squared error of the predictions.
    """
    if likelihood.assumed_from is not None:
        what = "predictions are off by a root mean square of"
        if words := _words(likelihood, stddev, what, error):
            warnings.warn(words, stacklevel=3)


def _words(
    likelihood: Likelihood,
    stddev: Array,
    what: str,
    found: float,
    of: str = "",
) -> str:
    said = float(np.sqrt(np.mean(np.square(stddev)))) if stddev.size else 0.0
    is_near = said / _FACTOR <= found <= said * _FACTOR
    # Targets that are all the same say nothing of noise.
    if stddev.size < _FEWEST or is_near or not 0 < found < np.inf:
        return ""
    kind, width = (
        type(likelihood).__name__,
        "wide" if found < said else "narrow",
    )
    return (
        f"The loss {likelihood.assumed_from!r}{of} says nothing of how noisy "
        f"targets are. The {kind} that is assumed makes for a standard "
        f"deviation of {said:.3g}, but {what} {found:.3g}: intervals are far "
        f"too {width}. Give the scale of the noise in the units of y, as the "
        f"loss or by `likelihood=tfpbnn.likelihoods.{kind}(scale=...)`; or let "
        f"the network learn it, by the loss `tfpbnn.likelihoods.{kind}()"
        ".adapt(y_train)` and two outputs for each target; or find it on "
        "held-out rows, by `tfpbnn.calibration.calibrate`"
    )
