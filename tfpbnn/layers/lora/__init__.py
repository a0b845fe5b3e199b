"""Low-rank adapters on the kernels in a layer of Keras's, which stays frozen.

`factors` says how the kernel of a layer is a product of two, `methods` which
distribution the two have, and `adapter` holds them. `lora` is the layer around
a layer. To add a layer that takes adapters: a function in `factors`; to add a
method: an entry in `methods`.
"""
