"""Defines distributions over a whole network's weights, as Keras models.

They are samples of weights (snapshots, or draws of a chain) and Normals
(diagonal, or of low rank), whatever method found them. `laplace` fits one to a
trained network by its curvature. To add one: a file with a subclass of
`network_posterior.NetworkPosterior` that draws weights. The methods that find
them (`ensembles/averaging`, `mcmc`, `optimizers`) have folders of their own.
"""
