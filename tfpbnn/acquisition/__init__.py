"""Says of which rows to ask the labels: active learning and optimization.

An acquisition is a function from a prediction to a score for each row, `[N]`; a
selector chooses rows by scores or by the prediction, and returns indices;
`select` takes both by name, and `ActiveLearner` trains, asks and trains again.
To add an acquisition: a function in the file of its kind, its name in
`ACQUISITIONS` of `selecting`, a test, and a line in docs/acting.md. To add a
selector: the same, in `SELECTORS`.
"""

from tfpbnn.acquisition.batch_bald import batch_bald
from tfpbnn.acquisition.batches import power, softmax, top
from tfpbnn.acquisition.diversity import badge, k_center
from tfpbnn.acquisition.learner import ActiveLearner
from tfpbnn.acquisition.optimization import (
    expected_improvement,
    knowledge_gradient,
    thompson,
    ucb,
)
from tfpbnn.acquisition.scores import (
    bald,
    entropy,
    epistemic_variance,
    least_confidence,
    margin,
    mean_sd,
    variation_ratios,
)
from tfpbnn.acquisition.selecting import select

__all__ = [
    "ActiveLearner",
    "badge",
    "bald",
    "batch_bald",
    "entropy",
    "epistemic_variance",
    "expected_improvement",
    "k_center",
    "knowledge_gradient",
    "least_confidence",
    "margin",
    "mean_sd",
    "power",
    "select",
    "softmax",
    "thompson",
    "top",
    "ucb",
    "variation_ratios",
]
