"""Last layers that say how noisy the targets are."""
