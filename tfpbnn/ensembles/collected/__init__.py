"""Weights collected from one training."""
