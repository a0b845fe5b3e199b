"""Scores and intervals of many draws, beside the way that any likelihood goes.

In one process; rounds are interleaved, and what is reported is the median over
rounds of the ratio in the same round. What is kept between questions is thrown
away by a new prediction each time; the first round, which compiles, is apart.

    PYTHONPATH=. python benchmarks/scores.py [--rounds 5] [--rows 2000]
"""

import argparse
import time

import numpy as np

from tfpbnn import likelihoods
from tfpbnn.prediction.results import RegressionPredictive

DRAWS = 200
KINDS = {
    "Normal": likelihoods.Normal(),
    "Laplace": likelihoods.Laplace(),
    "StudentT": likelihoods.StudentT(),
    "Poisson": likelihoods.Poisson(),
    "NegativeBinomial": likelihoods.NegativeBinomial(),
}


def searched(p):
    return p._search_quantiles(np.array([0.05, 0.95]))


def integrated(p, y):
    """The integral between quantiles, for any distribution function."""
    return float(np.mean(p._search_crps(y[:, np.newaxis])))


def timed(function, *arguments):
    start = time.process_time()
    function(*arguments)
    return time.process_time() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--only", nargs="*", choices=KINDS, default=[*KINDS])
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    for name in args.only:
        likelihood = KINDS[name]
        size = likelihood.params_size(1)
        outputs = 0.3 * rng.standard_normal((DRAWS, args.rows, size))
        outputs += rng.standard_normal((1, args.rows, size))

        def new(outputs=outputs, likelihood=likelihood):
            p = RegressionPredictive(outputs, likelihood)
            p.stddev  # noqa: B018, is the same for all
            return p

        y = new().sample(1, seed=0)[0, :, 0]
        functions = {
            "crps": (lambda p, y=y: p.crps(y), lambda p, y=y: integrated(p, y)),
            "interval": (lambda p: p.interval(0.9), searched),
        }
        for what, (ours, plain) in functions.items():
            first = timed(ours, new())
            rounds = [
                (timed(ours, new()), timed(plain, new()))
                for _ in range(args.rounds)
            ]
            a, b = np.median(rounds, axis=0)
            ratio = np.median([b / a for a, b in rounds])
            print(
                f"{name:10}{what:10} first {first:6.2f} s, then {a:6.3f} s; "
                f"plain {b:7.3f} s: {ratio:5.1f} times (processor time)",
                flush=True,
            )


if __name__ == "__main__":
    main()
