"""Makes BatchEnsemble and Rank-1 networks of plain Keras models."""

from typing import Any

import keras
import numpy as np

from tfpbnn import layers as layer_classes
from tfpbnn.base import registry
from tfpbnn.base.types import Config, Identifier
from tfpbnn.convert import counterparts
from tfpbnn.ensembles.one_network.members import MemberModel
from tfpbnn.layers.random_layer import is_variational
from tfpbnn.networks import choosing, copying, reading
from tfpbnn.networks.rewriting import replace


@registry.register("ensembles")
class BatchEnsemble(MemberModel):
    """A model that repeats each batch for its members.

    `to_batch_ensemble` and `to_rank1` make such models. It can be made of
    layers such as `tfpbnn.layers.DenseBatchEnsemble` too.

    `fit` repeats each batch once for each member, and takes the mean of the
    members' losses. `predict`, `evaluate` and all metrics are of the mean of
    the members' outputs (of logits, if those are the outputs). A plain call
    takes rows in groups, one for each member. `tfpbnn.predict` gives one draw
    for each member, and the mixture of their predictions.

    Example:
    ```python
    inputs = keras.Input((4,))
    hidden = tfpbnn.layers.DenseBatchEnsemble(
        16, activation="relu", num_members=4
    )(inputs)
    outputs = tfpbnn.layers.DenseBatchEnsemble(2, num_members=4)(hidden)
    ensemble = tfpbnn.ensembles.BatchEnsemble(inputs, outputs)
    ensemble.compile("adam", loss=tfpbnn.likelihoods.Normal())
    ensemble.fit(x, y, verbose=0)
    tfpbnn.predict(ensemble, x).num_samples                      # 4
    ```

    Reference:
        [Wen et al., 2020](https://arxiv.org/abs/2002.06715)
    """

    _repeats_in_training = True
    _repeats_in_inference = True


def to_batch_ensemble(
    model: keras.Model,
    num_members: int,
    layers: Any = "all",
    *,
    fast_initializer: Identifier = None,
) -> BatchEnsemble:
    """Makes an ensemble whose members share a model's kernels.

    `Dense` becomes `DenseBatchEnsemble`, and so on, for convolutions (not
    separable ones), `EinsumDense` and `Embedding`. Weights are kept: kernels
    are shared, and each member has a copy of the biases. Other layers stay,
    and are shared. A compiled model's copy is compiled likewise.

    Args:
        model: a built Functional or Sequential model, which is not changed.
        num_members: how many members there are, a positive integer.
        layers: which ones, as `layers` in `tfpbnn.to_variational`.
        fast_initializer: of the factors that make members differ. None, the
            default, for Normal(1, 0.1), near the trained model. "random_sign"
            for members that begin far apart, of a model that is not trained
            yet. With "ones" all equal the model, and stay equal in `fit`.

    Raises:
        TypeError: if `model` is subclassed.
        ValueError: if `model` is not built, `num_members` is not a positive
            integer, a name is not in the model, or no layer can be chosen.

    Example:
    ```python
    plain = keras.Sequential([
        keras.Input((4,)),
        keras.layers.Dense(16, activation="relu"),
        keras.layers.Dense(1),
    ])
    plain.compile("adam", loss="mse")
    ensemble = tfpbnn.ensembles.to_batch_ensemble(plain, num_members=4)
    ensemble.fit(x, y, batch_size=32, verbose=0)
    ensemble.predict(x, verbose=0).shape                      # (32, 1)
    ```

    Reference:
        [Wen et al., 2020](https://arxiv.org/abs/2002.06715)
    """
    if fast_initializer is None:
        fast_initializer = keras.initializers.RandomNormal(1.0, 0.1)
    arguments = {"fast_initializer": fast_initializer}
    return _converted(model, "BatchEnsemble", num_members, layers, arguments)


def to_rank1(
    model: keras.Model,
    num_members: int,
    layers: Any = "all",
    *,
    fast_posterior: Identifier = None,
    fast_prior: Identifier = None,
    kl_weight: float | None = None,
) -> BatchEnsemble:
    """Makes a Bayesian ensemble, as `to_batch_ensemble` with `Rank1` layers.

    `Dense` becomes `DenseRank1`, and so on. `fit` weights the KL by the number
    of training examples.

    Args:
        model, num_members, layers: as in `to_batch_ensemble`.
        fast_posterior, fast_prior, kl_weight: as in `tfpbnn.layers.DenseRank1`.

    Raises:
        TypeError: as `to_batch_ensemble`.
        ValueError: as `to_batch_ensemble`, or if a name is unknown.

    Example:
    ```python
    plain = keras.Sequential([
        keras.Input((4,)),
        keras.layers.Dense(16, activation="relu"),
        keras.layers.Dense(2),
    ])
    ensemble = tfpbnn.ensembles.to_rank1(plain, num_members=4)
    ensemble.compile("adam", loss=tfpbnn.likelihoods.Normal())
    ensemble.fit(x, y, verbose=0)
    tfpbnn.predict(ensemble, x, num_samples=40).epistemic_variance
    ```

    Reference:
        [Dusenberry et al., 2020](https://arxiv.org/abs/2005.07186)
    """
    arguments = {
        "fast_posterior": fast_posterior,
        "fast_prior": fast_prior,
        "kl_weight": kl_weight,
    }
    return _converted(model, "Rank1", num_members, layers, arguments)


def _converted(
    model: keras.Model,
    suffix: str,
    num_members: int,
    layers: Any,
    arguments: Config,
) -> BatchEnsemble:
    reading.check_readable(model)
    chosen = choosing.choose(model, layers, False, is_variational)
    unknown = [x for x in chosen if _class(x, suffix) is None]
    if layers == "all":
        tied = reading.tied(model)
        chosen = [x for x in chosen if _class(x, suffix) and id(x) not in tied]
    if not chosen or (unknown and layers != "all"):
        raise ValueError(
            f"`layers` must be layers that have a {suffix} counterpart, "
            "such as Dense and Conv2D. Received: "
            f"{[f'{x.name} ({type(x).__name__})' for x in unknown]}"
        )

    def make(layer: keras.layers.Layer) -> keras.layers.Layer:
        cls: Any = _class(layer, suffix)
        config = copying.arguments(layer.get_config(), cls)
        return cls(num_members=num_members, **config, **arguments)

    ids = {id(layer) for layer in chosen}

    ensemble, pairs = replace(
        model,
        BatchEnsemble,
        lambda layer: id(layer) in ids,
        make,
        copying.Copier(),
    )
    for plain, shared in pairs:
        _set_weights(plain, shared)
    copying.copy_compiled(model, ensemble)
    return ensemble


def _class(layer: keras.layers.Layer, suffix: str) -> Any:
    if counterparts.of_plain(layer) is None:
        return None
    return getattr(layer_classes, type(layer).__name__ + suffix, None)


def _set_weights(old: keras.layers.Layer, new: Any) -> None:
    counterpart = counterparts.of_plain(old)
    assert counterpart is not None
    for name, value in counterpart.read(old).items():
        loc = new._posterior(name).loc
        loc.assign(np.broadcast_to(value, loc.shape))
