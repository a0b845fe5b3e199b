"""Training-free Bayesianization: scales for adapters that were trained."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfpbnn.base import checks
from tfpbnn.base.types import Array
from tfpbnn.layers.lora.adapter import Adapter
from tfpbnn.layers.lora.lora import LoRA
from tfpbnn.lora.merging import adapted_layers
from tfpbnn.networks import copying, rewriting
from tfpbnn.prediction import predict
from tfpbnn.training import models

_FIRST_SCALE = 0.01
_MOST_DOUBLINGS = 20
# Singular values below this part of the largest count as zero.
_NEGLIGIBLE = 1e-6


def tfb(
    model: keras.Model,
    x: Any,
    y: Any = None,
    tolerance: float = 0.003,
    *,
    criterion: str = "accuracy",
    num_samples: int = 10,
    steps: int = 8,
    seed: int = 0,
    verbose: Any = 0,
) -> keras.Model:
    """A copy of a model with trained adapters, whose A has Normals about it.

    The product `A @ B` of each adapter is written anew by the singular values
    `d` of B, as `(A V) @ (diag(d) U)`; the standard deviations of the new A
    are `s / d`, so that the noise of the product is isotropic in the space that
    B maps to. The one number s of all adapters is the largest, by bisection,
    that keeps the score of held-out data.

    Args:
        model: a compiled model with adapters of the method "deterministic".
        x: held-out inputs, not those of training: as in `tfpbnn.predict`.
        y: their targets; None for the labels that `model` predicts.
        tolerance: by how much the score may be worse: the accuracy, by that
            difference; the NLL, by that part of itself.
        criterion: "accuracy", or "nll".
        num_samples: how many draws each score takes.
        steps: how often the interval of s is halved, on a logarithmic scale.
        seed: of the draws.
        verbose: 1 to print s and the score of each step.

    Returns:
        A model of the method "tfb", compiled as `model` is. Its scales are
        not trained.

    Raises:
        ValueError: if adapters are not deterministic or not trained, or if no
            scale changes the score.

    Example:
    ```python
    plain = keras.Sequential([
        keras.Input((4,)), keras.layers.Dense(3, activation="softmax")
    ])
    adapted = tfpbnn.lora.add_lora(plain, rank=2, method="deterministic")
    adapted.compile("adam", "sparse_categorical_crossentropy")
    x_train = keras.random.normal((64, 4))
    adapted.fit(x_train, keras.ops.argmax(x_train, -1) % 3, verbose=0)
    bayes = tfpbnn.lora.tfb(adapted, keras.random.normal((64, 4)), steps=2)
    ```

    Reference:
        [Shi et al., 2024](https://arxiv.org/abs/2412.05723)
    """
    checks.one_of("criterion", criterion, ["accuracy", "nll"])
    checks.non_negative("tolerance", tolerance)
    checks.integer("num_samples", num_samples, least=1)
    _check(model)
    bayes, pairs = rewriting.replace(
        model,
        models.Sequential
        if isinstance(model, keras.Sequential)
        else models.Model,
        lambda layer: isinstance(layer, LoRA),
        lambda layer: _bayesian(layer, copier),
        copier := copying.Copier(),
    )
    sizes = [size for old, new in pairs for size in _rotate(old, new)]
    copying.copy_compiled(model, bayes)
    plain = predict(model, x, draws="mean", verbose=0)
    y = plain.labels if y is None else y

    def loss(predictive: Any) -> float:
        if criterion == "accuracy":
            return 1 - predictive.accuracy(y)
        return predictive.nll(y)

    best = loss(plain)
    most = best + tolerance * (1 if criterion == "accuracy" else abs(best))

    def fits(scale: float) -> bool:
        _set_scales(sizes, scale)
        found = loss(predict(bayes, x, num_samples, seed=seed, verbose=0))
        if verbose:
            print(f"scale {scale:.4g}: {criterion} loss {found:.4f}")
        return found <= most

    _set_scales(sizes, _largest(fits, steps))
    return bayes


def _check(model: keras.Model) -> None:
    for layer in adapted_layers(model):
        if layer.method != "deterministic":
            raise ValueError(
                "`model` must have deterministic adapters. Received: the layer "
                f"{layer.name!r} with method={layer.method!r}"
            )
        for part, adapter in layer.adapted():
            if not np.any(keras.ops.convert_to_numpy(adapter.b_posterior.loc)):
                raise ValueError(
                    "`model` must have trained adapters. Received: one of "
                    f"{part.name!r} in {layer.name!r} that adds nothing, as "
                    "before training"
                )


def _bayesian(layer: LoRA, copier: copying.Copier) -> LoRA:
    config = layer.get_config() | {"method": "tfb"}
    config["layer"] = copier(layer.layer)
    return LoRA(**config)


def _rotate(old: LoRA, new: LoRA) -> list[tuple[Adapter, Array]]:
    """Gives a layer another one's weights, with A and B by singular values.

    Returns:
        The new adapters, and what their A's scales are in units of s.
    """
    copying.copy_state(old.layer, new.layer)
    found = []
    for before, after in zip(old.adapters, new.adapters, strict=True):
        a, b = (
            keras.ops.convert_to_numpy(posterior.loc).astype("float64")
            for posterior, _ in before.distributions()
        )
        v, d, u = np.linalg.svd(b.reshape(len(b), -1), full_matrices=False)
        rank = len(d)
        new_a, new_b = np.zeros_like(a), np.zeros_like(b.reshape(len(b), -1))
        new_a[..., :rank] = a @ v
        new_b[:rank] = d[:, np.newaxis] * u
        after.a_posterior.loc.assign(new_a)
        after.b_posterior.loc.assign(new_b.reshape(b.shape))
        units = np.zeros(len(b))
        is_used = d > _NEGLIGIBLE * d.max()
        units[:rank][is_used] = 1 / d[is_used]
        found.append((after, units))
        after.a_posterior.root_scale.trainable = False
    return found


def _set_scales(sizes: list[tuple[Adapter, Array]], scale: float) -> None:
    for adapter, units in sizes:
        root = adapter.a_posterior.root_scale
        root.assign(np.broadcast_to(np.sqrt(scale * units), root.shape))


def _largest(fits: Callable[[float], bool], steps: int) -> float:
    """The largest scale that fits, if all smaller ones do."""
    scale = _FIRST_SCALE
    factor = 2.0 if fits(scale) else 0.5
    for _ in range(_MOST_DOUBLINGS):
        scale *= factor
        if fits(scale) != (factor > 1):
            break
    else:
        raise ValueError(
            "`x` must be data on which the scale of the adapters' noise makes "
            f"a difference. Received: data with the same score from "
            f"{_FIRST_SCALE} to {scale:.3g}"
        )
    low, high = sorted([scale / factor, scale])
    for _ in range(steps):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
