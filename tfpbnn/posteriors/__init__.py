"""Distributions over a whole network's weights, as Keras models.

Whatever method found them: samples of weights, of snapshots or of a chain, and
a Normal of low rank. To add one: a file with a subclass of
`network_posterior.NetworkPosterior` that draws weights. The methods that find
them (`ensembles/averaging`; samplers to come) have folders of their own.
"""
