"""What of an adapted model trains."""

import dataclasses
import math

import keras

from tfpbnn.lora.merging import adapted_layers


@dataclasses.dataclass(frozen=True)
class Row:
    """An adapter.

    Attributes:
        layer: the path to the layer that has it.
        method: its method.
        rank: its rank.
        kernel: the sizes of the kernel that meet the inputs, and the others.
        parameters: how many numbers of it train.
    """

    layer: str
    method: str
    rank: int
    kernel: tuple[tuple[int, ...], tuple[int, ...]]
    parameters: int


@dataclasses.dataclass(frozen=True)
class Report:
    """What was adapted, and how much trains; `print` shows it as a table.

    Attributes:
        rows: one for each adapter.
        trainable: the number of all parameters that train.
        frozen: the number of those that don't.
    """

    rows: tuple[Row, ...]
    trainable: int
    frozen: int

    @property
    def fraction(self) -> float:
        """The part of all parameters that trains."""
        return self.trainable / max(1, self.trainable + self.frozen)

    def __str__(self) -> str:
        width = max(len(row.layer) for row in self.rows)
        lines = [
            f"{row.layer:<{width}}  {row.method}  rank {row.rank} of "
            f"{row.kernel[0]} x {row.kernel[1]}  {row.parameters:,}"
            for row in self.rows
        ]
        total = (
            f"{self.trainable:,} parameters train, {self.frozen:,} are frozen "
            f"({self.fraction:.2%} train)"
        )
        return "\n".join([*lines, total])


def report(model: keras.Model) -> Report:
    """What adapters a model has, and how many parameters train.

    Args:
        model: a model with adapters.

    Raises:
        ValueError: if it has none.

    Example:
    ```python
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8)])
    adapted = tfpbnn.lora.add_lora(plain, rank=2)
    tfpbnn.lora.report(adapted).fraction
    ```
    """
    rows = []
    for layer in adapted_layers(model):
        for part, adapter in layer.adapted():
            is_inner = part is not layer.layer
            rows.append(
                Row(
                    f"{layer.name}/{part.name}" if is_inner else layer.name,
                    layer.method,
                    layer.rank,
                    (adapter.factors.a_sizes, adapter.factors.b_sizes),
                    _count(adapter.trainable_variables),
                )
            )
    trainable = _count(model.trainable_variables)
    return Report(tuple(rows), trainable, _count(model.non_trainable_weights))


def _count(variables: list[keras.Variable]) -> int:
    return sum(math.prod(v.shape) for v in variables)
