"""Sets the sizes from which a fused pass is faster, compilation included.

They were measured on two CPU cores with AVX-512 (benchmarks/parts.py). A
machine with more cores, or an accelerator, would have other numbers.
"""

# Weights of a tensor, for a training step's passes over them.
MIN_SIZE = 2**14
# Outputs of an example, for the noise of local reparameterization.
MIN_OUTPUTS = 2**8
# Random numbers of one draw of weights, for prediction.
MIN_DRAW = 2**10
# Random numbers of one row's outputs, for prediction ...
MIN_ROW = 2**4
# ... or, where a row has fewer, of all rows and draws together.
MANY = 2**18
