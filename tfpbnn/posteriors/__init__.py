"""Distributions over a whole network's weights, as Keras models.

Samples of weights, and a Normal of low rank. To add one: a subclass of
`network_posterior.NetworkPosterior` that draws weights.
"""
