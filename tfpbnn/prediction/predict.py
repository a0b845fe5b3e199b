"""From a posterior and data to a predictive distribution."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras

from tfpbnn.base import checks, data
from tfpbnn.base.by_output import by_output
from tfpbnn.networks import reading
from tfpbnn.particles.ways import Draws
from tfpbnn.prediction.collect import Collector
from tfpbnn.prediction.pieces import Run
from tfpbnn.prediction.results import Predictive
from tfpbnn.prediction.results.scores import Scores, joined

# None takes the cheapest way.
_DRAWS = {"auto": None} | {draws.value: draws for draws in Draws}


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
    """The predictive distribution of a model's targets, over draws of weights.

    The same seed gives the same numbers, whatever the batch size and the
    memory, on one machine up to rounding; and whatever the number of rows, if
    `draws` is not "auto", which chooses by it. Keras's dropout is off (see
    `tfpbnn.mc_dropout`) and BatchNorm in inference mode. An interrupt (Ctrl-C)
    ends with what is done, and a warning.

    Args:
        model: a built Keras model with random layers in it.
        x: inputs: an array of NumPy, pandas or SciPy (sparse), a tensor, also
            sparse, ragged or of strings, or a list or dict of them, with None
            for an optional input; or batches, of a tf.data.Dataset, PyDataset,
            loader or generator that ends, whose targets are ignored.
        num_samples: the number of draws S of the weights. Errors of the mean
            fall with its square root; 100 are enough for most plots. Of an
            ensemble at most its members, and if fewer the first of them.
        batch_size: rows at a time, of arrays; default 1024, or fewer if they
            would not fit `memory_budget`.
        seed: an integer; None takes one from Python's `random`, which
            `keras.utils.set_random_seed` seeds.
        verbose: "auto" (a progress bar if it takes over 2 s), 0 or 1.
        draws: "coherent": a draw is one function, the same weights for every
            row, so that rows are correlated as they should be. "marginal":
            each row has draws of its own, by noise on the outputs of layers;
            exact for what is asked of rows one by one (means, variances,
            entropies, quantiles, scores), not for `sample` or other joint
            statistics of rows; much faster for few rows; only for Dense-like
            layers that a row meets once, with independent Normals. "mixed":
            so for the layers that are given the same in all draws (the first
            ones), and the same weights for every row in the others; exact for
            the same questions, and faster for many rows, since those layers'
            products are done once for all draws; only the first layers need
            be Dense-like. "auto": the cheapest of these, counted for all rows
            of x (for very many of a dataset), of those that are exact.
            `Predictive.draws` tells which it was: predictions of the same seed
            and kind have the same numbers for rows of the same index.
            "mean": one pass at the posterior means, without epistemic
            uncertainty; also for models with nothing random.
        antithetic: whether draws come in pairs with noises of opposite signs.
            Means then have smaller errors (none at all for linear models);
            variances and quantiles hardly differ. Posteriors must be
            symmetric.
        keep_draws: False to keep averages over draws only (means, variances,
            entropies), for outputs too large to keep S of.
        memory_budget: about how many bytes to work in, beside the result;
            default a quarter of the free memory.
        likelihood: what the outputs mean, for a model that was not compiled;
            by default read off the compiled loss. For a model with several
            outputs, one for each in the same structure.

    Returns:
        A `RegressionPredictive` or `ClassificationPredictive`; for a model
        with several outputs, a list or dict of them in its structure. Outputs
        without a loss are passed over: None in a list, not there in a dict.
        Keras's mask of the outputs is the `mask` of the prediction.

    Raises:
        ValueError: if the model was not built, has no likelihood for a loss,
            or has nothing random in it; if the outputs don't fit the
            likelihood; if `num_samples` is not positive; if x has NaN; if
            `draws` is not exact for the model.
        TypeError: if x is not one of the forms above, or an input holds
            neither numbers nor strings.

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
    options = _Options(
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
    """Scores of the predictive distribution against known targets.

    Regression: nll, rmse, crps, coverage_90, calibration_error.
    Classification: nll, accuracy, brier, ece. Each is a mean over the places
    that count, which are the rows or, if each row has several, their steps or
    pixels; so nll is per row or per step, jointly for the targets of one.
    `Scores.per` tells it. Places that Keras's mask leaves out, of weight 0, or
    with a label that the loss ignores don't count, whatever stands there.

    Args:
        model: a built Keras model, as for `predict`; so are all arguments that
            are not explained here.
        x: inputs; a dataset may bring the targets, and weights.
        y: targets or labels; None to take them from the dataset. Of a model
            with several outputs a dict by their names, or a list in their
            order; outputs without a loss need none.
        sample_weight: weights of the rows `[N]` or of the places `[N, ...]`,
            for weighted means, as Keras's `weighted_metrics` are; None for
            those of the dataset, if it has any. Of several outputs one for all
            or, as y, one for each.

    Returns:
        The scores by name. If a model has several outputs, the names
        begin with those of the outputs, as in Keras: "out_1_nll".

    Raises:
        ValueError: as `predict`; if there are no targets, or they don't fit
            the outputs or are NaN or out of range; if names of outputs are
            missing or unknown; if weights don't fit, or are negative, or leave
            nothing to score.

    Example:
    ```python
    model = keras.Sequential([keras.Input((4,)), tfpbnn.layers.DenseFlipout(2)])
    model.compile("adam", loss=tfpbnn.likelihoods.Normal())
    x, y = keras.random.normal((10, 4)), keras.random.normal((10,))
    tfpbnn.evaluate(model, x, y)                    # {"nll": .., "rmse": ..}
    ```
    """
    options = _Options(
        num_samples=num_samples,
        batch_size=batch_size,
        seed=seed,
        verbose=verbose,
        draws=draws,
        antithetic=antithetic,
        memory_budget=memory_budget,
        likelihood=likelihood,
    )
    collector, found, brought = options.predict(model, x)
    y = brought[0] if y is None else y
    weights = brought[1] if sample_weight is None else sample_weight
    if y is None:
        raise ValueError(
            "`y` must be given, unless x is a dataset of (x, y) batches. "
            "Received: y=None"
        )
    names = collector.all_names, list(found)
    targets = by_output("`y`", y, *names)
    if not isinstance(weights, Mapping | list | tuple):
        weights = [weights] * len(found)  # as in Keras, the same for all
    weights = by_output("`sample_weight`", weights, *names)
    by_name = dict(
        zip(names[0], zip(targets, weights, strict=True), strict=True)
    )
    scores = {name: p.evaluate(*by_name[name]) for name, p in found.items()}
    return joined(scores, len(names[0]) > 1)


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
    options = _Options(num_samples=num_samples, draws="coherent", verbose=0)
    collector, found, brought = options.predict(model, x)
    return Outputs(collector.all_names, found, *brought)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Options:
    """How to predict: what `predict` and `evaluate` share, as given there."""

    num_samples: int
    batch_size: int | None = None
    seed: int | None = None
    verbose: Any = "auto"
    draws: str = "auto"
    antithetic: bool = False
    memory_budget: int | None = None
    likelihood: Any = None
    keep_draws: bool = True

    def __post_init__(self) -> None:
        checks.positive_integer("num_samples", self.num_samples)
        checks.positive_integer.optional("batch_size", self.batch_size)
        checks.positive_integer.optional("memory_budget", self.memory_budget)
        checks.one_of("draws", self.draws, list(_DRAWS))

    def predict(
        self, model: keras.Model, x: Any
    ) -> tuple[Collector, dict[str, Predictive], tuple[Any, Any]]:
        """Who collected, the predictions, and targets and weights of x."""
        run = self._run(model, x)
        loss = self.likelihood or reading.compiled_loss(model)
        names = reading.output_names(model)
        collector = Collector(loss, names, self.keep_draws)
        pieces, brought = run.over(
            self.batch_size, self.verbose, collector.collect
        )
        run.check_random()
        assert run.draws is not None
        found = collector.predictives(pieces, run.num_samples, run.draws.value)
        return collector, found, brought or (None, None)

    def _run(self, model: keras.Model, x: Any) -> Run:
        reading.check_built(model)
        return Run(
            model,
            x
            if data.is_stream(x)
            else data.as_rows("x", x, reading.input_names(model)),
            self.num_samples,
            draws=_DRAWS[self.draws],
            seed=self.seed,
            antithetic=self.antithetic,
            memory_budget=self.memory_budget,
        )
