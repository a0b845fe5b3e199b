"""The client asks a model in TensorFlow Serving, without loading it.

`serving_client` is what users call, `transport` says what a protocol has to
do, and `rest` and `rpc` do it. To add a protocol: a file with a class that has
the methods of `transport.Transport`, and its scheme in `serving_client`.
"""

from tfpbnn.client.errors import ServerError
from tfpbnn.client.serving_client import TFServingClient
from tfpbnn.client.signatures import Metadata, Signature

__all__ = ["Metadata", "ServerError", "Signature", "TFServingClient"]
