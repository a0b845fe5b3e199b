"""What moves a chain by one step, one method a file.

A kernel sees a density of whitened positions, in which all directions are about
as wide. To add one: a subclass of `base.Kernel` with its `step`, and an entry
in `KERNELS`.
"""

from tfpbnn.mcmc.kernels.base import Kernel, Stage, Step, Target
from tfpbnn.mcmc.kernels.chees import ChEES
from tfpbnn.mcmc.kernels.hmc import HMC
from tfpbnn.mcmc.kernels.mclmc import MCLMC
from tfpbnn.mcmc.kernels.nuts import NUTS
from tfpbnn.mcmc.kernels.snaper import SNAPER

KERNELS: dict[str, type[Kernel]] = {
    "chees": ChEES,
    "hmc": HMC,
    "mclmc": MCLMC,
    "nuts": NUTS,
    "snaper": SNAPER,
}

__all__ = [
    "HMC",
    "KERNELS",
    "MCLMC",
    "NUTS",
    "SNAPER",
    "ChEES",
    "Kernel",
    "Stage",
    "Step",
    "Target",
]
