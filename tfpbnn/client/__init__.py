"""Predictions from a model in TensorFlow Serving, without loading it."""

from tfpbnn.client.errors import ServerError
from tfpbnn.client.serving_client import TFServingClient
from tfpbnn.client.signatures import Metadata, Signature

__all__ = ["Metadata", "ServerError", "Signature", "TFServingClient"]
