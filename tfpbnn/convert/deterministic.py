"""From variational layers back to plain Keras ones."""

import functools
import warnings
from typing import Any

import keras
import numpy as np

from tfpbnn.base.types import Config
from tfpbnn.convert import counterparts
from tfpbnn.layers import HomoscedasticScale, Variational
from tfpbnn.layers.random_layer import is_variational
from tfpbnn.networks import copying, reading, rewriting


def to_deterministic(model: keras.Model) -> keras.Model:
    """A copy of a model in plain Keras layers, at the posterior mean.

    It needs no tfpbnn to load and run. It is compiled as `model` is, if loss,
    metrics and optimizer are all Keras's own. Else it is not, since it would
    need what they are of: `compile` it to evaluate or train it. The inverse of
    `to_variational`.

    Args:
        model: a built Functional or Sequential model, which is not changed.

    Returns:
        A `keras.Sequential` or a `keras.Model`.

    Raises:
        TypeError: if `model` is subclassed.
        ValueError: if `model` is not built, or has layers of this package with
            no plain counterpart; the message names them.

    Example:
    ```python
    plain = tfpbnn.to_deterministic(model)
    plain.save("plain.keras")
    ```
    """
    reading.check_readable(model)
    unknown = [
        f"{x.name} ({type(x).__name__})"
        for x in reading.leaves(model)
        if _is_ours(x) and not _has_plain(x)
    ]
    if unknown:
        raise ValueError(
            "`model` must have no layers without a plain counterpart. "
            f"Received: {', '.join(unknown)}"
        )
    copier = copying.Copier()
    plain, pairs = rewriting.replace(
        model,
        reading.plain_class(model),
        _has_plain,
        functools.partial(_plain, copier),
        copier,
    )
    for old, new in pairs:
        _set_weights(old, new)
    if model.compiled and _is_of_keras(_compile_config(model)):
        copying.copy_compiled(model, plain)
    return plain


def _compile_config(model: keras.Model) -> Config:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of lambdas, which are left out
        return model.get_compile_config()


def _is_of_keras(config: Any) -> bool:
    """Whether there is nothing but Keras's own objects in a config."""
    if isinstance(config, list | tuple):
        return all(map(_is_of_keras, config))
    if not isinstance(config, dict):
        return True
    if config.get("class_name") == "function":
        name = config["config"]
        return any(hasattr(x, name) for x in (keras.losses, keras.metrics))
    module = config.get("module")
    if "class_name" in config and (module or "").split(".")[0] != "keras":
        return False
    return all(map(_is_of_keras, config.values()))


def _is_ours(layer: keras.layers.Layer) -> bool:
    in_package = type(layer).__module__.split(".")[0] == "tfpbnn"
    return in_package or is_variational(layer)


def _has_plain(layer: keras.layers.Layer) -> bool:
    known = counterparts.of_variational(layer) is not None
    return known or isinstance(layer, Variational | HomoscedasticScale)


def _plain(copier: copying.Copier, layer: Any) -> keras.layers.Layer:
    """The plain layer for one of ours, without its weights."""
    counterpart = counterparts.of_variational(layer)
    if counterpart is not None:
        config = copying.arguments(layer.get_config(), counterpart.plain)
        return counterpart.plain.from_config(config)
    if isinstance(layer, HomoscedasticScale):
        # [x, raw] is x @ [1, 0] + [0, raw].
        return keras.layers.Dense(
            2 * layer.raw_scale.shape[0],
            name=layer.name,
            dtype=layer.dtype_policy,
            trainable=layer.trainable,
        )
    return copier(layer.layer)  # of Variational


def _set_weights(old: Any, new: keras.layers.Layer) -> None:
    counterpart = counterparts.of_variational(old)
    if counterpart is not None:
        variables = counterpart.variables(new)
        for name, loc in counterpart.locs(old).items():
            variables[name].assign(loc)
    elif isinstance(old, HomoscedasticScale):
        raw = keras.ops.convert_to_numpy(old.raw_scale)
        kernel = np.eye(len(raw), 2 * len(raw))
        new.set_weights([kernel, np.concatenate([np.zeros_like(raw), raw])])
    else:
        copying.copy_state(old.layer, new)


def freeze_scales(model: keras.layers.Layer) -> None:
    """Leaves only the locations of the posteriors to be trained.

    Of all variational layers of a built model, in place: scales, and whatever
    else a posterior has beside its `loc`, stay as they are. To be called
    before `compile`, and again after loading: as in Keras, what is frozen
    among a layer's weights is not saved. `model.trainable = False` and then
    `True` undoes it.

    Args:
        model: a built model or layer of any kind.

    Raises:
        ValueError: if there is no posterior in it.

    Example:
    ```python
    tfpbnn.freeze_scales(model)
    model.compile("adam", loss=tfpbnn.likelihoods.Normal())
    model.fit(x, y, verbose=0)
    ```
    """
    variables = [v for v in model.variables if _is_of_posterior(v)]
    if not variables:
        raise ValueError(
            "`model` must be built and have posteriors with scales. Received: "
            f"model={model!r}"
        )
    for variable in variables:
        variable.trainable = False


def _is_of_posterior(variable: keras.Variable) -> bool:
    """A family's variable other than `loc`; layers name their families so."""
    owner, _, name = variable.path.rpartition("/")
    return owner.endswith("_posterior") and name != "loc"
