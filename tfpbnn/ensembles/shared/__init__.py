"""Networks that share weights, or passes."""
