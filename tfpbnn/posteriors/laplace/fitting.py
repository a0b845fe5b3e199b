"""Fits a Laplace approximation to a trained network."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tfpbnn.base import checks
from tfpbnn.base.by_output import each_once
from tfpbnn.likelihoods import Bernoulli, Categorical
from tfpbnn.networks import copying, reading
from tfpbnn.networks.copying import compile_like
from tfpbnn.posteriors.laplace import prior, subsets
from tfpbnn.posteriors.laplace.batches import Batches
from tfpbnn.posteriors.laplace.curvature import Curvature, Fitted
from tfpbnn.posteriors.laplace.held_blocks import form_of
from tfpbnn.posteriors.laplace.hessians import has_fisher
from tfpbnn.posteriors.laplace.posterior import LINKS, LaplacePosterior
from tfpbnn.posteriors.laplace.shares import shares
from tfpbnn.posteriors.laplace.structures import RANKS, STRUCTURES
from tfpbnn.prediction.collect import resolve
from tfpbnn.prediction.predict import evaluate

_HESSIANS = ("empirical_fisher", "fisher", "ggn")
_WAYS = ("grid", "marginal_likelihood", "marginal_likelihood_by_layer")
_GRID = np.logspace(-4, 4, 17)


def laplace(
    model: keras.Model,
    x: Any,
    y: Any = None,
    subset: Any = "last_layer",
    structure: str = "kron",
    hessian: str = "ggn",
    prior_precision: Any = "marginal_likelihood",
    link: str = "linearized",
    *,
    rank: int | None = None,
    sample_weight: Any = None,
    validation_data: Any = None,
    likelihood: Any = None,
    batch_size: int = 256,
) -> LaplacePosterior:
    """Makes a trained network Bayesian: a Normal around its weights.

    Its precision is the curvature of the log-likelihood at the weights, summed
    over all data in one pass, plus that of a Normal prior of mean 0. The model
    is copied and stays as it is. It should be trained to the end: the curvature
    is that of a maximum.

    Args:
        model: a built network, compiled with a likelihood, or a loss that is
            one.
        x: the inputs of training: an array, a structure of arrays, or a
            tf.data.Dataset, PyDataset or loader of (x, y) or (x, y, weight)
            batches, which need not fit the memory.
        y: the targets, unless x brings them. Of several outputs a dict by
            their names, or a list.
        subset: the weights that get a distribution; others stay as they are.
            "last_layer" (the last one with a kernel), "all" (that train), a
            name of a layer or pattern of paths, a list of these, or a function
            of a variable that says whether it does.
        structure: "diag" (each weight by itself), "kron" (for each kernel a
            product of the curvature of its inputs and that of its outputs),
            "full" (all weights with all: 40 bytes for each pair of them),
            "low_rank" (the largest eigenvalues of "full", by several passes) or
            "subnetwork" ("full" over the single weights of the largest
            variances by "diag"; the others stay as they are).
        hessian: "ggn", the generalized Gauss-Newton matrix, with the Fisher
            information of the likelihood in the outputs, or, where that has no
            closed form, with its Hessian; "fisher", the former only; or
            "empirical_fisher", squares of each row's gradient.
        prior_precision: a number, or a dict of them by names of layers or
            patterns of paths, of which the first that matches counts;
            "marginal_likelihood" for that of the largest evidence;
            "marginal_likelihood_by_layer" for one of each layer; or "grid" for
            that of the least nll of `validation_data`, among 17 from 1e-4 to
            1e4.
        link: how `tfpbnn.predict` makes outputs. "linearized": each draw is
            that of the network to first order in its weights, which the
            curvature belongs to. "sampling": the network itself at drawn
            weights; the same for a last layer without an activation, else
            often too wide. "probit": the mean class probabilities at once,
            without draws, for classification.
        rank: the number of eigenvalues of "low_rank", None for 20, or of single
            weights of "subnetwork", None for 500.
        sample_weight: weights of rows or places; of several outputs one array
            for all, or one for each.
        validation_data: (x, y), for "grid".
        likelihood: the likelihood or loss, or one for each output; None for the
            compiled ones, times their `loss_weights`.
        batch_size: the number of rows that are done at once, for arrays.

    Returns:
        A `LaplacePosterior`, a Keras model that is compiled like `model`.

    Raises:
        TypeError: if `subset` is of no known type, or data of no known form.
        ValueError: if an argument is none of those above; if the loss is no
            likelihood; if the subset is empty, or comes before BatchNorm that
            trains, a layer that mixes rows, or no output with a likelihood; if
            the structure would not fit the memory; if the Hessian is not
            positive.

    Example:
    ```python
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("adam", loss=tfpbnn.likelihoods.Normal(scale=0.1))
    x, y = keras.random.normal((50, 4)), keras.random.normal((50,))
    model.fit(x, y, verbose=0)
    posterior = tfpbnn.laplace(model, x, y)
    tfpbnn.predict(posterior, x).epistemic_variance         # [50, 1]
    ```

    Reference:
        [Daxberger et al., 2021](https://arxiv.org/abs/2106.14806),
        [Ritter et al., 2018](https://openreview.net/forum?id=Skdvd2xAZ) for
        "kron", [Daxberger et al., 2021b](https://arxiv.org/abs/2010.14689) for
        "subnetwork", [Immer et al., 2021](https://arxiv.org/abs/2008.08711) for
        "linearized"
    """
    reading.check_built(model)
    checks.one_of("structure", structure, list(STRUCTURES))
    rank = _checked_rank(rank, structure)
    checks.one_of("hessian", hessian, _HESSIANS)
    checks.one_of("link", link, LINKS)
    checks.positive_integer("batch_size", batch_size)
    _check_prior(prior_precision, validation_data)
    model = copying.like_its_copies(model)
    names, outputs = _outputs(model)
    loss = likelihood or reading.compiled_loss(model)
    variables = subsets.chosen(model, subset)
    subsets.check_layers(model, variables)
    if isinstance(prior_precision, Mapping):
        prior.each(prior_precision, variables)  # raises before the passes
    likelihoods = resolve(loss, names, [o.shape[-1] for o in outputs])
    _check_link(link, likelihoods)
    _check_hessian(hessian, likelihoods)
    given = {"x": x, "y": y, "sample_weight": sample_weight}
    needed = [n for n, own in zip(names, likelihoods, strict=True) if own]
    counts = dict.fromkeys(needed, 1.0)
    if likelihood is None:
        counts = shares(model, names, needed, given)
    dtype = variables[0].dtype
    batches = Batches(model, names, outputs, likelihoods, counts, dtype)
    curvature = Curvature(
        model, variables, names, likelihoods, hessian,
        lambda: batches.over(**given, batch_size=batch_size),
    )  # fmt: skip
    fitted = curvature.fitted(STRUCTURES[structure](rank))
    posterior = _posterior(model, variables, fitted, link)
    compile_like(posterior, model, "sgd")
    if likelihood is not None:
        posterior.compile("sgd", loss=likelihood)
    _set_prior(posterior, prior_precision, validation_data)
    return posterior


def _checked_rank(rank: Any, structure: str) -> int:
    """The rank of a structure that has one; else 0."""
    default = RANKS.get(structure, 0)
    if rank is not None and not default:
        raise ValueError(
            "`rank` must be None unless `structure` is one of "
            f"{sorted(RANKS)}. Received: rank={rank}, structure={structure!r}"
        )
    return (
        checks.positive_integer.optional("rank", rank, str(default)) or default
    )


def _outputs(network: Any) -> tuple[list[str], list[Any]]:
    """The names and symbols of all outputs."""
    outputs = getattr(network, "outputs", None)
    if not outputs:
        raise TypeError(
            "`model` must be a Functional or Sequential Keras model. Received: "
            f"{type(network).__name__}. Make it of inputs and outputs; of a "
            "posterior take its network, and of an ensemble each member: "
            "tfpbnn.ensembles.PosteriorMixture([tfpbnn.laplace(member, x, y) "
            "for member in ensemble.members])"
        )
    return each_once(reading.output_names(network)), list(outputs)


def _check_prior(prior_precision: Any, validation_data: Any) -> None:
    if isinstance(prior_precision, str):
        checks.one_of("prior_precision", prior_precision, _WAYS)
    elif not isinstance(prior_precision, Mapping):
        checks.positive_number("prior_precision", prior_precision)
    if (prior_precision == "grid") != (validation_data is not None):
        raise ValueError(
            "`validation_data` must be given for prior_precision='grid', and "
            "for nothing else: pass (x_val, y_val). Received: "
            f"prior_precision={prior_precision!r}, validation_data="
            f"{'None' if validation_data is None else 'data'}"
        )


def _check_link(link: str, likelihoods: list[Any]) -> None:
    if link != "probit":
        return
    is_one = len(likelihoods) == 1
    (first, *_) = likelihoods
    if (
        not is_one
        or not isinstance(first, Bernoulli | Categorical)
        or not first.from_logits
    ):
        raise ValueError(
            "`link` must be 'linearized' or 'sampling', unless the model has "
            "one output of logits of classes, Categorical or Bernoulli. "
            f"Received: link='probit' for {likelihoods}"
        )


def _check_hessian(hessian: str, likelihoods: list[Any]) -> None:
    unknown = [like for like in likelihoods if like and not has_fisher(like)]
    if hessian == "fisher" and unknown:
        raise ValueError(
            "`hessian` must be 'ggn' or 'empirical_fisher' for a likelihood of "
            f"which the Fisher information has no closed form: {unknown}. "
            "Received: hessian='fisher'"
        )


def _posterior(
    model: Any, variables: list[Any], fitted: Fitted, link: str
) -> LaplacePosterior:
    place = {id(v): i for i, v in enumerate(model.weights)}
    posterior = LaplacePosterior(
        copying.clone(model, compiled=False),
        [place[id(v)] for v in variables],
        [form_of(block, len(variables)) for block in fitted.blocks],
        link,
        sorted(fitted.by_row),
    )
    posterior.set_curvature(fitted.blocks, fitted.log_likelihood)
    return posterior


def _set_prior(
    posterior: LaplacePosterior, prior_precision: Any, validation_data: Any
) -> None:
    if prior_precision in _WAYS[1:]:
        posterior.tune(by_layer=prior_precision == _WAYS[2])
    elif prior_precision == "grid":
        posterior.prior_precision = _best_of_grid(posterior, validation_data)
    else:
        posterior.prior_precision = prior_precision


def _best_of_grid(posterior: LaplacePosterior, validation_data: Any) -> float:
    is_pair = isinstance(validation_data, list | tuple)
    x, y = validation_data if is_pair else (validation_data, None)
    scores = []
    for precision in _GRID:
        posterior.prior_precision = float(precision)
        found = evaluate(posterior, x, y, seed=0, verbose=0)
        nlls = [v for k, v in found.items() if k.split("_")[-1] == "nll"]
        scores.append(float(np.sum(nlls)))
    return float(_GRID[int(np.nanargmin(scores))])
