"""The arguments of an export are checked here."""

from collections.abc import Sequence

import numpy as np

from tfpbnn.base import checks
from tfpbnn.exporting.formats import WRITERS

DRAWS = ("fresh", "fixed")
FORMATS = ("savedmodel", *WRITERS)
SIGNATURES = (
    "serving_default",
    "samples",
    "deterministic",
    "seeded",
    "dynamic",
)
_SEEDED = ("seeded", "dynamic")
_LEVELS = (0.05, 0.5, 0.95)


class Arguments:
    """The arguments are checked, and have their defaults in place.

    Attributes:
        draws: "fresh" or "fixed".
        format: one of `FORMATS`.
        signatures: some of `SIGNATURES`.
        quantiles: levels between 0 and 1.
    """

    def __init__(
        self,
        num_samples: int,
        draws: str,
        signatures: Sequence[str] | None,
        quantiles: Sequence[float] | None,
        format: str,
    ):
        """Checks the arguments as they are given to `export`."""
        checks.positive_integer("num_samples", num_samples)
        checks.one_of("draws", draws, DRAWS)
        checks.one_of("format", format, FORMATS)
        self.draws, self.format = draws, format
        is_other = format != "savedmodel"
        if is_other and draws != "fixed":
            raise ValueError(
                f'format="{format}" has no random numbers, so it needs '
                f'draws="fixed". Received: draws="{draws}"'
            )
        self.signatures = self._checked_signatures(signatures, is_other)
        default = () if is_other else _LEVELS
        levels = default if quantiles is None else quantiles
        is_list = np.ndim(levels) == 1
        if not is_list or not all(0 < level < 1 for level in levels):
            raise ValueError(
                "`quantiles` must be a list of levels between 0 and 1, "
                f"exclusive. Received: quantiles={quantiles!r}"
            )
        self.quantiles = tuple(levels)

    def _checked_signatures(
        self, signatures: Sequence[str] | None, is_other: bool
    ) -> tuple[str, ...]:
        possible = [
            name
            for name in SIGNATURES
            if self.draws == "fresh" or name not in _SEEDED
        ]
        if signatures is None:
            defaults = [name for name in possible if name != "dynamic"]
            return tuple(defaults[:1] if is_other else defaults)
        chosen = tuple(dict.fromkeys(signatures))
        if isinstance(signatures, str) or not (
            chosen and set(chosen) <= set(possible)
        ):
            raise ValueError(
                f"`signatures` must be some of {possible} (those with a seed "
                f'have draws="fresh"). Received: signatures={signatures!r}'
            )
        if is_other and len(chosen) > 1:
            raise ValueError(
                f'`signatures` must be one for format="{self.format}". '
                f"Received: signatures={signatures!r}"
            )
        return chosen
