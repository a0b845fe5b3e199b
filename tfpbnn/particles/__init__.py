"""Makes many draws of a model's weights for the price of few.

`engine` finds the function that computes a model's draws: `layer_draws` of
networks whose layers draw, `posterior_draws` of posteriors over whole
networks. `split` finds what all draws share, `rows` where rows stay apart,
`costs` which way is the cheapest. To draw from a new kind of model: a subclass
of `functions.DrawFunction`, chosen in `engine`.
"""

from tfpbnn.networks.posterior import Posterior
from tfpbnn.particles.engine import draw_function
from tfpbnn.particles.functions import DrawFunction
from tfpbnn.particles.stacks import stack_predict

__all__ = ["DrawFunction", "Posterior", "draw_function", "stack_predict"]
