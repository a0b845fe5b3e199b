"""Ensembles of networks that differ in their initial weights."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from tfpbnn.base import checks, registry
from tfpbnn.base.types import Config
from tfpbnn.ensembles.deep import networks
from tfpbnn.ensembles.deep.base import StackedEnsemble
from tfpbnn.ensembles.deep.fitting import Options
from tfpbnn.ensembles.deep.mixed_ensemble import MixedEnsemble
from tfpbnn.networks.copying import compile_like


@registry.register("ensembles")
class DeepEnsemble(StackedEnsemble):
    """M networks with weights of their own, trained in one `fit`.

    Their weights are stacks `[M, ...]` with one optimizer: what `fit` does is
    the same, up to rounding, as to fit each network alone on the same batches.
    Gradients are clipped by the norms of each member. Optimizers whose step
    depends on whole tensors (Lamb, Muon, Adafactor) train members one after
    the other, with a warning.

    `tfpbnn.predict` and `evaluate` average over the members: what they disagree
    in is the epistemic part. Called like any model, so in Keras's own `predict`
    and its metrics, it gives the mean of the members' *outputs*: of logits, if
    the model has them, which is not their mixture.

    Args:
        model: a function without arguments that builds a network, or a built
            network: members are then like it, with new initial weights for
            what is trained, and the same values of all else (frozen layers,
            adapted preprocessing). If it is compiled, so is the ensemble.
        num_members: how many members M; 5 is usual.
        bootstrap: "poisson": each member sees rows with weights of its own,
            Poisson of mean 1, drawn once: a bootstrap sample of the data. None:
            all rows alike, which for deep networks is usually better.
        shuffle: "shared": members see the same batches. "own": each has an
            order of its own, which costs M times the copies of batches.
        member_batch: how many members are side by side in the graph, a divisor
            of M; the rest is a loop. "auto": up to 16.
        adversarial_epsilon: how far inputs are moved, each by this number
            against its gradient's sign, for the second half of the loss: 0 for
            none. Lakshminarayanan et al. take 1 % of the inputs' range.
        seed: of bootstrap weights and own orders; None takes one from Python's
            `random`, which `keras.utils.set_random_seed` seeds.
        name: of the model.
        **kwargs: `dtype` of any Keras model.

    Call arguments:
        inputs: as of a member.
        training: as of a member.

    Input shape:
        That of a member.

    Output shape:
        That of a member.

    Raises:
        TypeError: if `model` is neither a model nor a function.
        ValueError: if `num_members` is not positive; if the function gives one
            object twice, or layers, or networks that differ in more than their
            weights; in `fit`, if there are no inputs of floating-point numbers
            for `adversarial_epsilon` to move.

    Example:
    ```python
    def build():
        return keras.Sequential([
            keras.Input((4,)),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(2),
        ])

    ensemble = tfpbnn.ensembles.DeepEnsemble(build, num_members=5)
    ensemble.compile("adam", loss=tfpbnn.likelihoods.Normal())
    ensemble.fit(x, y, epochs=2)
    tfpbnn.predict(ensemble, x).epistemic_variance
    ```

    Reference:
        [Lakshminarayanan et al., 2017](https://arxiv.org/abs/1612.01474)
    """

    def __init__(
        self,
        model: keras.Model | Callable[[], keras.Model],
        num_members: int = 5,
        *,
        bootstrap: str | None = None,
        shuffle: str = "shared",
        member_batch: int | str = "auto",
        adversarial_epsilon: float = 0.0,
        seed: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ):
        options = Options(
            bootstrap, shuffle, member_batch, adversarial_epsilon, seed
        )
        members = networks.make(
            model, checks.positive_integer("num_members", num_members)
        )
        networks.check_alike(members)
        # In a file the states are to be read yet.
        is_apart = kwargs.pop("members_are_apart", False)
        super().__init__(
            members,
            alike=not is_apart and networks.have_same_states(members),
            options=options,
            name=name,
            **kwargs,
        )
        if isinstance(model, keras.Model):
            compile_like(self, model)

    @classmethod
    def from_models(
        cls, models: Sequence[keras.Model], **kwargs: Any
    ) -> "DeepEnsemble | MixedEnsemble":
        """An ensemble of networks that exist, with copies of their weights.

        Args:
            models: built networks whose outputs have the same shapes.
            **kwargs: of the constructor.

        Returns:
            A `DeepEnsemble` if they differ in nothing but their weights; else
            a `MixedEnsemble`, which takes no further arguments but `name`.

        Raises:
            TypeError: if `models` is no list of networks.
            ValueError: if there is none, two share what is trained, or inputs
                or outputs have different shapes.
        """
        models = networks.check_given(models)
        if not networks.are_alike(models):
            return MixedEnsemble(models, **kwargs)
        remaining = iter(models)
        return cls(lambda: next(remaining), len(models), **kwargs)

    @classmethod
    def from_config(cls, config: Config, custom_objects: Any = None) -> Any:
        del custom_objects
        config = dict(config)
        members = config.pop("members")
        config["members_are_apart"] = len(members) > 1
        return cls(networks.again(members), **config)
