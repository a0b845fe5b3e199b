"""Takes the KL of a model apart: by weight tensors, weights and units."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np

from tfpbnn.base.by_output import each_once
from tfpbnn.base.keras_private import held_layers
from tfpbnn.base.types import Array
from tfpbnn.families import Family
from tfpbnn.layers.kl import KLRegularizer, KLTerm
from tfpbnn.networks import reading

# A weight that has less KL than this, in nats, says hardly anything: a Normal
# of the prior's width, with its mean 0.45 such widths off, has as much.
AT_PRIOR = 0.1
# Of a unit's weights none may have so many times as much.
_MOST = 20


@dataclasses.dataclass(frozen=True)
class Part:
    """The KL of one weight tensor.

    Attributes:
        name: such as "dense_flipout/kernel".
        variable: the location of the posterior.
        unit_axes: the axes of the weights that are output units, negative.
    """

    name: str
    variable: keras.Variable
    unit_axes: tuple[int, ...] = (-1,)

    @property
    def term(self) -> KLTerm:
        """What adds the KL to the loss."""
        return self.variable.regularizer

    @property
    def layer(self) -> str:
        """The name of the layer, such as "dense_flipout"."""
        return self.name.rpartition("/")[0] or self.name

    @property
    def is_about_zero(self) -> bool:
        """Whether the prior is proper, of fixed scales, and a mean of zero."""
        if not isinstance(self.term, KLRegularizer):
            return False
        prior, posterior = self.term.prior, self.term.posterior
        if prior.hyperpriors() or prior.divergence(posterior) is not None:
            return False
        return not np.any(getattr(prior, "loc", 0.0))

    def by_weight(self, integrate: bool = True) -> Array | None:
        """Computes what each weight adds; None if the KL is no such sum.

        Args:
            integrate: as in `tfpbnn.priors.kl.kl_by_weight`.
        """
        if not isinstance(self.term, KLRegularizer):
            return None
        found = self.term.by_weight(integrate)
        return None if found is None else keras.ops.convert_to_numpy(found)

    def by_unit(self, each: Array, reduce: Callable[..., Array]) -> Array:
        """Reduces an array of the weights' shape to one of their units."""
        units = {axis % each.ndim for axis in self.unit_axes}
        rest = tuple(i for i in range(each.ndim) if i not in units)
        return reduce(each, axis=rest)

    def units_at_prior(self, each: Array, threshold: float) -> Array:
        """Says which units stayed at the prior: their weights say nothing.

        Their KL is below the threshold on average, and nowhere twenty times as
        much.

        Args:
            each: the KL of each weight, in nats.
            threshold: in nats.
        """
        mean = self.by_unit(each, np.mean)
        most = self.by_unit(each, np.max)
        return (mean < threshold) & (most < _MOST * threshold)


def parts_of(model: Any) -> list[Part]:
    """Lists the KL of a built model by weight tensors, in their order.

    Those of frozen layers are among them.
    """
    variables = [
        v for v in model.variables if isinstance(v.regularizer, KLTerm)
    ]
    axes = dict(_unit_axes([model, *held_layers(model)]))
    names = each_once(weight_name(model, v) for v in variables)
    return [
        Part(name, v, axes.get(id(v), (-1,)))
        for name, v in zip(names, variables, strict=True)
    ]


def weight_name(model: Any, variable: keras.Variable) -> str:
    """Names a weight by the variable of its location: "dense/kernel"."""
    path = variable.path.removesuffix("_posterior/loc")
    return path.removeprefix(f"{model.name}/")


def _unit_axes(layers: Iterable[Any]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Finds the unit axes of weights, by the ids of their locations."""
    for layer in layers:
        for name, posterior in reading.attributes(layer, Family).items():
            if hasattr(layer, "unit_axes") and posterior.built:
                weight = name.removesuffix("_posterior")
                yield id(posterior.loc), layer.unit_axes(weight)


def collapsed(model: Any) -> dict[str, tuple[int, int]]:
    """Finds the kernels in training of which most units are noise.

    They stayed at a prior that says nothing itself: of fixed scales about zero.
    One about trained weights holds what these do, and learned scales shrink to
    take units away.

    Returns:
        How many units stayed, and of how many, by the name of the kernel.
    """
    found = {}
    for part in parts_of(model):
        if not part.variable.trainable or not part.is_about_zero:
            continue
        each = part.by_weight(integrate=False)
        if each is None or each.ndim < 2:
            continue
        at_prior = part.units_at_prior(each, AT_PRIOR)
        if 2 * at_prior.sum() > at_prior.size:
            found[part.name] = (int(at_prior.sum()), at_prior.size)
    return found
