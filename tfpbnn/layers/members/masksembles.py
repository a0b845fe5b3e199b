"""Defines Masksembles: members see fixed, overlapping parts of the features."""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base import checks, registry
from tfpbnn.base.stacking import flatten
from tfpbnn.base.types import Array, Config, Shape, Tensor
from tfpbnn.layers.members.base import MembersLayer, drawn_members, in_draws

_ATTEMPTS = 4000
_ATTEMPTS_PER_SIZE = 50
_check_scale = checks.number(
    "a finite number of 1 or more", lambda v: 1 <= v < math.inf
)


@registry.register("layers")
class Masksembles(MembersLayer):
    """Applies dropout with one fixed mask for each member.

    Masks are drawn once, when the layer is built, and saved with it. Each keeps
    the same number of features, no feature is dropped by all, and two masks
    share `1 / scale` of the features that they keep. At `scale=1` all members
    are the same; with large scales they share next to nothing.

    Rows are in groups of equal size, one for each member, up to one row more or
    less. So training costs as much as for one network: each row trains one
    member. In `tfpbnn.predict` draw s is member `s % num_members`, for all
    rows.

    Args:
        num_members: the number of masks, a positive integer.
        scale: the number of features for each one that a mask keeps, before
            those that no mask keeps are left out; 1 or more, and up to 6 in
            the paper.
        seed: the seed of the masks. None takes one from Python's `random`,
            which `keras.utils.set_random_seed` seeds.

    Call arguments:
        inputs: a tensor `(batch, ..., features)`; masks are the same along all
            axes between.

    Input shape:
        `(batch, ..., features)`.

    Output shape:
        That of the inputs.

    Raises:
        ValueError: if `num_members` is not a positive integer or `scale` is
            below 1; when built, if there are too few features for such masks.

    Example:
    ```python
    model = keras.Sequential([
        keras.Input((4,)),
        keras.layers.Dense(32, activation="relu"),
        tfpbnn.layers.Masksembles(num_members=4, scale=2.0),
        keras.layers.Dense(2),
    ])
    model.compile("adam", loss=tfpbnn.likelihoods.Normal())
    tfpbnn.predict(model, x).num_samples                         # 4
    ```

    Reference:
        [Durasov et al., 2021](https://arxiv.org/abs/2012.08334)
    """

    def __init__(
        self,
        num_members: int,
        scale: float = 2.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(num_members, **kwargs)
        self.scale = _check_scale("scale", scale)
        self.seed = checks.seed(seed)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        self.masks = self.add_weight(
            name="masks",
            shape=(self.num_members, input_shape[-1]),
            initializer=self._initial_masks,
            trainable=False,
        )

    def _initial_masks(self, shape: Any, dtype: Any) -> Tensor:
        seed = random.any_seed() if self.seed is None else self.seed
        return tf.constant(_masks(shape, self.scale, seed), dtype)

    def call(self, inputs: Tensor) -> Tensor:
        members = drawn_members(self.num_members, self.name)
        masks = tf.cast(tf.convert_to_tensor(self.masks), inputs.dtype)
        between = [1] * (len(inputs.shape) - 2)
        features = inputs.shape[-1]
        if members is None:
            rows = tf.shape(inputs)[0]
            members = tf.range(rows) * self.num_members // rows
            own = tf.gather(masks, members)
            return inputs * tf.reshape(own, [-1, *between, features])
        own = tf.gather(masks, members)
        x = in_draws(inputs)
        return flatten(x * tf.reshape(own, [-1, 1, *between, features]))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        return input_shape

    def get_config(self) -> Config:
        return super().get_config() | {
            "num_members": self.num_members,
            "scale": self.scale,
            "seed": self.seed,
        }


def _masks(shape: Any, scale: float, seed: int) -> Array:
    """Makes masks `[M, size]`, by search over draws of the positions of ones.

    With k ones among `scale * k` positions, members use
    `scale * k * (1 - (1 - 1 / scale) ** M)` of them in the mean. Here k is
    chosen so that this is `size`, and draws are repeated until it is exact.
    """
    num_members, size = shape
    used_per_one = scale * (1 - (1 - 1 / scale) ** num_members)
    ones = max(round(size / used_per_one), math.ceil(size / num_members))
    for attempt in range(_ATTEMPTS):
        # 0, 1, -1, 2, -2, ... more, where the mean is not hit.
        turn = attempt // _ATTEMPTS_PER_SIZE
        more = (turn + 1) // 2 * (-1) ** (turn + 1)
        positions = max(ones, round(scale * ones) + more)
        numbers = random.uniforms(seed + attempt, (num_members, positions))
        masks = np.zeros((num_members, positions))
        kept = np.argsort(numbers, axis=1)[:, :ones]
        np.put_along_axis(masks, kept, 1.0, axis=1)
        used = masks.any(axis=0)
        if used.sum() == size:
            return masks[:, used]
    raise ValueError(
        "`num_members` masks with this `scale` need more features. Received: "
        f"inputs with {size} features, num_members={num_members}, "
        f"scale={scale}"
    )
