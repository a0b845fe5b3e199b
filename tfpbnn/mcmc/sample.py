"""From a Keras model and data to chains of its weights."""

import hashlib
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base import checks, data
from tfpbnn.base.types import Array, Config
from tfpbnn.layers.random_layer import is_variational
from tfpbnn.likelihoods import Likelihood
from tfpbnn.mcmc import adaptation, choosing, program, starts, variational
from tfpbnn.mcmc.checkpoint import Checkpoint
from tfpbnn.mcmc.checks import check_layers, check_memory, warn_of_chains
from tfpbnn.mcmc.kernels import KERNELS, Kernel
from tfpbnn.mcmc.log_density import LogDensity, Network, targets_of, tensors
from tfpbnn.mcmc.progress import ChainBar
from tfpbnn.mcmc.runner import Chains, Plan, Runner
from tfpbnn.mcmc.starts import Start
from tfpbnn.networks import copying, reading
from tfpbnn.posteriors.chains import STATISTICS, ChainPosterior
from tfpbnn.prediction.collect import resolve

_MASS_MATRICES = ("diag", "dense", None)
_STEP_SIZE = 0.1


def sample(
    model: keras.Model,
    x: Any,
    y: Any,
    kernel: str = "nuts",
    likelihood: Any = None,
    prior: Any = "normal",
    num_chains: int | None = None,
    num_warmup: int = 500,
    num_samples: int = 500,
    init: Any = "prior",
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
) -> ChainPosterior:
    """Draws a network's weights from their exact posterior.

    By Markov chains, each in a thread of its own, compiled by XLA. They are
    exact in the limit of long chains, and so what other methods are measured
    by; they cost thousands of passes over all data, and are for networks of up
    to some ten thousand weights and rows.

    Layers run as in inference. What no random weight comes before (lookups,
    normalizations, frozen layers) is computed once.

    Args:
        model: a built Keras model, which is not changed. Its trainable weights
            become random. Or a variational one: its posteriors' priors are
            those of the chains, and weights without one have `prior`.
        x: inputs, N rows: an array, or a list or dict of them.
        y: targets; of a model with several outputs a list, or a dict by name.
        kernel: "nuts", which finds the lengths of its paths itself, or "hmc".
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
        num_chains: how many chains; default 4, or one for each member of an
            ensemble that is `init`.
        num_warmup: steps in which step sizes and widths are adapted, and which
            are not kept.
        num_samples: draws of each chain that are kept.
        init: where chains begin: at draws of the "prior"; near modes ("map"),
            found by some steps of Adam from there; at draws of the model's own
            variational posterior ("vi"), whose widths are those that the
            chains begin with; at the weights of a model like this, or of the
            members of an ensemble of them.
        seed: an integer; None takes one from Python's `random`, which
            `keras.utils.set_random_seed` seeds. A chain's numbers depend on
            the seed and its place alone, not on how many others there are.
        thin: every how many steps a draw is kept.
        max_tree_depth: paths have at most 2 to this power steps.
        target_accept: the mean probability of acceptance that step sizes are
            adapted to. Nearer to 1 makes smaller steps and fewer divergences.
        mass_matrix: "diag" learns how wide each weight's posterior is, "dense"
            all covariances too (for up to some hundred weights), None neither.
        trainable_only: False makes frozen layers' weights random too.
        sample_weight: weights of rows, `[N]`: how often each one counts.
        verbose: "auto" (a progress bar if it takes over 2 s), 0 or 1.
        checkpoint: a file for the chains to be written to every so often. If
            it is there already, and of the same model, data and arguments,
            the chains go on from there, and are bit for bit those that they
            would have been.

    Returns:
        the posterior. An interrupt (Ctrl-C) gives what was drawn so far, as
        much of all chains.

    Raises:
        ValueError: if the model has no likelihood, BatchNorm that trains, or
            too many weights for the memory; if `prior` matches nothing; if the
            log-density is not finite where chains begin; if x or y has NaN; if
            the checkpoint is of other arguments.
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
        et al., 2021](https://arxiv.org/abs/2104.14421)
    """
    checks.one_of("kernel", kernel, sorted(KERNELS))
    checks.one_of("mass_matrix", mass_matrix, _MASS_MATRICES)
    for name, count in (("num_samples", num_samples), ("thin", thin)):
        checks.positive_integer(name, count)
    checks.positive_integer.optional("num_chains", num_chains)
    checks.integer("num_warmup", num_warmup, least=0)
    checks.open_fraction("target_accept", target_accept)
    checks.integer("max_tree_depth", max_tree_depth, least=1)
    given = checks.seed(seed)
    seed = random.any_seed() if given is None else given
    problem = _Problem(
        model, x, y, likelihood, prior, trainable_only, sample_weight
    )
    chains = num_chains or _natural_chains(init)
    check_memory(problem.parameters.size, chains, num_samples)
    plan = _plan(num_warmup, num_samples, thin, mass_matrix)
    file = checkpoint and Checkpoint(
        checkpoint,
        problem.fingerprint()
        | {
            "kernel": kernel,
            "num_chains": chains,
            "num_warmup": num_warmup,
            "num_samples": num_samples,
            "seed": seed,
            "thin": thin,
            "max_tree_depth": max_tree_depth,
            "target_accept": target_accept,
            "mass_matrix": mass_matrix,
        },
    )
    start = problem.start(init, chains, seed)
    mover = KERNELS[kernel](max_tree_depth, target_accept)
    runner = Runner(
        program.Program(
            problem.density,
            mover,
            jit_compile=True,
        ),
        plan,
        problem.density.data,
        file,
    )
    groups = _groups(start, mover, seed, mass_matrix)
    if file and (found := file.read([group.state for group in groups])):
        groups = [
            Chains(state, [] if trace is None else [trace])
            for state, trace in found
        ]
    bar = ChainBar(verbose, len(groups) * len(plan.flags), num_warmup)
    runner.compile(groups[0])
    finished = runner.run(groups, bar)
    bar.close()
    posterior = problem.posterior(groups, finished)
    warn_of_chains(posterior, problem.some_rows(), 2**max_tree_depth - 1)
    return posterior


class _Problem:
    """What is to be drawn: a network, its random weights, likelihood, data."""

    def __init__(
        self,
        model: Any,
        x: Any,
        y: Any,
        likelihood: Any,
        prior: Any,
        trainable_only: bool,
        sample_weight: Any,
    ):
        reading.check_built(model)
        self._model = model
        loss = likelihood or reading.compiled_loss(model)
        self.known: dict[int, Any] = {}
        if is_variational(model):
            self.network, self.known = variational.plain(model)
        else:
            self.network = copying.clone(model, compiled=False)
        check_layers(self.network, trainable_only)
        self.parameters = choosing.parameters(
            self.network,
            prior,
            trainable_only,
            {k: known.prior for k, known in self.known.items()},
        )
        self._x = data.as_arrays("x", x)
        rows = data.length(self._x)
        few = keras.tree.map_structure(lambda a: a[:2], self._x)
        network = Network(self.network, self.parameters, few)
        outputs = keras.tree.flatten(self.network(tensors(few), training=False))
        names = reading.output_names(self.network)
        self._loss = loss
        self._likelihoods: list[Likelihood | None] = list(
            resolve(loss, names, [output.shape[-1] for output in outputs])
        )
        targets = targets_of(y, names, self._likelihoods)
        data.check_finite("y", targets)
        for target in targets:
            if len(target) != rows:
                raise ValueError(
                    "`y` must have as many rows as x. Received: "
                    f"{len(target)}, and {rows} rows of x"
                )
        weights = _weights(sample_weight, rows, self.parameters.dtype)
        self.density = LogDensity(
            network,
            self.parameters,
            self._likelihoods,
            (network.features(self._x), targets, weights),
        )

    def some_rows(self) -> Any:
        """Inputs to look at predictions for."""
        return keras.tree.map_structure(lambda a: a[:20], self._x)

    def fingerprint(self) -> Config:
        """What chains depend on beside the arguments, as plain data."""
        digest = hashlib.sha256()
        for leaf in keras.tree.flatten(self.density.data):
            digest.update(np.ascontiguousarray(leaf).tobytes())
        return {
            "weights": [[n, list(s)] for n, s in self.parameters.names()],
            "data": digest.hexdigest(),
            "likelihood": repr(self._likelihoods),
        }

    def start(self, init: Any, chains: int, seed: int) -> Start:
        """Where the chains begin."""
        generators = [np.random.default_rng([seed, c]) for c in range(chains)]
        if isinstance(init, str):
            checks.one_of("init", init, ("prior", "map", "vi"))
        if init == "vi" and not self.known:
            raise ValueError(
                '`init="vi"` must be of a variational model, with layers such '
                "as tfpbnn.layers.DenseFlipout. Received: "
                f"model={self._model!r}, which has none; `init` may be one "
                "with the same weights"
            )
        if init == "vi":
            found = starts.from_posterior(
                self.parameters, self.known, generators
            )
        elif isinstance(init, str):
            found = starts.from_prior(self.parameters, self.density, generators)
            if init == "map":
                found = starts.optimized(self.density, found)
        else:
            found = starts.from_weights(
                self.parameters, _networks(init), chains
            )
        starts.check_finite(self.density, found)
        return found

    def posterior(
        self, groups: Sequence[Chains], finished: bool
    ) -> ChainPosterior:
        """The posterior of what was drawn."""
        traces = [group.snapshot()[1] for group in groups]
        counts = [0 if t is None else len(t.log_prob) for t in traces]
        if not min(counts):
            raise KeyboardInterrupt(
                "Interrupted before all chains had a draw: nothing was kept."
            )
        if not finished:
            warnings.warn(
                f"Interrupted: {min(counts)} draws of each chain are kept.",
                stacklevel=3,
            )
        trace = program.Trace(
            *(
                np.concatenate(
                    [np.swapaxes(leaf[: min(counts)], 0, 1) for leaf in leaves]
                )
                for leaves in zip(*traces, strict=True)
            )
        )
        return _collected(self, trace)


def _collected(problem: _Problem, trace: Any) -> ChainPosterior:
    parameters, network = problem.parameters, problem.network
    vectors = trace.vector.reshape((-1, parameters.size))
    weights, scales = tf.map_fn(
        lambda v: (parameters.weights(v), parameters.scales(v)),
        tf.constant(vectors),
        fn_output_signature=keras.tree.map_structure(
            lambda t: t.dtype,
            (parameters.weights(vectors[0]), parameters.scales(vectors[0])),
        ),
    )
    places = {id(v): i for i, v in enumerate(network.weights)}
    num_chains, num_samples = trace.log_prob.shape
    posterior = ChainPosterior(
        network,
        [places[id(v)] for v in parameters.variables],
        num_chains,
        num_samples,
        scales={name: s.shape[1:] for name, s in scales.items()},
    )
    posterior.set_draws(
        weights, scales, {name: getattr(trace, name) for name in STATISTICS}
    )
    for variable, stack in zip(parameters.variables, weights, strict=True):
        variable.assign(stack[0])
    posterior.compile("sgd", loss=problem._loss)
    return posterior


def _weights(given: Any, rows: int, dtype: str) -> Array:
    if given is None:
        return np.ones(rows, dtype)
    weights = np.asarray(given, dtype)
    if weights.shape != (rows,) or not (weights >= 0).all():
        raise ValueError(
            "`sample_weight` must be one number >= 0 for each row of x. "
            f"Received: an array of shape {weights.shape}, for {rows} rows"
        )
    return weights


def _plan(
    num_warmup: int, num_samples: int, thin: int, mass_matrix: str | None
) -> Plan:
    flags = adaptation.schedule(num_warmup, num_samples * thin)
    if mass_matrix is None:
        flags[:, adaptation.ADAPTS + 1 :] = False
    keep: Array = np.zeros(len(flags), bool)
    keep[num_warmup + thin - 1 :: thin] = True
    return Plan(flags, keep, num_warmup)


def _groups(
    start: Start, kernel: Kernel, seed: int, mass_matrix: str | None
) -> list[Chains]:
    """Each chain by itself."""
    groups = []
    for number, (vector, scale) in enumerate(zip(*start, strict=True)):
        key = np.random.SeedSequence([seed, number]).generate_state(2)
        state = program.initial(
            tf.constant(vector)[tf.newaxis],
            tf.constant(np.diag(scale) if mass_matrix == "dense" else scale)[
                tf.newaxis
            ],
            _STEP_SIZE / len(vector) ** 0.25,
            kernel.memory(
                vector[np.newaxis], np.random.default_rng([seed, number, 1])
            ),
            tf.constant(key.astype("int64") % 2**31, tf.int32),
        )
        groups.append(Chains(state))
    return groups


def _natural_chains(init: Any) -> int:
    return len(_networks(init)) if hasattr(init, "members") else 4


def _networks(init: Any) -> list[Any]:
    if not isinstance(init, keras.Model):
        raise TypeError(
            '`init` must be "prior", "map", "vi", a Keras model or an '
            f"ensemble. Received: init={init!r}"
        )
    return list(init.members) if hasattr(init, "members") else [init]
