"""Tests that may be looked at after each row, by betting.

A gambler bets against a claim about means, at odds that are fair or worse if it
holds. Then large winnings are as improbable as they are large, whenever one
stops to look (Ville's inequality).
"""

from typing import Any

import numpy as np

from tfpbnn.base import checks
from tfpbnn.base.types import Array

# The shares of the largest stake that bets are of: small ones win by small
# changes, large ones by large changes.
_SHARES = 0.9 / 2.0 ** np.arange(6)
_LARGEST = 690.0  # the logarithm of what products stay below


class BettingTest:
    """Tests whether means of bounded numbers stay in a range, at any time.

    The claim is that each number, in [0, 1], has a mean in `[low, high]` given
    those before it. It is tested by two gamblers, who bet that means are lower
    or higher. Their money is the e-value; the test raises an alarm where it
    reaches `1 / alpha`. New bets are begun at each row, so that changes are
    found late in a long stream too.

    Args:
        low, high: the range of the mean, numbers in [0, 1]; or arrays `[C]`,
            for C streams that are tested side by side.
        alpha: the rate of false alarms, in (0, 1).
        control: what the rate is of. "ever": the probability that there ever is
            an alarm while the claim holds is `alpha` at most, for each stream.
            "run": rows until there is one are `1 / alpha` or more in the mean
            (an e-detector), for faster alarms.

    Attributes:
        count: the number of rows.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
    ```python
    rng = np.random.default_rng(0)
    test = tfpbnn.monitor.BettingTest(0.88, 0.92, alpha=0.001)
    test.update(rng.uniform(size=2000) < 0.9)        # as it should be
    test.has_alarm                                   # [False]
    test.update(rng.uniform(size=2000) < 0.75)
    test.has_alarm, test.is_higher                   # [True], [False]
    ```

    Reference:
        [Waudby-Smith and Ramdas, 2024](https://arxiv.org/abs/2010.09686), for
        bets on bounded means; [Shin et al.,
        2022](https://arxiv.org/abs/2203.03532), for bets that begin at each row
    """

    def __init__(
        self,
        low: Any,
        high: Any,
        *,
        alpha: Any = 0.001,
        control: str = "ever",
    ):
        ends = np.broadcast_arrays(np.atleast_1d(low), np.atleast_1d(high))
        self.low, self.high = (np.asarray(end, np.float64) for end in ends)
        if not np.all(
            (self.low >= 0) & (self.low <= self.high) & (self.high <= 1)
        ):
            raise ValueError(
                "`low` and `high` must be numbers with 0 <= low <= high <= 1. "
                f"Received: low={low!r}, high={high!r}"
            )
        self.alpha = np.asarray(alpha, np.float64)
        if not np.all((self.alpha > 0) & (self.alpha < 1)):
            raise ValueError(
                "`alpha` must be between 0 and 1, exclusive. Received: "
                f"alpha={alpha!r}"
            )
        self.control = checks.one_of("control", control, ["ever", "run"])
        self.count = 0
        # The logarithm of the money in bets: lower or higher, share, stream.
        self._money = np.full((2, len(_SHARES), len(self.low)), -np.inf)
        self._peak = np.zeros((2, len(self.low)))

    def update(self, x: Any) -> None:
        """Bets on more rows.

        Args:
            x: numbers in [0, 1], `[n]` or for C streams `[n, C]`; NaN where
                there is none, which nobody bets on.

        Raises:
            ValueError: if a number is not in [0, 1], or shapes don't fit.
        """
        x = np.asarray(x, np.float64)
        x = x[:, np.newaxis] if x.ndim == 1 else x
        if x.ndim != 2 or x.shape[1] != len(self.low):
            raise ValueError(
                f"`x` must have the shape [n, {len(self.low)}], for so many "
                f"streams. Received: x of shape {x.shape}"
            )
        if np.any((x < 0) | (x > 1)):
            raise ValueError(
                "`x` must hold numbers in [0, 1]. Received: numbers from "
                f"{np.nanmin(x)} to {np.nanmax(x)}"
            )
        rows = self._rows_at_once()
        for start in range(0, len(x), rows):
            self._bet(x[start : start + rows])

    def _rows_at_once(self) -> int:
        """How many rows can be multiplied up without leaving floats."""
        most = self._gains(np.tile([0.0, 1.0], (len(self.low), 1)))
        each = np.log1p(_SHARES[0] * np.max(most))
        return max(1, int(_LARGEST / max(each, np.log(10))))

    def _gains(self, x: Array) -> Array:
        """What numbers `[C, n]` win of the largest stakes, `[2, C, n]`."""
        low, high = self.low[:, np.newaxis], self.high[:, np.newaxis]
        # The largest stakes that can't be lost more than once.
        lowest = np.where(low < 1, low - 1, -np.inf)
        highest = np.where(high > 0, high, np.inf)
        return np.stack([(x - low) / lowest, (x - high) / highest])

    def _bet(self, x: Array) -> None:
        # From the last row to the first: what a bet of each row comes to.
        gains = self._gains(np.ascontiguousarray(x[::-1].T))[:, np.newaxis]
        factors = _SHARES[:, np.newaxis, np.newaxis] * gains
        factors += 1
        factors[np.isnan(factors)] = 1
        grown = np.cumprod(factors, axis=-1, out=factors)
        begun = np.log(grown @ self._weights(len(x))[::-1])
        self._money = np.logaddexp(self._money + np.log(grown[..., -1]), begun)
        self.count += len(x)
        self._peak = np.maximum(self._peak, self._log_e())

    def _weights(self, rows: int) -> Array:
        """What new bets are begun with at the next rows, `[rows]`."""
        if self.control == "run":
            return np.ones(rows)
        at: Array = self.count + np.arange(rows + 1)
        return np.asarray(-np.diff(_unbet(at)))

    def _log_e(self) -> Array:
        """The logarithm of each gambler's money, `[2, C]`."""
        money = _log_sum_exp(self._money, axis=1) - np.log(len(_SHARES))
        if self.control == "run":
            return money
        return np.logaddexp(money, np.log(_unbet(self.count)))

    @property
    def e_values(self) -> Array:
        """The money of both gamblers by now, for each unit of it, `[C]`.

        Large values speak against the claim; the mean is 1 or less if it holds
        (for `control="ever"`).
        """
        return np.exp(np.minimum(_mean_of(self._log_e()), 700.0))

    @property
    def highest(self) -> Array:
        """At least half of the highest e-value that there was, `[C]`.

        It is of the ends of updates, of the gambler who had more.
        """
        return np.exp(np.minimum(np.max(self._peak, axis=0), 700.0)) / 2

    @property
    def has_alarm(self) -> Array:
        """Whether there ever was an alarm, `[C]`."""
        return self.highest >= 1 / self.alpha

    @property
    def is_higher(self) -> Array:
        """Whether means seem to be higher, rather than lower, `[C]`."""
        return self._peak[1] > self._peak[0]

    def state(self) -> Array:
        """Returns all that the test remembers, a vector."""
        return np.concatenate(
            [[self.count], self._peak.ravel(), self._money.ravel()]
        )

    def restore(self, state: Array) -> None:
        """Sets what the test remembers, as `state` has returned it."""
        size = self._peak.size
        self.count = int(state[0])
        self._peak = state[1 : size + 1].reshape(self._peak.shape).copy()
        self._money = state[size + 1 :].reshape(self._money.shape).copy()


def _unbet(count: Any) -> Any:
    """The share of the money that no bet was begun with after some rows."""
    return np.log(2) / np.log(count + 2)


def _log_sum_exp(values: Array, axis: int) -> Array:
    top = np.max(values, axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        found = np.log(np.sum(np.exp(values - top), axis=axis, keepdims=True))
    return np.squeeze(found + top, axis=axis)


def _mean_of(logs: Array) -> Array:
    return np.logaddexp(logs[0], logs[1]) - np.log(2)
