"""Adds up over the replicas of a tf.distribute strategy, inside of a step."""

from typing import Any

import tensorflow as tf

from tfpbnn.base.types import Tensor


def are_several() -> bool:
    """Says whether code is run, or traced, in one of several replicas."""
    context = tf.distribute.get_replica_context()
    return context is not None and context.num_replicas_in_sync > 1


def count() -> int:
    """Returns the number of replicas, of all workers, that take a step."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def total(values: Any) -> Any:
    """Sums tensors over all replicas, in one of which it is called.

    Args:
        values: a tensor, or a structure of them.
    """
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, values)


def mean_rows(rows: Tensor) -> Tensor:
    """Computes the mean over replicas of their numbers of rows.

    Metrics of what is equal in all replicas are weighted by it: then their
    weights add up to the rows of the batch.
    """
    return total(tf.cast(rows, tf.float32)) / count()


def share_of(rows: Tensor) -> Tensor:
    """Computes a replica's part of the rows that all replicas have."""
    rows = tf.cast(rows, tf.float32)
    return tf.math.divide_no_nan(rows, total(rows))


def is_multi_worker(strategy: Any) -> bool:
    """Says whether a strategy trains in several processes."""
    kind = tf.distribute.MultiWorkerMirroredStrategy
    if not isinstance(strategy, kind):
        return False
    return num_workers(strategy) > 1


def num_workers(strategy: Any) -> int:
    """Returns the number of processes of a multi-worker strategy."""
    cluster = strategy.cluster_resolver.cluster_spec()
    kinds = [kind for kind in cluster.jobs if kind in ("chief", "worker")]
    return sum(cluster.num_tasks(kind) for kind in kinds)
