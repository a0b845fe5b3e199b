"""From a Keras model and data to chains of its weights."""

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base import checks
from tfpbnn.base.types import Array
from tfpbnn.densities.problem import Problem
from tfpbnn.mcmc import adaptation, starts
from tfpbnn.mcmc.chains import Chains, Plan
from tfpbnn.mcmc.checkpoint import Checkpoint
from tfpbnn.mcmc.checks import check_memory, check_program, warn_of_chains
from tfpbnn.mcmc.collecting import collect
from tfpbnn.mcmc.kernels import KERNELS, Kernel
from tfpbnn.mcmc.places import Places
from tfpbnn.mcmc.program import Program, initial
from tfpbnn.mcmc.progress import ChainBar
from tfpbnn.mcmc.runner import Runner
from tfpbnn.posteriors.chains import ChainPosterior

_MASS_MATRICES = ("diag", "dense", None)
_STEP_SIZE = 0.1


def sample(
    model: keras.Model,
    x: Any,
    y: Any = None,
    kernel: str = "nuts",
    likelihood: Any = None,
    prior: Any = "normal",
    num_chains: int | None = None,
    num_warmup: int = 500,
    num_samples: int = 500,
    init: Any = None,
    seed: int | None = None,
    *,
    thin: int = 1,
    max_tree_depth: int = 10,
    target_accept: float = 0.8,
    mass_matrix: str | None = "diag",
    trainable_only: bool = True,
    sample_weight: Any = None,
    verbose: Any = "auto",
    checkpoint: Any = None,
    row_shards: int | None = None,
) -> ChainPosterior:
    """Draws a network's weights from their exact posterior.

    By Markov chains, each in a thread of its own, compiled by XLA. They are
    exact in the limit of long chains, and so what other methods are measured
    by; they cost thousands of passes over all data, and are for networks of up
    to some ten thousand weights and rows.

    Under a tf.distribute strategy, that of the scope or which the model was
    built under, its devices take turns with the chains, and so do its workers,
    each of which has all chains in the end. Chains are the same on any number
    of devices of a kind, and of workers.

    Layers run as in inference. What no random weight comes before (lookups,
    normalizations, frozen layers) is computed once.

    Args:
        model: a built Keras model, which is not changed. Its trainable weights
            become random. Or a variational one: its posteriors' priors are
            those of the chains, and weights without one have `prior`.
        x: inputs, N rows: an array, or a list or dict of them; or a dataset,
            PyDataset or finite generator of batches (x, y) or (x, y, weights),
            which is read once and kept in memory.
        y: targets; of a model with several outputs a list, or a dict by name.
            None takes those of the dataset.
        kernel: how chains move. "nuts" finds the length of each of its paths
            itself; "hmc" draws them. "chees" and "snaper" are for 16 to 256
            chains, which learn together how long paths are to be for their
            predictions to change most, and all move at once, so that none
            waits for another.
            "mclmc" rejects nothing, for which it has a bias: variances are off
            by up to a twentieth.
        likelihood: what the outputs mean, as in `tfpbnn.predict`; by default
            read off the compiled loss.
        prior: a prior for all weights, by name or as an object of
            `tfpbnn.priors`; or a dict of priors by layers' names or patterns
            of weights' paths (`{"dense": ..., "*/bias": ...}`), of which the
            first that matches counts, and all others are Normal(0, 1). None
            leaves a weight as it is. Scales that are learned or hierarchical
            are drawn along. The scale of a `HomoscedasticScale` layer has a
            half-Cauchy prior with the layer's `initial_scale` as its median,
            unless a hyperprior is given for it.
        num_chains: how many chains; default 4 (of "chees" and "snaper" 16), or
            one for each member of an ensemble that is `init`.
        num_warmup: steps in which step sizes and widths are adapted, and which
            are not kept.
        num_samples: draws of each chain that are kept.
        init: where chains begin: at draws of the "prior" (default); where such
            draws come to while the likelihood grows from little to all
            ("annealed", default of "chees" and "snaper"), in 7680 gradients;
            near modes ("map"), found by some steps of Adam from such draws,
            which may be modes that hold little; at draws of the model's own
            variational
            posterior ("vi"), whose widths are those that the chains begin
            with; at the weights of a model like this, or of the members of an
            ensemble of them. What is not random in these (frozen layers,
            normalizations) must be as in `model`.
        seed: an integer; None takes one from Python's `random`, which
            `keras.utils.set_random_seed` seeds. A chain's numbers depend on
            the seed and its place alone, not on how many others there are,
            unless chains learn from each other.
        thin: every how many steps a draw is kept.
        max_tree_depth: paths have at most 2 to this power steps.
        target_accept: the mean probability of acceptance that step sizes are
            adapted to. Nearer to 1 makes smaller steps and fewer divergences.
        mass_matrix: "diag" learns how wide each weight's posterior is, "dense"
            all covariances too (for up to some hundred weights), None neither.
        trainable_only: False makes frozen layers' weights random too.
        sample_weight: how often each row counts, `[N]`, or each place of the
            outputs, `[N, ...]`: the log-likelihood is the sum over places of
            weight times log-density. For several outputs one for all, or one
            for each as in y. None takes those of the dataset, or 1.
        verbose: "auto" (a progress bar if it takes over 2 s), 0 or 1.
        checkpoint: a file for the chains to be written to every so often. If
            it is there already, and of the same model, data and arguments,
            the chains go on from there, and are bit for bit those that they
            would have been. A larger `num_samples` goes on from the end. Of
            several workers each has a file, to whose name its number is added.
        row_shards: for data too large for one device: cuts the rows into so
            many shards, which a strategy's devices take turns with. Each step
            of a chain then uses all devices. Chains depend on it by rounding
            alone, and not on the number of devices; None keeps all rows
            together.

    Returns:
        the posterior. An interrupt (Ctrl-C) gives what was drawn so far, as
        much of all chains.

    Raises:
        ValueError: if the model has no likelihood, BatchNorm that trains, or
            too many weights for the memory; if `prior` matches nothing; if the
            log-density is not finite where chains begin; if x or y has NaN; if
            the checkpoint is of other arguments; if there are more shards
            than rows; if workers have other data or arguments, or are to share
            chains that move all at once.
        TypeError: if the model is variational and subclassed.
        KeyboardInterrupt: if it comes before there is any draw.

    Example:
    ```python
    model = keras.Sequential([
        keras.Input((4,)),
        keras.layers.Dense(8, activation="tanh"),
        keras.layers.Dense(1),
        tfpbnn.layers.HomoscedasticScale(),
    ])
    posterior = tfpbnn.mcmc.sample(
        model, x, y, likelihood=tfpbnn.likelihoods.Normal(),
        num_warmup=50, num_samples=50,
    )
    tfpbnn.predict(posterior, x).mean
    ```

    Reference:
        [Hoffman and Gelman, 2014](https://arxiv.org/abs/1111.4246); [Izmailov
        et al., 2021](https://arxiv.org/abs/2104.14421); chains from the members
        of an ensemble, [Sommer et al.,
        2025](https://arxiv.org/abs/2502.06335)
    """
    is_pooled = KERNELS.get(kernel, Kernel).is_pooled
    if init is None:
        init = "annealed" if is_pooled else "prior"
    checks.positive_integer.optional("row_shards", row_shards)
    places = Places(model)
    settings = Settings(
        kernel=kernel,
        num_chains=(
            starts.natural_count(init, is_pooled)
            if num_chains is None
            else num_chains
        ),
        num_warmup=num_warmup,
        num_samples=num_samples,
        seed=places.seed(random.any_seed() if seed is None else seed),
        thin=thin,
        max_tree_depth=max_tree_depth,
        target_accept=target_accept,
        mass_matrix=mass_matrix,
    )
    problem = Problem(
        model,
        x,
        y,
        likelihood,
        prior,
        trainable_only,
        sample_weight,
        places.devices,
        row_shards,
    )
    posterior = _drawn(problem, settings, places, init, checkpoint, verbose)
    most = 2**max_tree_depth - 1
    warn_of_chains(posterior, problem.some_rows(), most)
    return posterior


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """How to draw, as given to `sample`."""

    kernel: str
    num_chains: int
    num_warmup: int
    num_samples: int
    seed: int
    thin: int
    max_tree_depth: int
    target_accept: float
    mass_matrix: str | None

    def __post_init__(self) -> None:
        checks.one_of("kernel", self.kernel, sorted(KERNELS))
        checks.positive_integer("num_chains", self.num_chains)
        checks.integer("num_warmup", self.num_warmup, least=0)
        checks.positive_integer("num_samples", self.num_samples)
        checks.seed(self.seed)
        checks.integer("seed", self.seed, least=0)
        checks.positive_integer("thin", self.thin)
        checks.positive_integer("max_tree_depth", self.max_tree_depth)
        checks.open_fraction("target_accept", self.target_accept)
        checks.one_of("mass_matrix", self.mass_matrix, _MASS_MATRICES)
        if KERNELS[self.kernel].is_pooled and self.num_chains < 2:
            raise ValueError(
                f"`num_chains` must be at least 2 for kernel={self.kernel!r}, "
                "whose chains learn from each other (16 or more is better). "
                f"Received: num_chains={self.num_chains}"
            )

    @property
    def mover(self) -> Kernel:
        return KERNELS[self.kernel](self.max_tree_depth, self.target_accept)

    @property
    def plan(self) -> Plan:
        """What each step does."""
        steps = self.num_samples * self.thin
        flags = adaptation.schedule(self.num_warmup, steps)
        if self.mass_matrix is None:
            flags[:, [adaptation.COUNTS, adaptation.ENDS]] = False
        keep: Array = np.zeros(len(flags), bool)
        keep[self.num_warmup + self.thin - 1 :: self.thin] = True
        return Plan(flags, keep, self.num_warmup)


def _drawn(
    problem: Problem,
    settings: Settings,
    places: Places,
    init: Any,
    checkpoint: Any,
    verbose: Any,
) -> ChainPosterior:
    """Runs the chains of this worker; returns the posterior of all."""
    is_pooled = settings.mover.is_pooled
    check_memory(
        problem.parameters.size, settings.num_chains, settings.num_samples
    )
    if is_pooled:
        check_program(problem.density, settings.num_chains)
    written = problem.fingerprint() | dataclasses.asdict(settings)
    written["init"] = starts.fingerprint(init)
    places.check(written, is_pooled)
    file = None
    if checkpoint is not None:
        del written["num_samples"]  # so that there may be more
        file = Checkpoint(places.path(checkpoint), written)
    groups = places.own(_groups(problem, init, settings))
    if file is not None:
        groups = file.resumed(groups, len(settings.plan.flags))

    def run() -> Any:
        finished = _run(problem, settings, groups, file, verbose, places)
        return [group.snapshot()[1] for group in groups], finished

    return collect(problem, *places.joined(run))


def _run(
    problem: Problem,
    settings: Settings,
    groups: list[Chains],
    file: Checkpoint | None,
    verbose: Any,
    places: Places,
) -> bool:
    """Moves the chains to the end of the plan; whether they got there."""
    density, plan = problem.density, settings.plan
    moves = Program(density, settings.mover)
    runner = Runner(moves, plan, density.data, file, places.devices)
    bar = ChainBar(verbose, len(groups) * len(plan.flags))
    if any(group.done < len(plan.flags) for group in groups):
        runner.compile(groups)
    bar.begin(sum(group.done for group in groups))  # compiling is no step
    finished = runner.run(groups, bar)
    bar.close()
    return finished


def _groups(problem: Problem, init: Any, settings: Settings) -> list[Chains]:
    """Chains that have not moved: each by itself, or all in one group."""
    is_pooled = settings.mover.is_pooled
    start = starts.find(
        problem, init, settings.num_chains, settings.seed, is_pooled
    )
    if is_pooled:
        scale = start.scale
        if settings.mass_matrix == "dense":
            scale = scale.mean(axis=0, keepdims=True)
        return [_group(0, start.vector, scale, problem, settings)]
    return [
        _group(number, vector[np.newaxis], scale[np.newaxis], problem, settings)
        for number, (vector, scale) in enumerate(zip(*start, strict=True))
    ]


def _group(
    number: int,
    vector: Array,
    scale: Array,
    problem: Problem,
    settings: Settings,
) -> Chains:
    """Chains at `[C, D]` that one program moves, with widths `[G, D]`."""
    generator = np.random.default_rng([settings.seed, number, 1])
    if settings.mass_matrix == "dense":
        scale = scale[:, :, np.newaxis] * np.eye(scale.shape[-1])
    log = np.full_like(
        vector[:, 0], np.log(_STEP_SIZE / vector.shape[-1] ** 0.25)
    )
    state = initial(
        tf.constant(vector),
        tf.constant(scale.astype(vector.dtype)),
        adaptation.start_at(tf.constant(log)),
        settings.mover.memory(vector, problem.density.seen, generator),
        tf.constant(starts.integers(settings.seed, number)),
        settings.mover.learns_from_slopes,
    )
    return Chains(state)
