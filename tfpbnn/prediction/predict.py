"""Predicts and scores the targets of a model with random weights."""

from typing import Any, NamedTuple

import keras

from tfpbnn.prediction.options import HeldOut, Options
from tfpbnn.prediction.results import Predictive
from tfpbnn.prediction.results.scores import Scores, joined


def predict(
    model: keras.Model,
    x: Any,
    num_samples: int = 100,
    batch_size: int | None = None,
    seed: int | None = None,
    verbose: Any = "auto",
    *,
    draws: str = "auto",
    antithetic: bool = False,
    keep_draws: bool = True,
    memory_budget: int | None = None,
    likelihood: Any = None,
) -> Any:
    """Predicts the targets of a model, with draws of its weights.

    The predictive distribution is the mixture of the likelihoods at all draws.
    On one machine the same seed gives the same numbers up to rounding, whatever
    the batch size and the memory. The number of rows does not matter either,
    unless `draws="auto"` chooses another way by it. Keras's dropout is off (see
    `tfpbnn.mc_dropout`), and BatchNorm is in inference mode. An interrupt
    (Ctrl-C) returns the rows that are done, with a warning.

    Args:
        model: a built Keras model with random layers in it.
        x: the inputs: an array of NumPy, pandas or SciPy (sparse); a tensor,
            which may be sparse, ragged or of strings; a list or dict of these,
            with None for an optional input; or a tf.data.Dataset, PyDataset,
            loader or finite generator of batches, whose targets are ignored.
            Where batches differ in their number of steps, and outputs have
            steps too, shorter outputs are padded, and masked there.
        num_samples: the number of draws S of the weights. Errors of the mean
            fall with its square root; 100 are enough for most plots. For an
            ensemble, the number of members to use, the first ones; there are
            no more draws than members.
        batch_size: the number of rows in a batch, for arrays; None for 1024,
            or fewer if these would not fit `memory_budget`.
        seed: an integer; None takes one from Python's `random`, which
            `keras.utils.set_random_seed` seeds.
        verbose: "auto" (a progress bar if it takes over 2 s), 0 or 1.
        draws: how draws are made. `Predictive.draws` tells which way was
            taken: with the same seed and way, rows of the same index have the
            same numbers.
            "coherent": a draw is one function, with the same weights for all
            rows, so that rows are correlated as they should be.
            "marginal": each row has its own draws, made by noise on the
            outputs of layers. This is exact for all that concerns one row at
            a time (means, variances, entropies, quantiles, scores), but not
            for `sample` or other joint statistics of rows. It is much faster
            for few rows, and needs Dense-like layers that a row meets once,
            with independent Normals.
            "mixed": marginal draws in the first random layers, whose inputs
            are the same in all draws, and coherent draws in the others. It is
            exact for the same questions, and faster for many rows, since the
            products of those layers are done once for all draws. Only these
            need to be Dense-like.
            "auto": the cheapest of those three that are exact, as counted for
            all rows of x (for very many if x is a stream).
            "mean": one pass at the posterior means, without epistemic
            uncertainty; also for models with nothing random.
        antithetic: whether draws come in pairs with noises of opposite signs.
            Means then have smaller errors (none at all for linear models);
            variances and quantiles hardly differ. Posteriors must be
            symmetric.
        keep_draws: whether the outputs at each draw are kept. False keeps
            averages over draws only (means, variances, entropies), for
            outputs too large to keep S of them.
        memory_budget: roughly the number of bytes to work in, in addition to
            the result; None for a quarter of the free memory.
        likelihood: the likelihood or loss that tells what the outputs mean,
            for a model that was not compiled; None for the compiled loss. For
            a model with several outputs, one for each in the same structure.

    Returns:
        A `RegressionPredictive` or `ClassificationPredictive`; for a model
        with several outputs, a list or dict of predictions in the structure
        of the outputs. An output without a loss has None in a list, and no
        entry in a dict. Keras's mask of the outputs is the `mask` of the
        prediction.

    Raises:
        ValueError: if the model was not built, has no likelihood for a loss,
            or has nothing random in it; if the outputs don't fit the
            likelihood; if `num_samples` is not positive; if x has NaN; if
            `draws` is not exact for the model.
        TypeError: if x has none of the forms above, or an input holds neither
            numbers nor strings.

    Example:
    ```python
    model = keras.Sequential([keras.Input((4,)), tfpbnn.layers.DenseFlipout(2)])
    model.compile("adam", loss=tfpbnn.likelihoods.Normal())
    p = tfpbnn.predict(model, keras.random.normal((10, 4)), seed=0)
    p.mean, p.epistemic_variance, p.aleatoric_variance      # [10, 1] each
    ```

    Reference:
        [Kingma et al., 2015](https://arxiv.org/abs/1506.02557), whose local
        reparameterization marginal draws are
    """
    options = Options(
        num_samples=num_samples,
        batch_size=batch_size,
        seed=seed,
        verbose=verbose,
        draws=draws,
        antithetic=antithetic,
        memory_budget=memory_budget,
        likelihood=likelihood,
        keep_draws=keep_draws,
    )
    collector, found, _ = options.predict(model, x)
    return collector.packed(found)


def evaluate(
    model: keras.Model,
    x: Any,
    y: Any = None,
    num_samples: int = 100,
    batch_size: int | None = None,
    seed: int | None = None,
    verbose: Any = "auto",
    *,
    sample_weight: Any = None,
    draws: str = "auto",
    antithetic: bool = False,
    memory_budget: int | None = None,
    likelihood: Any = None,
) -> Scores:
    """Scores the predictive distribution against known targets.

    The scores of regression are nll, rmse, crps, coverage_90 and
    calibration_error; those of classification are nll, accuracy, brier and ece.
    Each is a mean over the places that count. Places are the rows or, if rows
    have several, their steps or pixels; the nll of a place is joint for its
    targets. `Scores.per` tells what each score is a mean over. Places that
    Keras's mask leaves out, that have the weight 0, or whose label the loss
    ignores don't count, whatever values they have.

    Args:
        model: a built Keras model with random layers in it.
        x: the inputs, as in `predict`; a dataset may bring the targets, and
            weights.
        y: the targets or labels; None to take them from the dataset. For a
            model with several outputs, a dict by their names, or a list in
            their order; outputs without a loss need no targets.
        num_samples, batch_size, seed, verbose: as in `predict`.
        sample_weight: the weights of the rows `[N]` or of the places
            `[N, ...]`, for weighted means like Keras's `weighted_metrics`;
            None for those of the dataset, if it has any. For several outputs,
            one array for all, or one for each in the structure of y.
        draws, antithetic, memory_budget, likelihood: as in `predict`.

    Returns:
        The scores by name. If a model has several outputs, the names
        begin with those of the outputs, as in Keras: "out_1_nll".

    Raises:
        ValueError: for the reasons of `predict`; if there are no targets, or
            they don't fit the outputs or are NaN or out of range; if names of
            outputs are missing or unknown; if weights don't fit, are negative,
            or leave nothing to score.

    Example:
    ```python
    model = keras.Sequential([keras.Input((4,)), tfpbnn.layers.DenseFlipout(2)])
    model.compile("adam", loss=tfpbnn.likelihoods.Normal())
    x, y = keras.random.normal((10, 4)), keras.random.normal((10,))
    tfpbnn.evaluate(model, x, y)                    # {"nll": .., "rmse": ..}
    ```
    """
    options = Options(
        num_samples=num_samples,
        batch_size=batch_size,
        seed=seed,
        verbose=verbose,
        draws=draws,
        antithetic=antithetic,
        memory_budget=memory_budget,
        likelihood=likelihood,
    )
    names, found = options.held_out(model, x, y, sample_weight)
    scores = {
        name: one.predictive.evaluate(one.y, one.sample_weight)
        for name, one in found.items()
    }
    return joined(scores, len(names) > 1)


def held_out(
    model: keras.Model, x: Any, y: Any, sample_weight: Any, **kwargs: Any
) -> tuple[list[str], dict[str, HeldOut]]:
    """Predicts rows of which the targets are known.

    Args:
        model, x, y, sample_weight: as in `evaluate`.
        **kwargs: other arguments of `evaluate`.

    Returns:
        The names of all outputs, and by its name each that has a likelihood.
    """
    return Options(**kwargs).held_out(model, x, y, sample_weight)


class Outputs(NamedTuple):
    """Predictions of a model's outputs, by name.

    Attributes:
        names: of all outputs.
        predictives: of those that have a likelihood.
        y: targets that x brought with it, or None.
        sample_weight: weights that x brought, or None.
    """

    names: list[str]
    predictives: dict[str, Predictive]
    y: Any
    sample_weight: Any


def predict_outputs(model: keras.Model, x: Any, num_samples: int) -> Outputs:
    """What `predict` gives, by the outputs' names, and what x brought."""
    options = Options(num_samples=num_samples, draws="coherent", verbose=0)
    collector, found, brought = options.predict(model, x)
    return Outputs(collector.all_names, found, *brought)
