"""A posterior becomes files that servers run without this package."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfpbnn import particles, random
from tfpbnn.base.types import Array
from tfpbnn.exporting import card as cards
from tfpbnn.exporting import lint
from tfpbnn.exporting.arguments import Arguments
from tfpbnn.exporting.files import Place
from tfpbnn.exporting.formats import (
    WRITERS,
    converting,
    saved_model,
    unrolled,
)
from tfpbnn.exporting.graphs.cutting import needed_for_outputs
from tfpbnn.exporting.graphs.draws import ExportedDraws
from tfpbnn.exporting.graphs.fixed import FixedDraws
from tfpbnn.exporting.signatures import warmups
from tfpbnn.exporting.signatures.conformal import Answers
from tfpbnn.exporting.signatures.inputs import inputs_of
from tfpbnn.exporting.signatures.signatures import Signatures
from tfpbnn.likelihoods import Likelihood
from tfpbnn.networks.reading import (
    check_built,
    compiled_loss,
    keys_of,
    output_names,
)
from tfpbnn.prediction.collect import resolve

CARD = "model_card.json"


def export(
    posterior: keras.Model,
    path: str | os.PathLike[str],
    num_samples: int = 64,
    *,
    draws: str = "fresh",
    signatures: Sequence[str] | None = None,
    warmup: Any = None,
    quantiles: Sequence[float] | None = None,
    format: str = "savedmodel",
    likelihood: Any = None,
    conformal: Any = None,
    seed: int | None = None,
    max_bytes: int = 2**30,
    card: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Writes a posterior's predictive distribution as a graph for servers.

    A request is answered with means, variances and entropies over draws that
    are made for it, by plain TensorFlow operations: TensorFlow Serving runs the
    files as they are. Signatures take named inputs, and give flat dicts with
    rows first:

    - `serving_default`: of regression `mean`, `variance`,
      `epistemic_variance`, `aleatoric_variance` (`[B, k]`) and `quantiles`
      (`[B, Q, k]`); of classification `probabilities` (`[B, K]`),
      `predictive_entropy`, `expected_entropy` and `mutual_information`;
    - `samples`: `outputs`, the model's own at each draw, `[B, S, P]`;
    - `deterministic`: one pass at the posterior means, or of an ensemble the
      average of its members;
    - `seeded`: as `serving_default`, with one more input `seed`, an int64 for
      each row. A row has the answer of its seed, whatever it is batched with:
      that of `tfpbnn.predict` for this row, seed and number of samples;
    - `dynamic`: as `serving_default`, with the scalars `num_samples` (up to
      1000) and `seed` (negative for none) as inputs. Not for servers that
      batch requests, and so not among the default ones.

    Names of several outputs come first: `price_mean`. Rows with NaN or infinite
    inputs are answered with NaN.

    Args:
        posterior: a built Keras model that `tfpbnn.predict` takes.
        path: of the version folder, as `served/wine/1`, which appears when all
            is written; of a file for the other formats. It may begin with `~`,
            or be the address of a file system that TensorFlow knows, as
            "gs://bucket/wine/1".
        num_samples: S, the draws for an answer; of an ensemble at most its
            members.
        draws: "fresh" for draws of each request's own; "fixed" for S draws
            that are taken now and kept as constants: a deterministic graph.
            Its size is about the same if layers are dense with independent
            Normals, else S times that of what is drawn.
        signatures: which ones; default all but `dynamic`, of fixed draws those
            without a seed. The other formats hold one, `serving_default`.
        warmup: an example of inputs, one row or more. Servers then run it when
            they load the model, before the first request. Needed of models that
            don't tell their inputs' shapes.
        quantiles: the levels Q of regression; default 0.05, 0.5 and 0.95. The
            other formats have no operations for them, and default to none.
        format: "savedmodel", or for `draws="fixed"` "litert" (phones; runs
            without TensorFlow) or "onnx" (needs `tfpbnn[onnx]`).
        likelihood: as for `tfpbnn.predict`.
        conformal: a fitted predictor of `tfpbnn.calibration`, or a dict of
            them by outputs, whose sets or intervals are answered too: of labels
            `conformal_sets` `[B, K]`, 1 for labels that are in and 0 for
            others; of numbers `conformal_lower` and `conformal_upper`, `[B,
            k]`. Fit it to what `tfpbnn.predict` gives of this posterior by as
            many draws; for `deterministic` by `draws="mean"`. What `sets` and
            `interval` are asked with is an input of each row:
            `conformal_groups`, `conformal_sample_weight`, and for randomized
            sets of fixed draws or one pass `conformal_uniforms`, numbers from 0
            to 1. Rows of an unknown group are answered with NaN.
        seed: of fixed draws.
        max_bytes: what fixed draws may take.
        card: more entries for the `model_card.json` that is written beside the
            model, as `{"calibration": {"ece": 0.01}}`.
        overwrite: whether to replace what is at `path`.

    Raises:
        ValueError: if an argument is not as above; if the model was not built,
            has no likelihood, has nothing random in it, or has noise of its own
            (as of a `tf.random.Generator`) that would replay; if its outputs
            are nested or have no axis of their own; if fixed draws are too
            large; if recurrent layers take any number of steps, for the other
            formats.
        FileExistsError: if there is something at `path`.
        OSError: if its file system can't be reached.

    Example:
    ```python
    tfpbnn.export(model, "served/wine/1", num_samples=32, warmup=x[:1])
    ```
    """
    arguments = Arguments(num_samples, draws, signatures, quantiles, format)
    check_built(posterior)
    loss = likelihood or compiled_loss(posterior)
    place = Place(path)
    if place.exists() and not overwrite:
        raise FileExistsError(
            "`path` must be new, or overwrite=True. Received: "
            f"{place.path}, which is there"
        )
    inputs = inputs_of(posterior, warmup)
    requests = None if warmup is None else inputs.unpack(warmup)
    function = particles.draw_function(posterior, inputs.typical())
    drawn = ExportedDraws(function, inputs, num_samples)
    _check_random(posterior, function, arguments)
    outputs = _likelihoods(posterior, drawn.spec, loss)
    _check_maps(outputs, arguments)
    answers = Answers(conformal, outputs, drawn.spec, arguments)
    levels = arguments.quantiles
    with _traceable(posterior, arguments) as at_once:
        fixed = None
        if draws == "fixed":
            key = random.as_key(random.any_seed() if seed is None else seed)
            fixed = FixedDraws(drawn, inputs, key, max_bytes, at_once)
        made = Signatures(inputs, drawn, fixed, outputs, levels, answers)
        traced = {name: made.traced(name) for name in arguments.signatures}
    settings = {
        "num_samples": drawn.num_samples,
        "draws": draws,
        "quantiles": list(levels),
        "conformal": answers.described(),
    }
    about = cards.model_card(posterior, outputs, traced, settings, card or {})
    with place.appearing() as new:
        _write(new, arguments, traced, posterior, about)
        if requests is not None and format == "savedmodel":
            records = _records(requests, traced, answers)
            warmups.write(new, os.path.basename(place.folder), records)


@contextlib.contextmanager
def _traceable(model: Any, arguments: Arguments) -> Iterator[bool]:
    """Opens where graphs are traced; says if they are better joined."""
    with converting.quiet():  # TensorFlow warns of what it calls old
        if arguments.format == "savedmodel":
            yield False
        else:
            with unrolled.unrolled(model) as is_unrolled:
                yield is_unrolled


def _check_random(
    model: Any, function: particles.DrawFunction, arguments: Arguments
) -> None:
    is_plain = arguments.signatures == ("deterministic",)
    if not is_plain:
        name, one = (
            f"`posterior` ({model.name})",
            'signatures=["deterministic"]',
        )
        function.effects.check_random(name, one)


def _likelihoods(
    model: Any, spec: Any, loss: Any
) -> dict[str, Likelihood | None]:
    """Returns the likelihood of each output, by its name, in their order.

    None for an output without a loss, which is passed over.
    """
    leaves = keras.tree.flatten(spec)
    parts = list(spec.values()) if isinstance(spec, Mapping) else spec
    is_flat = len(leaves) == 1 or len(list(parts)) == len(leaves)
    if not is_flat:
        raise _not_flat(spec)
    names = output_names(model)
    if isinstance(spec, Mapping):
        names = keys_of(spec)
    elif len(names) != len(leaves) or len(set(names)) < len(names):
        names = [f"output_{place}" for place in range(len(leaves))]
    sizes = [leaf.shape[-1] if len(leaf.shape) else 0 for leaf in leaves]
    found = resolve(loss, names, sizes)
    for likelihood, leaf in zip(found, leaves, strict=True):
        if likelihood is None:
            continue
        if len(leaf.shape) < 2:
            raise _not_flat(spec)
        likelihood.event_size(leaf.shape[-1])
    return dict(zip(names, found, strict=True))


def _check_maps(
    outputs: Mapping[str, Likelihood | None], arguments: Arguments
) -> None:
    """Raises if a format lacks what calibrated distributions need."""
    for name, one in outputs.items():
        if one is None or arguments.format == "savedmodel":
            continue
        if one.of_mixture is not None and not one.is_classification:
            raise ValueError(
                f'`format` must be "savedmodel" for the output {name!r}, whose '
                "moments are integrals over the quantiles that "
                f"{one.of_mixture!r} maps. Received: "
                f'format="{arguments.format}", which has no operations for '
                "quantiles. Calibrate it by Scale, or serve a SavedModel"
            )


def _not_flat(spec: Any) -> ValueError:
    shapes = keras.tree.map_structure(lambda t: tuple(t.shape), spec)
    return ValueError(
        "`posterior` must have one output, or a flat list or dict of them, "
        "each with an axis of rows and one of outputs. Received: outputs "
        f"{shapes}"
    )


def _write(
    path: pathlib.Path,
    arguments: Arguments,
    traced: Mapping[str, Any],
    model: Any,
    about: Mapping[str, Any],
) -> None:
    if arguments.draws == "fixed":
        _check_none_random(traced)
    if arguments.format != "savedmodel":
        (name,) = traced
        with tempfile.TemporaryDirectory() as folder:
            saved = pathlib.Path(folder)
            saved_model.write(saved, traced, model)
            WRITERS[arguments.format](path, saved, name)
        cards.write(_card_of(path), about)
        return
    saved_model.write(path, traced, model)
    batching = "dynamic" not in traced
    if found := list(lint.problems(Place(path), batching, rest=False)):
        raise ValueError(
            f"`posterior` ({model.name}) can't be served: {'; '.join(found)}. "
            "In layers of your own, draw with `keras.random`."
        )
    cards.write(path / CARD, about)


def _records(
    requests: dict[str, Array], traced: Mapping[str, Any], answers: Answers
) -> dict[str, dict[str, Array]]:
    """Returns a request for each signature, but what servers may refuse."""
    count = len(next(iter(requests.values())))
    seeds: dict[str, Array] = {"seed": np.zeros(count, np.int64)}
    return {
        name: requests
        | (seeds if name == "seeded" else {})
        | answers.example(name, count)
        for name in traced
        if name != "dynamic"
    }


def _card_of(path: pathlib.Path) -> pathlib.Path:
    """Returns where the card of a file is, which has no room for it."""
    return path.with_name(f"{path.name}.{CARD}")


def _check_none_random(traced: Mapping[str, Any]) -> None:
    for trace in traced.values():
        if names := lint.random_ops(needed_for_outputs(trace.graph)):
            raise ValueError(
                'draws="fixed" needs draws that do not depend on the inputs, '
                f"but there are random operations left: {sorted(names)}. Use "
                'draws="fresh".'
            )
