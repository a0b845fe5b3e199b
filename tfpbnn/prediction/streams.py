"""Predicts data that never fit in memory, from a dataset to a dataset."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base.types import Array, Tree
from tfpbnn.prediction.collect import Collector
from tfpbnn.prediction.options import Options
from tfpbnn.prediction.results import Predictive


def predict_dataset(
    model: keras.Model,
    x: Any,
    num_samples: int = 100,
    batch_size: int | None = None,
    seed: int | None = None,
    *,
    values: Sequence[str] = ("mean", "variance"),
    draws: str = "auto",
    antithetic: bool = False,
    keep_draws: bool = False,
    memory_budget: int | None = None,
    likelihood: Any = None,
) -> tf.data.Dataset:
    """Predicts a dataset as a dataset, of which a batch is in memory at a time.

    Its batches are those of x, in order, and have the numbers that
    `tfpbnn.predict` gives for all of x with the same seed, each time that it is
    gone through. So it can be zipped with x, mapped, and saved. The first batch
    is predicted at once.

    Of several workers, worker w of W has the batches w, w + W, ... Each reads
    all of x, and they may go through them at their own pace.

    Args:
        model: a built Keras model with random layers in it, or a posterior.
        x: as in `tfpbnn.predict`: most often a tf.data.Dataset of batches. No
            generator, which could be read once only.
        num_samples, batch_size, seed: as in `tfpbnn.predict`.
        values: what there is of each row: names of attributes of the
            predictions, such as "mean", "variance", "epistemic_variance" and,
            of classes, "probabilities" or "predictive_entropy".
        draws, antithetic, memory_budget, likelihood: as in `tfpbnn.predict`.
        keep_draws: whether `values` may be of single draws, such as "outputs"
            `[S, B, ...]`.

    Returns:
        A dataset of dicts, from the names in `values` to tensors `[B, ...]`.
        For a model with several outputs, a dict of such dicts by the outputs'
        names.

    Raises:
        ValueError: for the reasons of `tfpbnn.predict`; if x can be read once
            only; if a prediction has no such value.

    Example:
    ```python
    model = keras.Sequential([keras.Input((4,)), tfpbnn.layers.DenseFlipout(2)])
    model.compile("adam", loss=tfpbnn.likelihoods.Normal())
    x = keras.random.normal((100, 4))
    for batch in tfpbnn.predict_dataset(model, x, batch_size=32, seed=0):
        batch["mean"], batch["variance"]               # [32, 1] each
    ```
    """
    if isinstance(x, Iterator):
        raise ValueError(
            "`x` must be data that can be read again, since the predictions "
            f"can be gone through again. Received: {type(x).__name__}. Pass a "
            "tf.data.Dataset, a keras.utils.PyDataset or arrays"
        )
    options = Options(
        num_samples=num_samples,
        batch_size=batch_size,
        seed=seed,
        draws=draws,
        antithetic=antithetic,
        memory_budget=memory_budget,
        likelihood=likelihood,
        keep_draws=keep_draws,
    )
    run = options.run(model, x)

    def batches() -> Iterator[Any]:
        collector = options.collector(model)
        for pieces in run.stream(batch_size, collector):
            run.check_random()
            yield _values(collector, pieces, run, values)

    first = next(batches(), None)
    if first is None:
        raise ValueError("`x` must have one row or more. Received: none")
    specs = keras.tree.map_structure(_spec, first)
    return tf.data.Dataset.from_generator(batches, output_signature=specs)


def _values(
    collector: Collector, pieces: list[Any], run: Any, values: Sequence[str]
) -> Tree:
    """The values of a batch, by output if there are several."""
    found = collector.predictives(pieces, run.num_samples, run.draws.value)
    by_name = {
        output: {name: _value(one, name) for name in values}
        for output, one in found.items()
    }
    is_one = len(collector.all_names) == 1
    return next(iter(by_name.values())) if is_one else by_name


def _value(predictive: Predictive, name: str) -> Array:
    value = getattr(predictive, name, None)
    if not isinstance(value, np.ndarray | tf.Tensor):
        raise ValueError(
            "`values` must be names of arrays that a "
            f"{type(predictive).__name__} has, such as "
            f'"mean" or "variance". Received: {name!r}'
        )
    return np.asarray(value)


def _spec(value: Array) -> tf.TensorSpec:
    """Of batches of any size, and rows of any number of steps."""
    shape = [None] * (value.ndim - 1) + [value.shape[-1]]
    return tf.TensorSpec(shape if value.ndim > 1 else [None], value.dtype)
