"""What the benchmarks of training steps share: rounds and their table."""

import argparse
import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def arguments(description: str) -> argparse.Namespace:
    """`--rounds` and `--no-tfp`."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--no-tfp", action="store_true")
    return parser.parse_args()


def steps(
    models: dict[str, Any], x: Any, y: Any, batch_size: int, rounds: int
) -> dict[str, np.ndarray]:
    """Milliseconds per step of `fit`, `[rounds, 2]` for each model.

    By the clock, and of the processor, both cores together.
    """

    def fit(model: Any) -> None:
        model.fit(x, y, batch_size=batch_size, verbose=0)

    fits = {name: functools.partial(fit, m) for name, m in models.items()}
    count = len(y) / batch_size
    return {name: t / count for name, t in calls(fits, rounds).items()}


def calls(
    functions: dict[str, Callable[[], Any]], rounds: int
) -> dict[str, np.ndarray]:
    """Milliseconds per call, `[rounds, 2]` for each function, as in `steps`."""
    for function in functions.values():
        function()
    times: dict[str, list[np.ndarray]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = _now()
            function()
            times[name].append((_now() - start) * 1e3)
    return {name: np.array(t) for name, t in times.items()}


def _now() -> np.ndarray:
    return np.array([time.perf_counter(), time.process_time()])


def report(times: dict[str, np.ndarray]) -> None:
    """Medians over rounds of the ratios to the first model in the round."""
    plain = next(iter(times.values()))
    print(
        f"{'':36}{'ms':>8}{'ratio':>8}{'25-75 %':>14}{'tfp/ours':>10}", end=""
    )
    print(f"{'processor, ms':>15}{'ratio':>8}{'tfp/ours':>10}")
    for name, t in times.items():
        theirs = times.get(name.replace("tfpbnn", "tfp.layers"), t)
        ratio, lead = t / plain, np.median(theirs / t, axis=0)
        low, high = np.quantile(ratio[:, 0], [0.25, 0.75])
        (clock, cpu), (of_clock, of_cpu) = np.median([t, ratio], axis=1)
        leads = ["" if theirs is t else f"{x:.2f}" for x in lead]
        line = f"{name:36}{clock:8.2f}{of_clock:8.2f}"
        line += f"{f'{low:.2f}-{high:.2f}':>14}{leads[0]:>10}"
        print(line + f"{cpu:15.2f}{of_cpu:8.2f}{leads[1]:>10}")


def models(
    plain: Callable[[], Any],
    ours: Callable[[str], Any],
    theirs: Callable[[str], Any] | None,
    names: dict[str, bool],
) -> dict[str, Any]:
    """Plain Keras first, then ours beside those of tfp.layers.

    Args:
        plain: makes the deterministic network.
        ours: makes the network of an estimator.
        theirs: likewise of tfp.layers, or None.
        names: the estimators, and whether tfp.layers has them.
    """
    found = {"Keras, deterministic": plain()}
    for name, has_theirs in names.items():
        found[f"tfpbnn {name}"] = ours(name)
        if theirs is not None and has_theirs:
            found[f"tfp.layers {name}"] = theirs(name)
    return found
