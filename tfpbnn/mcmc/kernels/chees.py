"""Path lengths that change the expected square most."""

from typing import Any

from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Tensor
from tfpbnn.mcmc.kernels.pooled import PooledHMC


class ChEES(PooledHMC):
    """Paths whose ends are as far from the mean, or as near, as chance is.

    Reference:
        [Hoffman, Radul and Sountsov,
        2021](https://proceedings.mlr.press/v130/hoffman21a)
    """

    def _criterion(
        self,
        start: Tensor,
        end: Tensor,
        accept: Tensor,
        length: Tensor,
        direction: Any,
    ) -> Tensor:
        return tfp.experimental.mcmc.chees_rate_criterion(
            start, end, accept, length
        )
