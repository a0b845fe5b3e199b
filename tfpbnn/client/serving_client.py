"""This is the client of TensorFlow Serving."""

import threading
import urllib.parse
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tfpbnn.base import checks
from tfpbnn.base.types import Array
from tfpbnn.client import logging, results, retries
from tfpbnn.client.errors import ServerError
from tfpbnn.client.rest import RestTransport
from tfpbnn.client.rpc import GrpcTransport
from tfpbnn.client.signatures import (
    CONTROLS,
    Metadata,
    Signature,
    arrange,
    controls_of,
    describe,
)
from tfpbnn.client.transport import Address, Transport

ResultT = TypeVar("ResultT")
_TRANSPORTS: dict[str, type[RestTransport] | type[GrpcTransport]] = {
    "http": RestTransport,
    "https": RestTransport,
    "grpc": GrpcTransport,
    "grpcs": GrpcTransport,
}


class TFServingClient:
    """Asks a model that `tfpbnn.export` wrote, in TensorFlow Serving.

    Predictions are those of `tfpbnn.predict`: of the signature
    `serving_default` with means, variances, entropies and the quantiles of the
    export, as with `keep_draws=False`; of `samples` with everything. The model
    is not loaded, and threads may share a client.

    Args:
        url: "http://host:8501" for REST, "grpc://host:8500" for gRPC, which is
            faster and needs `pip install tfpbnn[serving]`; "https" and "grpcs"
            are likewise, encrypted.
        model_name: the name that the server knows it by.
        version: which version to ask, an integer; by default the latest.
        label: or the label of a version, such as "stable".
        signature: which of the model's signatures `predict` asks by default.
        timeout: seconds until an attempt is given up.
        max_retries: how often to try again if no server was reached, with
            longer and longer pauses, at random to a part. What a server
            answered, errors too, is never asked again.
        likelihood: what the model was compiled with. Needed for `samples`
            only; a dict by name, if the model has several outputs.
        quantiles: the levels that the model was exported with, as its
            `model_card.json` has them, for `Predictive.quantile` and
            `interval`. The server does not say them.
        monitor: a `tfpbnn.monitor.UncertaintyMonitor` to which predictions are
            logged, or a dict of them by the outputs' names; or None.

    Raises:
        ImportError: for gRPC, if the extra `serving` is not installed.
        ValueError: for arguments that are not as above.

    Example:
    ```python
    client = tfpbnn.client.TFServingClient(
        "http://127.0.0.1:8501", "bnn", label="stable", timeout=2.0
    )
    # p = client.predict(x_test)
    # p.mean, p.epistemic_variance                          # [N, k]
    client.close()
    ```
    """

    def __init__(
        self,
        url: str,
        model_name: str,
        version: int | None = None,
        label: str | None = None,
        *,
        signature: str = "serving_default",
        timeout: float = 10.0,
        max_retries: int = 3,
        likelihood: Any = None,
        quantiles: Sequence[float] = (),
        monitor: Any = None,
    ):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in _TRANSPORTS or not parts.hostname:
            raise ValueError(
                "`url` must be like 'http://host:8501' (REST) or "
                f"'grpc://host:8500'. Received: url={url!r}"
            )
        if version is not None and label is not None:
            raise ValueError(
                "`version` and `label` exclude each other. Received: "
                f"version={version!r}, label={label!r}"
            )
        if not timeout > 0:
            raise ValueError(
                "`timeout` must be a positive number of seconds. Received: "
                f"timeout={timeout!r}"
            )
        checks.integer("max_retries", max_retries, least=0)
        self.url, self.model_name = url, model_name
        self.version, self.label = version, label
        self.signature, self.max_retries = signature, max_retries
        self.likelihood, self.quantiles = likelihood, tuple(quantiles)
        self.monitor = monitor
        self._transport: Transport = _TRANSPORTS[parts.scheme](
            Address(parts, model_name, version, label, timeout)
        )
        self._known: Metadata | None = None
        self._lock = threading.Lock()

    def predict(
        self,
        x: Any,
        *,
        signature: str | None = None,
        seed: Any = None,
        num_samples: int | None = None,
        groups: Any = None,
        sample_weight: Any = None,
        uniforms: Any = None,
        ids: Any = None,
    ) -> Any:
        """Returns a `tfpbnn.Predictive`, or a dict for several outputs.

        Of `serving_default`, what the server does not say is NaN: for classes
        the variance over draws, and the variation ratio. `p.num_samples` is 0
        if the server does not say it. Conformal sets and intervals are
        `p.conformal`.

        Args:
            x: inputs, `[N, ...]`; a dict by name if there are several.
            signature: which to ask, by default that of the client.
            seed: for the signatures `seeded` and `dynamic`, an integer, or for
                `seeded` one for each row, `[N]`.
            num_samples: for the signature `dynamic`.
            groups, sample_weight, uniforms: what conformal sets or intervals
                need of new rows, as their `sets` and `interval` take it; of
                several outputs a dict by their names.
            ids: the names of the rows, texts or integers, by which their
                labels find them in the monitor; None for new ones. What the
                monitor refuses is warned of, and predictions go on.

        Raises:
            ConnectionError: if no server was reached, also when tried again.
            LookupError: if there is no such model, version or signature.
            ServerError: if the server answered with another error.
            TimeoutError: if it took longer than `timeout`.
            ValueError: if inputs don't fit the signature, or groups are not
                among those of the sets.
        """
        name = signature or self.signature
        controls = controls_of(
            {"seed": seed, "num_samples": num_samples},
            {
                "groups": groups,
                "sample_weight": sample_weight,
                "uniforms": uniforms,
            },
        )
        try:
            chosen, inputs = self._arranged(name, x, controls)
        except (LookupError, ValueError):
            if self._known is None:
                raise
            self._known = None  # there may be a new version by now
            chosen, inputs = self._arranged(name, x, controls)
        outputs = self._call(
            lambda: self._transport.predict(inputs, name, chosen)
        )
        num_samples = num_samples or self.metadata().num_samples
        found = results.predictive(
            outputs, self.likelihood, self.quantiles, num_samples
        )
        if self.monitor is not None:
            logging.log(self.monitor, ids, found, x)
        return found

    def metadata(self) -> Metadata:
        """Returns the model's version and signatures, as last asked.

        They are asked for once, and again after an error.

        Raises:
            ConnectionError: as in `predict`, like the other errors.
        """
        with self._lock:
            known = self._known  # others may forget it meanwhile
            if known is None:
                known = self._known = self._call(self._transport.metadata)
            return known

    def status(self) -> dict[int, str]:
        """Returns the states of versions, such as `{1: "AVAILABLE"}`.

        Of the version or label that the client asks for, or of all.

        Raises:
            ConnectionError: as in `predict`, like the other errors.
        """
        return self._call(lambda: self._transport.status(any_version=False))

    def close(self) -> None:
        """Closes connections; the next call opens new ones."""
        self._transport.close()

    def __enter__(self) -> "TFServingClient":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def _arranged(
        self, name: str, x: Any, controls: dict[str, Any]
    ) -> tuple[Signature, dict[str, Array]]:
        known = self.metadata().signatures
        if name not in known:
            raise LookupError(
                f"Model {self.model_name!r} has no signature {name!r}. It has: "
                f"{', '.join(known)}"
            )
        inputs = arrange(known[name], x, controls)
        missing = set(known[name].inputs) - set(inputs)
        if self._transport.fills_in_defaults:
            missing -= set(CONTROLS)
        if missing:
            raise ValueError(
                f"Signature {name!r} needs {sorted(missing)} too, as arguments "
                f"of `predict`. It takes {describe(known[name].inputs)}"
            )
        return known[name], inputs

    def _call(self, function: Callable[[], ResultT]) -> ResultT:
        try:
            return retries.call(function, self.max_retries)
        except ConnectionError as error:
            raise ConnectionError(
                f"No server was reached at {self.url} in "
                f"{self.max_retries + 1} attempts, last: {error}. Is "
                "TensorFlow Serving running there, and is the port (8501 for "
                "REST, 8500 for gRPC) open?"
            ) from error
        except TimeoutError as error:
            raise TimeoutError(
                f"{self.url} did not answer in time: {error}. Give a longer "
                "`timeout`, or ask for fewer rows at a time"
            ) from error
        except ServerError as error:
            self._known = None
            if (found := self._not_found(error)) is not None:
                raise LookupError(found) from error
            raise

    def _not_found(self, error: ServerError) -> str | None:
        """Says what there is, if the model or the version is missing."""
        is_label = "servable version label" in str(error)
        if error.code != "NOT_FOUND" and not is_label:
            return None
        try:
            states = self._transport.status(any_version=True)
        except (OSError, ServerError):
            return (
                f"{self.url} has no model {self.model_name!r}; names are those "
                "of the server's --model_name or --model_config_file. "
                f"{error}"
            )
        wanted = (
            f"version {self.version}"
            if self.label is None
            else f"label {self.label!r}"
        )
        return (
            f"Model {self.model_name!r} at {self.url} has no {wanted} to ask. "
            f"It has the versions {states}. {error}"
        )
