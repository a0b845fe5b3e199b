"""Jobs on a Ray cluster."""

import concurrent.futures
from collections.abc import Callable
from typing import Any


class RayExecutor(concurrent.futures.Executor):
    """Runs jobs as Ray tasks, for the `executor` of an ensemble's `fit`.

    Needs `pip install "tfpbnn[ray]"`, and a `directory` that all machines share.
    Uses the cluster that `ray.init` was called for, and starts one on this
    machine if it was not.

    Args:
        **options: of `ray.remote`, for each job: `num_cpus`, `num_gpus`,
            `max_retries`, `runtime_env`, ...

    Raises:
        ImportError: if Ray is not installed.

    Example:
    ```py
    import ray

    ray.init(address="auto")
    with tfpbnn.ensembles.RayExecutor(num_cpus=2) as executor:
        ensemble.fit(x, y, executor=executor, directory="/shared/members")
    ```
    """

    def __init__(self, **options: Any):
        try:
            import ray
        except ImportError as error:
            raise ImportError(
                '`RayExecutor` needs Ray: pip install "tfpbnn[ray]"'
            ) from error
        self._ray = ray
        self._options = options
        self._futures: list[concurrent.futures.Future] = []

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> concurrent.futures.Future:
        """Starts a task; its future."""
        remote = self._ray.remote(fn)
        if self._options:
            remote = remote.options(**self._options)
        future = remote.remote(*args, **kwargs).future()
        self._futures.append(future)
        return future

    def shutdown(
        self, wait: bool = True, *, cancel_futures: bool = False
    ) -> None:
        """Waits for the tasks; the cluster stays."""
        if cancel_futures:
            for future in self._futures:
                future.cancel()
        if wait:
            concurrent.futures.wait(self._futures)
