"""Placeholder. To add nothing."""
