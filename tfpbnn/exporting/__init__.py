"""Exports of posteriors for servers, phones and other run times."""

from tfpbnn.exporting.export import export
from tfpbnn.exporting.lint import lint_export

__all__ = ["export", "lint_export"]
