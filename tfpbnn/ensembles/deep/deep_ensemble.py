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
from tfpbnn.networks.copying import compile_like, like_its_copies


@registry.register("ensembles")
class DeepEnsemble(StackedEnsemble):
    """An ensemble of M networks with their own weights, trained in one `fit`.

    The members' weights are stacks `[M, ...]` with one optimizer. The result of
    `fit` is the same, up to rounding, as that of fitting each network alone
    on the same batches. Gradients are clipped by the norms of each member.
    Optimizers whose step depends on whole tensors (Lamb, Muon, Adafactor)
    train members one after the other, with a warning.

    `tfpbnn.predict` and `tfpbnn.evaluate` use the mixture of the members'
    predictions, whose disagreement is the epistemic uncertainty. A plain call,
    and so Keras's own `predict` and metrics, gives the mean of the members'
    *outputs*. If these are logits, that is not the mixture.

    Args:
        model: a function without arguments that builds a network, or a built
            network. Members are then like that network: trained weights have
            new initial values, all else (frozen layers, adapted
            preprocessing) has the same. If it is compiled, so is the ensemble.
        num_members: the number of members M; 5 is usual.
        bootstrap: "poisson" gives each member its own weights of the rows,
            drawn once from a Poisson of mean 1, as in a bootstrap sample of
            the data. None weights all rows alike, which is usually better for
            deep networks.
        shuffle: "shared" if members see the same batches; "own" if each sees
            the rows in its own order, which copies each batch M times.
        member_batch: the number of members that run side by side in the
            graph, a divisor of M; a loop goes over such groups. "auto" takes
            the largest divisor up to 16.
        adversarial_epsilon: the step of adversarial training. Half of the loss
            is then that of inputs moved by this number in the direction of
            the sign of the loss's gradient. 0 for none; Lakshminarayanan et
            al. take 1 % of the inputs' range.
        share_frozen: whether members share the weights of frozen layers, such
            as those of a pretrained backbone, which then are in memory once,
            and in files too: those of the first member, not copied.
        seed: the seed of bootstrap weights and of the members' own orders.
            None takes one from Python's `random`, which
            `keras.utils.set_random_seed` seeds.
        name: the name of the model.
        **kwargs: the `dtype` of any Keras model.

    Call arguments:
        inputs: the inputs of a member.
        training: whether members run in training mode.

    Input shape:
        That of a member.

    Output shape:
        That of a member.

    Raises:
        TypeError: if `model` is neither a model nor a function.
        ValueError: if `num_members` is not positive; if the function returns
            the same network or layers twice, or networks that differ in more
            than their weights (for `share_frozen`, also in frozen ones); in
            `fit`, if there are no inputs of
            floating-point numbers for `adversarial_epsilon` to move.

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
        share_frozen: bool = False,
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
        # In a file the states and weights are to be read yet.
        is_apart = kwargs.pop("members_are_apart", None)
        alike = not is_apart and networks.have_same_states(members)
        if share_frozen and not alike:
            raise ValueError(
                "`share_frozen=True` needs members that differ in nothing but "
                "their weights. Received: members with other vocabularies, "
                "adapted layers or constants"
            )
        if share_frozen and is_apart is None:
            networks.check_same_frozen(members)
        super().__init__(
            members,
            alike=alike,
            options=options,
            name=name,
            share_frozen=share_frozen,
            **kwargs,
        )
        self.share_frozen = share_frozen
        if isinstance(model, keras.Model):
            compile_like(self, model)

    @classmethod
    def from_models(
        cls, models: Sequence[keras.Model], **kwargs: Any
    ) -> "DeepEnsemble | MixedEnsemble":
        """Makes an ensemble of given networks, with copies of their weights.

        Args:
            models: built networks whose outputs have the same shapes.
            **kwargs: the arguments of the constructor.

        Returns:
            A `DeepEnsemble` if the models differ in nothing but their weights;
            else a `MixedEnsemble`, which takes no further arguments but
            `name` and `dtype`.

        Raises:
            TypeError: if `models` is no list of networks.
            ValueError: if there is no model, two share trainable weights, or
                inputs or outputs have different shapes.
        """
        models = networks.check_given(models)
        if not networks.are_alike(models):
            return MixedEnsemble(models, **kwargs)
        remaining = map(like_its_copies, models)
        return cls(lambda: next(remaining), len(models), **kwargs)

    def get_config(self) -> Config:
        return super().get_config() | {"share_frozen": self.share_frozen}

    @classmethod
    def from_config(cls, config: Config, custom_objects: Any = None) -> Any:
        del custom_objects
        config = dict(config)
        members = config.pop("members")
        config["members_are_apart"] = len(members) > 1
        return cls(networks.again(members), **config)
