"""Loads weights of edward2's layers, without importing edward2."""

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

    The arrays go layer by layer, in the order of `model.layers`. Those of a
    layer of edward2 are its bias, if that is a point, then the mean and the
    untransformed standard deviation of each kernel, and of the bias if that
    has a distribution too. Those of other layers are as in Keras.

    Args:
        model: a built Functional or Sequential model of our layers: Dense,
            Conv and Embedding with Normals, and plain ones.
        weights: arrays, as `old.get_weights()` gives them.

    Raises:
        ValueError: if the number or the shapes of the weights are not the
            model's; the message names the layer and the weight.

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
    """Returns the variable itself, or the `loc` of a posterior."""
    return owner if isinstance(owner, keras.Variable) else owner.loc


def _targets(layer: keras.layers.Layer) -> list[tuple[str, Any, bool]]:
    """Lists a layer's weights in the order of edward2's arrays.

    Each is (name, variable or posterior, whether the array is the scale).
    """
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
