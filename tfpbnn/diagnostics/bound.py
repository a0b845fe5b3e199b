"""Takes the evidence bound apart, epoch by epoch."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfpbnn.base import checks
from tfpbnn.base.types import Array


def elbo(history: Any, num_examples: float) -> dict[str, Array]:
    """Computes the terms of the evidence bound, in nats, for each epoch.

    The bound is the log-likelihood of the data less the KL, both in full: the
    KL is not weighted here, whatever schedule or temperature training had. It
    is a lower bound of the log-evidence, by which priors and models of one
    likelihood on the same data can be compared.

    Keras averages losses over an epoch while weights change. So the
    log-likelihood is of the epoch's average, with one draw for each batch, and
    the KL that is taken out of the loss is the mean of those before and after
    the epoch; the `kl` that is returned, and is in the bound, is the one after
    it. Other penalties and losses that a model adds count with the
    log-likelihood.

    Args:
        history: what `fit` returned, or its dict `history`.
        num_examples: how many examples the losses are means over; where they
            are means over places too, the number of places: what `KLWeight`
            calls the divisor.

    Returns:
        Arrays of one number for each epoch: "log_likelihood", "kl" and "elbo".

    Raises:
        ValueError: if the history has no KL.

    Example:
    ```python
    history = model.fit(x, y, epochs=20, verbose=0)
    terms = tfpbnn.diagnostics.elbo(history, len(x))
    terms["elbo"]                                           # [20]
    ```

    Reference:
        [Blundell et al., 2015](https://arxiv.org/abs/1505.05424)
    """
    checks.positive_number("num_examples", num_examples)
    logs = history if isinstance(history, Mapping) else history.history
    missing = sorted({"kl", "kl_weight", "loss"} - set(logs))
    if missing:
        raise ValueError(
            "`history` must have the logs loss, kl and kl_weight. Received: "
            f"{sorted(logs)}, without {missing}. tfpbnn.Model and "
            "tfpbnn.Sequential log these where layers have a KL; for other "
            "models pass `tfpbnn.callbacks.KLWeight(len(x))` to `fit`"
        )
    loss, kl, weight = (
        np.asarray(logs[name], np.float64)
        for name in ("loss", "kl", "kl_weight")
    )
    before = np.concatenate([kl[:1], kl[:-1]])
    log_likelihood = -num_examples * (loss - weight * 0.5 * (before + kl))
    return {
        "log_likelihood": log_likelihood,
        "kl": kl,
        "elbo": log_likelihood - kl,
    }
