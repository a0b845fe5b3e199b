"""Optimizers that leave a posterior behind."""
