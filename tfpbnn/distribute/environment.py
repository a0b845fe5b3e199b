"""Chooses the strategy that a process was started for."""

import json
import os
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

_EXAMPLE = (
    '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": '
    '"worker", "index": 0}}'
)


def strategy() -> tf.distribute.Strategy:
    """Chooses a strategy by the environment, so that a script need not.

    With several workers in the environment variable `TF_CONFIG`, which
    launchers set, it is a `MultiWorkerMirroredStrategy` over them; with several
    GPUs (or, without any, several logical CPU devices) a `MirroredStrategy`;
    else TensorFlow's default, which does nothing. Make it before any tensor,
    and the model inside of its scope.

    Raises:
        ValueError: if `TF_CONFIG` is no JSON, or does not say which worker
            this process is.

    Example:
    ```python
    strategy = tfpbnn.distribute.strategy()
    with strategy.scope():
        model = tfpbnn.Sequential([
            keras.Input((8,)),
            tfpbnn.layers.DenseFlipout(2),
        ])
        model.compile("adam", loss=tfpbnn.likelihoods.Normal())
    ```
    """
    if _workers(os.environ.get("TF_CONFIG", "")) > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    for kind in ("GPU", "CPU"):
        devices = tf.config.list_logical_devices(kind)
        if devices:
            break
    if len(devices) < 2:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([d.name for d in devices])


def _workers(config: str) -> int:
    """Counts the workers that `TF_CONFIG` names; 0 without any."""
    if not config.strip():
        return 0
    try:
        parsed = json.loads(config)
    except json.JSONDecodeError as error:
        raise _bad(config, f"no JSON: {error}") from error
    cluster = _part(parsed, "cluster")
    if not cluster:
        return 0
    if "ps" in cluster:
        raise _bad(config, "parameter servers, which Keras 3 can't train with")
    task = _part(parsed, "task")
    kind, index = task.get("type"), task.get("index")
    hosts = cluster.get(str(kind))
    if not isinstance(hosts, list):
        raise _bad(config, f"a task of type {kind!r}, not in the cluster")
    if type(index) is not int or not 0 <= index < len(hosts):
        raise _bad(config, f"a task of index {index!r} among {len(hosts)}")
    kinds = [cluster[name] for name in ("chief", "worker") if name in cluster]
    return sum(map(len, kinds))


def _part(config: Any, name: str) -> Mapping[str, Any]:
    part = config.get(name) if isinstance(config, Mapping) else None
    if part is None:
        return {}
    if not isinstance(part, Mapping):
        raise _bad(json.dumps(config), f"{name}={part!r}")
    return part


def _bad(config: str, why: str) -> ValueError:
    return ValueError(
        "`TF_CONFIG` must name the workers and say which one this process is, "
        f"as in {_EXAMPLE}. Received: TF_CONFIG={config[:200]!r} ({why})"
    )
