"""What is compiled for an object of a user's, kept as long as the object."""

from typing import Any


class _Kept:
    """Holds what is kept; Keras looks into dicts and lists, but not into it."""

    def __init__(self) -> None:
        self.parts: dict[str, dict[Any, Any]] = {}


def kept_with(owner: Any, name: str) -> dict[Any, Any]:
    """Returns a dict that lives with an object, empty when first asked for.

    It is an attribute, which Keras does not track or save. A dictionary of
    weak keys would not do: its values must not refer to their keys, and what is
    compiled for a model refers to its layers, and these may refer to the model.
    Then neither would ever be freed. As an attribute, both go at once.

    Args:
        owner: the object, such as a Keras model.
        name: what is kept; each use has its own dict.
    """
    if "_tfpbnn_kept" not in vars(owner):
        owner._tfpbnn_kept = _Kept()
    kept: _Kept = owner._tfpbnn_kept
    return kept.parts.setdefault(name, {})
