"""Runs jobs on a Ray cluster."""

import concurrent.futures
import signal
from collections.abc import Callable
from typing import Any


class RayExecutor(concurrent.futures.Executor):
    """Runs jobs as Ray tasks, for the `executor` of an ensemble's `fit`.

    It needs `pip install "tfpbnn[ray]"`, and in `fit` a `directory` that all
    machines share. It uses the cluster that `ray.init` was called for, and
    starts one on this machine if it was not.

    Args:
        **options: the options of `ray.remote` for each job: `num_cpus`,
            `num_gpus`, `max_retries`, `runtime_env`, ...

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
        self._is_shut = False

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> concurrent.futures.Future:
        """Starts a task; returns its future, whose `cancel` stops the task."""
        if self._is_shut:
            raise RuntimeError("`submit` after `shutdown`")
        remote = self._ray.remote(_call)
        if self._options:
            remote = remote.options(**self._options)
        reference = remote.remote(fn, *args, **kwargs)
        future = _Task(lambda: self._ray.cancel(reference))
        reference.future().add_done_callback(future.follow)
        self._futures.append(future)
        return future

    def shutdown(
        self, wait: bool = True, *, cancel_futures: bool = False
    ) -> None:
        """Waits for the tasks; the cluster goes on running."""
        self._is_shut = True
        if cancel_futures:
            for future in self._futures:
                future.cancel()
        if wait:
            concurrent.futures.wait(self._futures)


class _Task(concurrent.futures.Future):
    """The future of a Ray task, which is done when Ray says so.

    When the task is cancelled, it ends with an error of Ray's. Ray's own
    futures say at once that they are cancelled, while their tasks go on.
    """

    def __init__(self, stop: Callable[[], None]):
        super().__init__()
        self._stop = stop

    def cancel(self) -> bool:
        if not self.done():
            self._stop()
        return False

    def follow(self, found: concurrent.futures.Future) -> None:
        """Takes over the result, or the error, of another future."""
        if (error := found.exception()) is not None:
            self.set_exception(error)
        else:
            self.set_result(found.result())


def _call(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    # A function, which is all that Ray takes. Ray stops tasks by an interrupt,
    # which what was started in the background of a shell ignores.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return fn(*args, **kwargs)
