"""What REST and gRPC have in common."""

import dataclasses
import urllib.parse
from collections.abc import Mapping
from typing import Protocol

from tfpbnn.base.types import Array
from tfpbnn.client.signatures import Metadata, Signature


@dataclasses.dataclass(frozen=True)
class Address:
    """Which model of which server, and the seconds for a call."""

    url: urllib.parse.SplitResult
    model_name: str
    version: int | None
    label: str | None
    timeout: float


class Transport(Protocol):
    """One attempt at each call of TensorFlow Serving's API.

    Calls raise `ConnectionError` if no server was reached, which may be tried
    again; `TimeoutError`; and `ServerError` for what the server answered.

    Attributes:
        fills_in_defaults: whether inputs with defaults may be left out.
    """

    fills_in_defaults: bool

    def metadata(self) -> Metadata:
        """Signatures of the model."""

    def status(self, any_version: bool) -> dict[int, str]:
        """States by version: of the one that is asked for, or of all."""

    def predict(
        self,
        inputs: Mapping[str, Array],
        name: str,
        signature: Signature,
    ) -> dict[str, Array]:
        """Outputs of the signature of that name."""

    def close(self) -> None:
        """Closes connections."""


def state(name: str, message: str) -> str:
    """The state of a version in a line."""
    return f"{name} ({message})" if message else name
