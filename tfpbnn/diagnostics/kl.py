"""Says where in a model the KL is: in which layers and units."""

from typing import Any

import numpy as np

from tfpbnn.base.types import Array
from tfpbnn.layers import kl_parts
from tfpbnn.layers.kl_parts import Part
from tfpbnn.networks import reading


def kl_by_layer(model: Any) -> dict[str, float]:
    """Computes the KL of each layer's posterior to its prior, in nats.

    The more a layer has, the more its weights have learned from the data. The
    sum over layers is the `kl` that `fit` logs, except that frozen layers,
    which `fit` leaves out, are here too. What has no closed form is estimated
    from one draw, as in training.

    Args:
        model: a built Keras model with variational layers.

    Returns:
        The KL by the name of the layer, such as "dense_flipout", in order.

    Raises:
        TypeError: if `model` is an ensemble.
        ValueError: if no layer has a KL, or a KL is NaN.

    Example:
    ```python
    tfpbnn.diagnostics.kl_by_layer(model)       # {"dense_flipout": 31.2, ...}
    ```
    """
    found: dict[str, float] = {}
    for part in checked_parts(model):
        kl = float(part.term.divergence())
        _check(part, np.array(kl))
        found[part.layer] = found.get(part.layer, 0.0) + kl
    return found


def kl_by_unit(model: Any) -> dict[str, Array]:
    """Computes the KL of the incoming weights of each unit, in nats.

    Units are those of the outputs: columns of a dense kernel, filters of a
    convolution (input channels and multipliers of a depthwise one), the letters
    of an `EinsumDense` kernel that are in the output, dimensions of an
    embedding. (Of recurrent kernels they are units times gates.)

    It is exact for independent Normals wherever `fit` has the KL exactly; for
    other priors of independent weights it is a numerical integral. The KL of
    learned scales of a prior, which units share, is not part of it.

    Args:
        model: a built Keras model with variational layers.

    Returns:
        By the name of the weights, such as "dense_flipout/kernel", an array of
        the units' shape. Weights whose KL is no sum over weights are left out:
        those of full-covariance, low-rank, matrix and radial posteriors.

    Raises:
        TypeError: if `model` is an ensemble.
        ValueError: if no KL can be split (`kl_by_layer` has it as a whole), or
            a KL is NaN.

    Example:
    ```python
    for name, kl in tfpbnn.diagnostics.kl_by_unit(model).items():
        print(name, kl.shape)                       # dense_flipout/kernel (50,)
    ```
    """
    return {
        part.name: part.by_unit(each, np.sum) for part, each in split(model)
    }


def split(model: Any) -> list[tuple[Part, Array]]:
    """Lists the weight tensors whose KL is a sum, with the KL of each weight.

    Raises:
        TypeError: if `model` is an ensemble.
        ValueError: if there is none, or a KL is NaN.
    """
    parts = checked_parts(model)
    pairs = [(part, part.by_weight()) for part in parts]
    found = [(part, each) for part, each in pairs if each is not None]
    if not found:
        raise ValueError(
            "`model` must have weights whose KL is a sum over weights: "
            "independent Normals, such as families.MeanFieldNormal. Received: "
            f"{[part.name for part in parts]}, of which the KL is known as a "
            "whole; see tfpbnn.diagnostics.kl_by_layer"
        )
    for part, each in found:
        _check(part, each)
    return found


def checked_parts(model: Any) -> list[Part]:
    """Lists the weight tensors that have a KL.

    Raises:
        TypeError: if `model` is an ensemble.
        ValueError: if it was not built, or has none.
    """
    reading.check_built(model)
    if hasattr(model, "kl_terms"):
        raise TypeError(
            "`model` must be one network with variational layers. Received: "
            f"{type(model).__name__}, an ensemble: take one of its members, "
            "such as model.members[0]"
        )
    parts = kl_parts.parts_of(model)
    if not parts:
        raise ValueError(
            "`model` must have layers with a KL. Received: "
            f"{model.name!r}, of which no layer has a posterior and a prior. "
            "Use layers such as tfpbnn.layers.DenseFlipout, or "
            "tfpbnn.to_variational"
        )
    return parts


def _check(part: Part, kl: Array) -> None:
    if np.isnan(kl).any():
        raise ValueError(
            f"`model` must be trained. Received: weights `{part.name}` with a "
            "KL of NaN: training failed"
        )
