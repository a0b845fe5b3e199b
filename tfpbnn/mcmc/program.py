"""The compiled program that moves chains, in warm-up and afterwards."""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base.types import Array, Tensor, Tree
from tfpbnn.densities.log_density import LogDensity
from tfpbnn.mcmc import adaptation
from tfpbnn.mcmc.adaptation import StepSize, Widths
from tfpbnn.mcmc.kernels import Kernel, Stage, Step, Target
from tfpbnn.mcmc.kernels.base import chosen

# The most steps of one call: the sizes of what it returns are fixed.
MOST_STEPS = 64


class ChainState(NamedTuple):
    """Where C chains are.

    Attributes:
        vector: their positions, `[C, D]`.
        step_size: adapted step sizes.
        widths: adapted widths.
        memory: the kernel's.
        step: how many steps were made, a scalar.
        key: of the chains' random numbers, `[2]`.
    """

    vector: Tensor
    step_size: StepSize
    widths: Widths
    memory: Any
    step: Tensor
    key: Tensor


class Trace(NamedTuple):
    """What steps have left, `[steps, C, ...]`; those that are kept first."""

    vector: Tensor
    log_prob: Tensor
    acceptance: Tensor
    energy: Tensor
    is_divergent: Tensor
    num_gradients: Tensor
    step_size: Tensor


def initial(
    vector: Tensor,
    scale: Tensor,
    step_size: StepSize,
    memory: Any,
    key: Tensor,
    with_slopes: bool,
) -> ChainState:
    """Chains that have not moved yet.

    Args:
        vector: `[C, D]`.
        scale: `[G, D]` or `[G, D, D]`, as in `Widths`.
        step_size: to begin with, of each chain.
        memory: the kernel's.
        key: `[2]`.
        with_slopes: whether widths are learned from gradients too.
    """
    return ChainState(
        vector,
        step_size,
        adaptation.start(scale, vector.shape[0], with_slopes),
        keras.tree.map_structure(tf.constant, memory),
        tf.constant(0),
        key,
    )


class Program:
    """Moves chains by up to `MOST_STEPS` steps a call.

    One program serves warm-up and sampling: what a step does is data. Its
    numbers depend on the chain's key and the number of the step alone, so not
    on how steps are cut into calls.
    """

    def __init__(
        self,
        density: LogDensity,
        kernel: Kernel,
    ):
        self._density = density
        self._kernel = kernel
        self._function = density.compiler.compiled(self._run)

    def __call__(
        self, state: ChainState, flags: Any, keep: Any, data: Tree
    ) -> tuple[ChainState, Trace]:
        """Moves the chains by `len(keep)` steps.

        Args:
            state: where they are.
            flags: of all steps of the plan, as from `adaptation.schedule`:
                the same in every call, since XLA may take them for constants
                and would compile anew for others.
            keep: whether a step's position is to be returned, of each.
            data: what the log-density takes beside vectors.

        Returns:
            the chains afterwards, and what was kept.
        """
        count = len(keep)
        keeps = tf.pad(tf.constant(keep), [[0, MOST_STEPS - count]])
        state, trace = self._function(
            state, tf.constant(_table(flags)), keeps, tf.constant(count), data
        )
        kept = int(sum(keep))
        return state, Trace(*(t[:kept] for t in trace))

    def _run(
        self,
        state: ChainState,
        flags: Tensor,
        keep: Tensor,
        count: Tensor,
        data: Tree,
    ) -> tuple[ChainState, Trace]:
        def body(i: Tensor, slot: Tensor, state: Any, arrays: Any) -> Any:
            row = tf.minimum(state.step, flags.shape[0] - 1)
            state, record = self._step(state, flags[row], data)
            # A step that is not kept is written over by the next.
            arrays = [
                a.write(slot, r) for a, r in zip(arrays, record, strict=True)
            ]
            return i + 1, slot + tf.cast(keep[i], tf.int32), state, arrays

        dtype = state.vector.dtype
        chains = state.vector.shape[0]
        kinds = Trace(dtype, dtype, dtype, dtype, tf.bool, tf.int32, dtype)
        shapes = [state.vector.shape] + [[chains]] * (len(kinds) - 1)
        arrays = [
            tf.TensorArray(
                kind,
                MOST_STEPS + 1,
                element_shape=shape,
                clear_after_read=False,
            )
            for kind, shape in zip(kinds, shapes, strict=True)
        ]
        zero = tf.constant(0)
        _, _, state, arrays = tf.while_loop(
            lambda i, *_: i < count, body, (zero, zero, state, arrays)
        )
        return state, Trace(*(a.stack() for a in arrays))

    def _step(
        self, state: ChainState, flags: Tensor, data: Tree
    ) -> tuple[ChainState, Trace]:
        widths, step_size = state.widths, state.step_size
        stage = Stage(flags[adaptation.ADAPTS], flags[adaptation.IS_EARLY])
        seed = tf.random.experimental.stateless_fold_in(state.key, state.step)
        log_size = tf.where(stage.adapts, step_size.log, step_size.average)
        size = tf.exp(log_size)
        target = Target(
            lambda z: self._density(widths.out(z), data),
            lambda z: self._density.view(widths.out(z), data),
        )
        found = self._kernel.step(
            target,
            widths.into(state.vector),
            size,
            seed,
            state.memory,
            stage,
        )
        vector = widths.out(found.position)
        state = self._adapted(state, flags, vector, found)
        return state, Trace(
            vector,
            found.log_prob,
            found.acceptance,
            found.energy,
            found.is_divergent,
            found.num_gradients,
            size,
        )

    def _adapted(
        self, state: ChainState, flags: Tensor, vector: Tensor, found: Step
    ) -> ChainState:
        """The chains after a step, with what they learn of it."""
        adapts, counts, ends, _ = tf.unstack(flags)
        widths = chosen(
            counts, state.widths.counted(vector, found.slope), state.widths
        )
        new = tf.cond(ends, widths.ended, lambda: widths)
        memory = self._kernel.carried(found.memory)
        tried = adaptation.updated(
            state.step_size, found.acceptance, self._kernel.target_accept
        )
        step_size = chosen(adapts, tried, state.step_size)
        # After a window all is other than before: dual averaging begins anew.
        anew = adaptation.start_at(step_size.average)
        return ChainState(
            vector,
            chosen(ends, anew, step_size),
            new,
            chosen(ends, memory, found.memory),
            state.step + 1,
            state.key,
        )


def _table(flags: Any) -> Array:
    """The flags of warm-up's steps, with a last row for all steps after it.

    A power of two of rows, so that plans of other lengths have one program.
    """
    busy = np.flatnonzero(np.any(flags, axis=1))
    count = int(busy[-1]) + 2 if len(busy) else 1
    table: Array = np.zeros((1 << (count - 1).bit_length(), 4), bool)
    known = flags[: len(table)]
    table[: len(known)] = known
    return table
