"""The log-density of a Keras model's weights, given data and priors.

What samplers walk on and other approximations are fitted to. `problem` makes it
of a model, data, a likelihood and priors: `choosing` says which weights are
random, with which priors; `parameters` makes one vector of them; `log_density`
is its density; `variational` takes a variational model for a plain one with its
priors. To add a kind of random weight: a class in `parameters`.
"""
