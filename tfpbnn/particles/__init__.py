"""Many draws of a model's weights for the price of few."""

from tfpbnn.particles.engine import DrawFunction, draw_function
from tfpbnn.particles.run import Run
from tfpbnn.particles.stacks import stack_predict

__all__ = ["DrawFunction", "Run", "draw_function", "stack_predict"]
