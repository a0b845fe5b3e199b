"""What ensembles with stacked weights share."""

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
from tfpbnn.training.data_checks import CheckedEvaluate
from tfpbnn.training.steps_per_call import StepsPerCall


class Members(Sequence):
    """An ensemble's members, made when asked for.

    No list: Keras would save the models of all lists that a model has.
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


class StackedEnsemble(Posterior, CheckedEvaluate, StepsPerCall, keras.Model):
    """A Keras model of M networks, whose weights are stacks `[M, ...]`.

    Attributes:
        num_members: M.
        member_history: the losses of each member and epoch of the last `fit`:
            "loss" and, if there is validation data, "val_loss".
    """

    has_mean = False

    def __init__(
        self,
        members: Sequence[keras.Model],
        *,
        alike: bool,
        options: "fitting.Options",
        name: str | None,
        **kwargs: Any,
    ):
        """From networks, whose weights are copied.

        Args:
            members: M networks whose variables have the same shapes.
            alike: whether they differ in nothing else, so that one can stand
                for all.
            options: how they are trained.
            name: of the model.
            **kwargs: of any Keras model.
        """
        super().__init__(name=name, **kwargs)
        self.num_members = len(members)
        self.options = options
        self._batch = (
            choose_batch(self.num_members, options.member_batch)
            if alike
            else self.num_members
        )
        self._stacks = Stacks(self, members, alike)
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

        A sequence whose items are made when asked for, compiled as the ensemble
        is, with optimizers that start anew.
        """
        return Members(self)

    def member(self, number: int) -> keras.Model:
        """One of `members`."""
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
                vocabularies or an adapted Normalization, is not the member's.
        """
        own = self._stacks.network(number)
        if not networks.have_same_states([own, network]):
            raise ValueError(
                "`network` must have the vocabularies, adapted layers and "
                "other constants of the ensemble's member. Received: "
                f"{network.name}, with other ones. Make an ensemble by "
                "`DeepEnsemble.from_models`, whose members keep their own."
            )
        networks.check_stacks([own, network])
        variables = self._stacks.variables(network)
        self.set_member_values(number, [np.asarray(v) for v in variables])

    def member_values(self, number: int) -> list[Any]:
        """NumPy values of a member's variables."""
        return self._stacks.values(number)

    def set_member_values(self, number: int, values: Sequence[Any]) -> None:
        """Puts back what `member_values` gave."""
        self._stacks.assign(number, values)

    def average(self, inputs: Any, training: bool = False) -> Any:
        """The mean of the members' outputs."""

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
        """As `keras.Model.fit`, of all members at once.

        Args:
            *args: as in Keras.
            **kwargs: as in Keras; and `executor`, with `submit` as those of
                `concurrent.futures`, to fit members as jobs of their own,
                `directory`, where these leave the finished ones, and
                `members`, the numbers of those to fit.

        Returns:
            Keras's history: losses are averages over members, metrics are of
            the mean of their outputs (with orders of their own, of the outputs
            of all of them). `member_history` has each member's loss.

        Raises:
            TypeError: if targets are names, or other objects.
            ValueError: if the ensemble was not compiled; if arrays have NaN,
                or targets that the loss can't take; if data are not arrays
                where members are to have an order or weights of their own, or
                are jobs.
            MemberTrainingError: if jobs failed; the others are taken over.
        """
        return fitting.fit(self, super().fit, args, kwargs)

    def load_members(self, directory: Any) -> list[int]:
        """Takes over the members that jobs have finished, from their folder.

        Args:
            directory: what `fit` was given.

        Returns:
            The numbers of those that are not there.
        """
        return executors.load_members(self, directory)

    def templates(self) -> tuple[keras.Model, ...]:
        """The networks that members are traced with, by weights of others."""
        return self._stacks.networks

    def members_are_same(self) -> bool:
        """Whether there are several, and nothing that tells them apart."""
        is_one = self.num_members == 1 or len(self._stacks.networks) > 1
        return not is_one and self._stacks.are_same()

    def kl_terms(self) -> list[Learning]:
        """The mean of the members' KL, for `divergences.kl_terms`."""
        has_kl = any(map(kl_terms, self.templates()))
        return [self._learning] if has_kl else []

    def use_layout(self, layout: str) -> None:
        """Says what of the next data has an axis of members."""
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
        """Prints Keras's summary of one member: all are like it."""
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
        """Built by the constructor."""

    def load_own_variables(self, store: Any) -> None:
        """Loads the stacks, and sets the networks that they are traced with."""
        super().load_own_variables(store)
        self._stacks.settle()

    def save_assets(self, dir_path: str) -> None:
        """Saves what the networks have beside weights: Keras tracks none."""
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
