"""Draws as graphs that serve: cut, fixed, and free of what servers lack."""
