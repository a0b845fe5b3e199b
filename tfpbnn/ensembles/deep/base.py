"""Defines what ensembles with stacked weights share."""

import functools
import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base import keras_private
from tfpbnn.base.masks import masks_of, mean_of_stack
from tfpbnn.base.types import Config, Tensor
from tfpbnn.ensembles.deep import fitting, networks
from tfpbnn.ensembles.deep.batches import MemberBatch
from tfpbnn.ensembles.deep.history import MemberLosses
from tfpbnn.ensembles.deep.learning import Learning
from tfpbnn.ensembles.deep.stacks import Stacks
from tfpbnn.ensembles.deep.steps import choose_batch, for_each
from tfpbnn.ensembles.jobs import executors
from tfpbnn.layers.kl import kl_terms
from tfpbnn.networks import copying, states
from tfpbnn.networks.copying import compile_like
from tfpbnn.networks.stand_ins import callee
from tfpbnn.particles import Posterior
from tfpbnn.training.data_checks import CheckedData
from tfpbnn.training.steps_per_call import StepsPerCall


class Members(Sequence):
    """The members of an ensemble, each made when it is asked for.

    This is no list, since Keras saves all models in lists that a model has.
    """

    def __init__(self, ensemble: "StackedEnsemble"):
        self._ensemble = ensemble

    def __len__(self) -> int:
        return self._ensemble.num_members

    def __getitem__(self, index: Any) -> Any:
        numbers = range(len(self))[index]
        if isinstance(numbers, range):
            return [self._ensemble.member(number) for number in numbers]
        return self._ensemble.member(numbers)


class StackedEnsemble(Posterior, CheckedData, StepsPerCall, keras.Model):
    """A Keras model of M networks, whose weights are stacks `[M, ...]`.

    Attributes:
        num_members: the number of members M.
        member_history: the members' losses in the last `fit`: "loss" and,
            if there is validation data, "val_loss", with an array `[M]` for
            each epoch.
    """

    has_mean = False

    def __init__(
        self,
        members: Sequence[keras.Model],
        *,
        alike: bool,
        options: "fitting.Options",
        name: str | None,
        share_frozen: bool = False,
        **kwargs: Any,
    ):
        """Makes an ensemble of networks, whose weights are copied.

        Args:
            members: M networks whose variables have the same shapes.
            alike: whether they differ in nothing but their variables, so that
                all can be traced with one of them.
            options: the options of training.
            name: the name of the model.
            share_frozen: whether frozen weights are there once, of the first
                member; only for `alike` ones.
            **kwargs: the arguments of any Keras model.
        """
        super().__init__(name=name, **kwargs)
        self.num_members = len(members)
        self.options = options
        self._batch = (
            choose_batch(self.num_members, options.member_batch)
            if alike
            else self.num_members
        )
        self._stacks = Stacks(self, members, alike, share_frozen)
        # Keras saves them with the stacks, as it does any variables in a list.
        self._shared = list(self._stacks.shared)
        self._learning = Learning(
            self, self._stacks, self._batch, options.adversarial_epsilon
        )
        self._layout = "shared"
        self.train_losses = MemberLosses(self.num_members)
        self.test_losses = MemberLosses(self.num_members)
        self.member_history: dict[str, list[Any]] = {}
        self.num_draws = networks.num_draws(members)
        self.num_means = self.num_members
        self.built = True
        compile_like(self, members[0])

    @property
    def members(self) -> "Members":
        """The networks, as plain Keras models with copies of the weights.

        Each item of this sequence is made when it is asked for, and compiled as
        the ensemble is, with a fresh optimizer.
        """
        return Members(self)

    def member(self, number: int) -> keras.Model:
        """Makes one of `members`."""
        network = copying.fresh(self._stacks.network(number))
        variables = self._stacks.variables(network)
        copying.set_values(variables, self.member_values(number))
        copying.settle(network)
        compile_like(network, self)
        return network

    def set_member(self, number: int, network: keras.Model) -> None:
        """Replaces a member's weights by those of a network like it.

        Raises:
            ValueError: if what the network has beside weights, such as
                vocabularies or an adapted Normalization, is not the member's,
                its likelihood has other units, or its frozen weights are not
                those that members share.
        """
        networks.check_meaning([self, network])
        own = self._stacks.network(number)
        if not networks.have_same_states([own, network]):
            raise ValueError(
                "`network` must have the vocabularies, adapted layers and "
                "other constants of the ensemble's member. Received: "
                f"{network.name}, with other ones. Make an ensemble by "
                "`DeepEnsemble.from_models`, whose members keep their own."
            )
        network = copying.like_its_copies(network)
        networks.check_stacks([own, network])
        if not self._stacks.has_shared_of(network):
            raise ValueError(
                "`network` must have the frozen weights that members share. "
                f"Received: {network.name}, with other ones"
            )
        variables = self._stacks.variables(network)
        self.set_member_values(number, [np.asarray(v) for v in variables])

    def member_values(self, number: int) -> list[Any]:
        """Reads NumPy values of a member's variables."""
        return self._stacks.values(number)

    def set_member_values(self, number: int, values: Sequence[Any]) -> None:
        """Sets a member's variables to what `member_values` has read."""
        self._stacks.assign(number, values)

    def average(self, inputs: Any, training: bool = False) -> Any:
        """Computes the mean of the members' outputs."""

        def work(network: Any, state: Any, part: Any) -> Any:
            del part
            outputs, _ = self._stacks.call(
                network, state, lambda n: n(inputs, training=training)
            )
            return outputs, masks_of(outputs)

        return mean_of_stack(*for_each(self._stacks, self._batch, work))

    def compute_output_spec(self, inputs: Any, **kwargs: Any) -> Any:
        return self.draw_spec(inputs)

    def template(self) -> keras.Model:
        return self._stacks.network(0)

    def draw(self, x: Any, number: Tensor, key: Tensor | None) -> Any:
        member = tf.cast(number % self.num_members, tf.int32)
        state = self._stacks.slice(member)

        def run(network: keras.Model) -> Any:
            outputs, _ = self._stacks.call(
                network, state, lambda n: callee(n)(x, training=False)
            )
            return outputs

        branches = [
            functools.partial(run, network) for network in self._stacks.networks
        ]
        if len(branches) == 1:
            return branches[0]()
        return tf.switch_case(member, branches)

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Fits all members at once, with the arguments of `keras.Model.fit`.

        Args:
            *args: the arguments of `keras.Model.fit`.
            **kwargs: the arguments of `keras.Model.fit`, and three more to fit
                members as separate jobs: `executor`, an object with `submit`
                like the executors of `concurrent.futures`; `directory`, the
                folder where jobs leave finished members; and `members`, the
                indices of the members to fit (default: all).

        Returns:
            Keras's history. Losses are averages over members. Metrics are those
            of the mean of the members' outputs; if members see rows in their
            own orders, of the outputs of all members. Each member's loss is
            in `member_history`.

        Raises:
            TypeError: if targets are strings or other objects.
            ValueError: if the ensemble was not compiled; if arrays have NaN,
                or targets that the loss can't take; if members are quantized
                to float8; if data are not arrays
                though members have their own orders or weights of rows, or
                are trained as jobs.
            MemberTrainingError: if jobs failed; the weights of the other
                members are set all the same.
        """
        networks.check_trainable(self.templates())
        return fitting.fit(self, super().fit, args, kwargs)

    def load_members(self, directory: Any) -> list[int]:
        """Sets the weights of members that jobs have left in a folder.

        Args:
            directory: the `directory` that `fit` was given.

        Returns:
            The indices of the members that are not there.
        """
        return executors.load_members(self, directory)

    def templates(self) -> tuple[keras.Model, ...]:
        """Returns the networks that members are traced with."""
        return self._stacks.networks

    def members_are_same(self) -> bool:
        """Says whether all members would learn the same: they start alike."""
        is_one = self.num_members == 1 or len(self._stacks.networks) > 1
        return not is_one and self._stacks.are_same()

    def kl_terms(self) -> list[Learning]:
        """Returns the term of the members' mean KL, if they have a KL."""
        has_kl = any(map(kl_terms, self.templates()))
        return [self._learning] if has_kl else []

    def use_layout(self, layout: str) -> None:
        """Sets which of the next data have an axis of members."""
        if layout != self._layout:
            self._layout = layout
            self.train_function = None  # It has seen the other one.

    def train_step(self, data: Any) -> dict[str, Tensor]:
        given = keras.utils.unpack_x_y_sample_weight(data)
        batch = MemberBatch(self._layout, *given)
        self._learning.build(batch)
        found = self._learning.train(batch)
        return self._logged(self.train_losses, batch, *found)

    def test_step(self, data: Any) -> dict[str, Tensor]:
        fitting.check_scoring(self)
        given = keras.utils.unpack_x_y_sample_weight(data)
        batch = MemberBatch("shared", *given)
        self._learning.build(batch)
        found = self._learning.test(batch)
        return self._logged(self.test_losses, batch, *found)

    def _logged(
        self,
        kept: MemberLosses,
        batch: MemberBatch,
        losses: Tensor,
        y_pred: Any,
        mask: Any,
    ) -> dict[str, Tensor]:
        rows = batch.num_rows
        kept.update(losses, rows)
        keras_private.loss_tracker(self).update_state(
            tf.reduce_mean(losses, axis=0), sample_weight=rows
        )
        y, outputs, weights = batch.scored(y_pred, mask)
        return self.compute_metrics(None, y, outputs, weights)

    def summary(self, *args: Any, **kwargs: Any) -> None:
        """Prints Keras's summary of one member; the others are like it."""
        print(f"{self.name}: {self.num_members} members like")
        self.template().summary(*args, **kwargs)

    def get_config(self) -> Config:
        return {
            "name": self.name,
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
            "members": [
                copying.config_of(network) for network in self._stacks.networks
            ],
            "num_members": self.num_members,
            **self.options.config(),
        }

    def get_build_config(self) -> None:
        """Returns nothing, since the constructor builds the model."""

    def load_own_variables(self, store: Any) -> None:
        """Loads the stacks, and sets the networks to trace members with."""
        super().load_own_variables(store)
        self._stacks.settle()

    def save_assets(self, dir_path: str) -> None:
        """Saves what the networks have beside weights, unknown to Keras."""
        for number, network in enumerate(self._stacks.networks):
            folder = pathlib.Path(dir_path) / str(number)
            folder.mkdir()
            states.save(network, folder)

    def load_assets(self, dir_path: str | None) -> None:
        """Loads what `save_assets` has saved; earlier files have nothing."""
        for number, network in enumerate(self._stacks.networks):
            folder = pathlib.Path(dir_path or "") / str(number)
            if dir_path and folder.exists():
                states.load(network, folder)
