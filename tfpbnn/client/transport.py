"""This is what REST and gRPC have in common."""

import dataclasses
import urllib.parse
from collections.abc import Mapping
from typing import Protocol

from tfpbnn.base.types import Array
from tfpbnn.client.signatures import Metadata, Signature


@dataclasses.dataclass(frozen=True)
class Address:
    """An address says which model of which server, and how long to wait."""

    url: urllib.parse.SplitResult
    model_name: str
    version: int | None
    label: str | None
    timeout: float


class Transport(Protocol):
    """A transport attempts calls of TensorFlow Serving's API once.

    Calls raise `ConnectionError` if no server was reached, which may be tried
    again; `TimeoutError`; and `ServerError` for what the server answered.

    Attributes:
        fills_in_defaults: whether inputs with defaults may be left out.
    """

    fills_in_defaults: bool

    def metadata(self) -> Metadata:
        """Returns the signatures of the model."""

    def status(self, any_version: bool) -> dict[int, str]:
        """Returns states by version: of that which is asked for, or of all."""

    def predict(
        self,
        inputs: Mapping[str, Array],
        name: str,
        signature: Signature,
    ) -> dict[str, Array]:
        """Returns the outputs of the signature of that name."""

    def close(self) -> None:
        """Closes connections."""


def state(name: str, message: str) -> str:
    """Returns the state of a version in a line."""
    return f"{name} ({message})" if message else name
