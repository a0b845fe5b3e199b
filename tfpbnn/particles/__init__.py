"""Many draws of a model's weights for the price of few."""

from tfpbnn.particles.engine import draw_function
from tfpbnn.particles.functions import DrawFunction
from tfpbnn.particles.posterior import Posterior
from tfpbnn.particles.run import Run
from tfpbnn.particles.stacks import stack_predict

__all__ = ["DrawFunction", "Posterior", "Run", "draw_function", "stack_predict"]
