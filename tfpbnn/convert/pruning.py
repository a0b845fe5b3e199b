"""Removes weights that are mostly noise."""

import keras
import numpy as np

from tfpbnn.base import checks
from tfpbnn.base.types import Array
from tfpbnn.diagnostics.signal_to_noise import _posteriors, signal_to_noise
from tfpbnn.networks.copying import clone

_check_kept = checks.number(
    "a fraction above 0 and up to 1", lambda v: 0 < v <= 1
)


def prune(model: keras.Model, keep: float) -> keras.Model:
    """Copies a model, with its least certain weights set to zero.

    Weights are ranked by signal-to-noise, `|loc| / scale`, over the whole
    model. The fraction `keep` with the highest ratios stays as it is; the
    others become 0, without noise (but for a scale of about 1e-7), in draws
    and at the mean. Arrays keep their shapes: pruning tells what could be
    left out, and makes nothing faster. Points (biases, unless given a
    posterior) and layers without distributions are kept, and not counted.

    Training the copy further lets the pruned weights return. Its loss is no
    longer a bound of the evidence: a weight without noise is infinitely far
    from its prior.

    Args:
        model: a built Keras model with variational layers, left as it is.
        keep: the fraction of weights to keep, above 0 and up to 1.

    Returns:
        A new model of the same class, compiled likewise (with a fresh
        optimizer).

    Raises:
        ValueError: if `keep` is out of range; if the model has no random
            weights, has weights that are NaN, or cannot be cloned; if a
            posterior has no elementwise variance or cannot lose single weights.

    Example:
    ```python
    small = tfpbnn.prune(model, keep=0.25)
    for name, snr in tfpbnn.signal_to_noise(small).items():
        print(f"{name}: {(snr > 0).mean():.0%} kept")
    tfpbnn.predict(small, x_test)
    ```

    Reference:
        [Graves, 2011](https://papers.nips.cc/paper/4329-practical-variational-inference-for-neural-networks);
        [Blundell et al., 2015](https://arxiv.org/abs/1505.05424), section 5.1
    """
    _check_kept("keep", keep)
    ratios = signal_to_noise(model)
    masks = _highest(list(ratios.values()), keep)
    pruned = clone(model)
    for name, posterior, mask in zip(
        ratios, _posteriors(pruned), masks, strict=True
    ):
        try:
            posterior.prune(mask)
        except NotImplementedError as error:
            raise ValueError(f"`{name}` can't be pruned: {error}") from error
    return pruned


def _highest(ratios: list[Array], keep: float) -> list[Array]:
    """Makes masks of the highest ratios: the fraction `keep` of them all."""
    joined = np.concatenate([np.ravel(ratio) for ratio in ratios])
    count = max(1, round(keep * joined.size))
    mask = np.zeros(joined.size, bool)
    mask[np.argsort(-joined, kind="stable")[:count]] = True
    ends = np.cumsum([ratio.size for ratio in ratios])[:-1]
    return [
        part.reshape(ratio.shape)
        for part, ratio in zip(np.split(mask, ends), ratios, strict=True)
    ]
