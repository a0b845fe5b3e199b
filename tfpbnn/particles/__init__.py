"""Many draws of a model's weights for the price of few."""

from tfpbnn.networks.posterior import Posterior
from tfpbnn.particles.engine import draw_function
from tfpbnn.particles.functions import DrawFunction
from tfpbnn.particles.stacks import stack_predict

__all__ = ["DrawFunction", "Posterior", "draw_function", "stack_predict"]
