"""The functions that an export offers, and their inputs and outputs."""
