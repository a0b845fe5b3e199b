"""What a trained posterior says of itself, without data."""

from tfpbnn.diagnostics.signal_to_noise import signal_to_noise

__all__ = ["signal_to_noise"]
