"""Pruning by signal-to-noise: which weights a trained posterior can spare."""

import keras
import numpy as np

from tfpbnn.families import Family
from tfpbnn.types import Array


def prune(model: keras.Model, keep: float) -> keras.Model:
    """A copy of a model with its least certain weights set to zero.

    Weights are ranked by signal-to-noise, `|loc| / scale`, over the whole
    model. The `keep` fraction with the highest stays as it is; the others
    become 0, without noise (but for a scale of about 1e-7), in draws and at
    the mean. Arrays keep their shapes: this tells what could be left out, and
    makes nothing faster. Points (biases, unless given a posterior) and layers
    without distributions stay, and are not counted.

    Training the copy further lets the pruned weights return. Its KL is no
    longer a bound: a weight without noise is infinitely far from its prior.

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
    if not (isinstance(keep, int | float) and 0 < keep <= 1):
        raise ValueError(
            "`keep` must be a fraction above 0 and up to 1. Received: "
            f"keep={keep!r}"
        )
    ratios = signal_to_noise(model)
    masks = _highest(list(ratios.values()), keep)
    pruned = _clone(model)
    for name, posterior, mask in zip(
        ratios, _posteriors(pruned), masks, strict=True
    ):
        try:
            posterior.prune(mask)
        except NotImplementedError as error:
            raise ValueError(f"`{name}` can't be pruned: {error}") from error
    return pruned


def signal_to_noise(model: keras.Model) -> dict[str, Array]:
    """`|loc| / scale` of each random weight of a model.

    Args:
        model: a built Keras model with variational layers.

    Returns:
        Arrays of the weights' shapes by name, such as "dense_flipout/kernel",
        in the order of the layers.

    Raises:
        ValueError: if the model has no random weights or has some that are
            NaN; if a posterior has no elementwise variance.

    Example:
    ```python
    figure = tfpbnn.plots.weight_snr(tfpbnn.signal_to_noise(model))
    ```
    """
    ratios: dict[str, Array] = {}
    for posterior in _posteriors(model):
        path = posterior.loc.path.removesuffix("_posterior/loc")
        path = path.removeprefix(f"{model.name}/")
        name, number = path, 1
        while name in ratios:  # models within models may use a name again
            name, number = f"{path}_{number}", number + 1
        ratios[name] = _ratio(posterior, name)
    if not ratios:
        raise ValueError(
            "`model` must have weights with a posterior: none of its layers "
            "is variational, or it was not built. Call it on some data first, "
            "or add layers such as tfpbnn.layers.DenseFlipout."
        )
    return ratios


def _ratio(posterior: Family, name: str) -> Array:
    try:
        variance = keras.ops.convert_to_numpy(posterior.variance())
    except NotImplementedError as error:
        raise ValueError(
            f"The weights `{name}` have no signal-to-noise ratio: {error}"
        ) from error
    signal = np.abs(keras.ops.convert_to_numpy(posterior.loc))
    if np.isnan(signal).any() or np.isnan(variance).any():
        raise ValueError(f"The posterior of `{name}` has NaN: training failed.")
    # A scale may be too small to square; a loc of 0 is no signal all the same.
    noise = np.maximum(np.sqrt(variance), np.finfo(variance.dtype).tiny)
    return signal / noise


def _highest(ratios: list[Array], keep: float) -> list[Array]:
    """Masks of the highest, exactly the fraction `keep` of them all."""
    joined = np.concatenate([np.ravel(ratio) for ratio in ratios])
    count = max(1, round(keep * joined.size))
    mask = np.zeros(joined.size, bool)
    mask[np.argsort(-joined, kind="stable")[:count]] = True
    ends = np.cumsum([ratio.size for ratio in ratios])[:-1]
    return [
        part.reshape(ratio.shape)
        for part, ratio in zip(np.split(mask, ends), ratios, strict=True)
    ]


def _posteriors(model: keras.Model) -> list[Family]:
    """The posteriors that are random, in the order of the model's weights."""
    found = [
        part
        for part in model._flatten_layers()
        if isinstance(part, Family) and part.is_random and part.built
    ]
    place = {id(weight): i for i, weight in enumerate(model.weights)}
    return sorted(found, key=lambda posterior: place[id(posterior.loc)])


def _clone(model: keras.Model) -> keras.Model:
    """A model of the same class, layers, weights and compile arguments.

    `keras.models.clone_model` would turn subclasses of Sequential into that.
    """
    classes = {
        type(part).__name__: type(part) for part in model._flatten_layers()
    }
    try:
        with keras.saving.custom_object_scope(classes):
            clone = type(model).from_config(model.get_config())
            if not clone.built:
                clone.build_from_config(model.get_build_config())
            if model.compiled:
                clone.compile_from_config(model.get_compile_config())
        clone.set_weights(model.get_weights())
        clone.built = True  # Keras builds a subclass's layers without saying so
    except (NotImplementedError, TypeError, ValueError) as error:
        name = type(model).__name__
        raise ValueError(
            "`model` must be one that can be copied, by "
            f"`{name}.from_config(model.get_config())` and "
            "`set_weights`. Received: one of class "
            f"{name}, for which that fails (see above). A subclassed model "
            "needs a `get_config` that returns its constructor's arguments."
        ) from error
    return clone
