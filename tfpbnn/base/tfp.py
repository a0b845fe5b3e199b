"""Imports TensorFlow Probability at its first use, since it takes a second."""

import importlib
from typing import Any


class _LazyModule:
    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module("tensorflow_probability"), name)


tfp: Any = _LazyModule()
