"""Weights of edward2's layers, which are not imported."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfpbnn.convert import counterparts
from tfpbnn.networks import reading

# edward2's stddev is softplus of its variable, plus this.
_FLOOR = 1e-7


def load_edward2_weights(model: keras.Model, weights: Sequence[Any]) -> None:
    """Sets a model's weights to those of the same model in edward2.

    Layer for layer, in the order of `model.layers`. A layer of edward2 has its
    bias, if that is a point, then mean and raw standard deviation of each
    kernel, and of the bias if that has a distribution too. Layers that are not
    variational have what Keras gives them.

    Args:
        model: a built Functional or Sequential model of our layers: Dense,
            Conv and Embedding with Normals, and plain ones.
        weights: arrays, as `old.get_weights()` gives them.

    Raises:
        ValueError: if the number or the shapes of the weights are not the
            model's; names the layer and the weight.

    Example:
    ```python
    # In the old environment: np.savez("old.npz", *old.get_weights())
    import numpy as np

    new = keras.Sequential([
        keras.Input((4,)), tfpbnn.layers.DenseFlipout(1)
    ])
    np.savez("old.npz", np.zeros(1), np.ones((4, 1)), -3 * np.ones((4, 1)))
    with np.load("old.npz") as arrays:
        tfpbnn.convert.load_edward2_weights(new, list(arrays.values()))
    ```
    """
    reading.check_readable(model)
    targets = [t for layer in reading.leaves(model) for t in _targets(layer)]
    if len(targets) != len(weights):
        raise ValueError(
            f"`weights` must have {len(targets)} arrays for this model: "
            f"{[name for name, _, _ in targets]}. Received: {len(weights)}"
        )
    arrays = [np.asarray(value) for value in weights]
    for (name, owner, _), array in zip(targets, arrays, strict=True):
        if tuple(_variable(owner).shape) != array.shape:
            raise ValueError(
                f"`weights` must have shape {tuple(_variable(owner).shape)} "
                f"for {name}. Received: shape {array.shape}"
            )
    for (_, owner, is_scale), array in zip(targets, arrays, strict=True):
        if is_scale:
            counterparts.set_scale(owner, np.logaddexp(0.0, array) + _FLOOR)
        else:
            _variable(owner).assign(array)


def _variable(owner: Any) -> keras.Variable:
    """Of a posterior its loc, which its scale has the shape of."""
    return owner if isinstance(owner, keras.Variable) else owner.loc


def _targets(layer: keras.layers.Layer) -> list[tuple[str, Any, bool]]:
    """(name, variable or posterior, whether its scale) in edward2's order."""
    counterpart = counterparts.of_variational(layer)
    if counterpart is None:
        return [(v.path, v, False) for v in layer.weights]
    points, random = [], []
    for name, (posterior, _) in counterpart.distributions(layer).items():
        path = f"{layer.name}/{name}"
        if not posterior.is_random:
            points.append((path, posterior, False))
        else:
            random.append((f"{path}/mean", posterior, False))
            random.append((f"{path}/stddev", posterior, True))
    return points + random
