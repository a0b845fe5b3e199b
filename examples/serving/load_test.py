"""How many requests a second, how long they take, and whether draws repeat.

    python examples/serving/load_test.py --threads 8 --requests 2000

All requests ask the same, so with fresh draws no two answers are equal: a draw
that was used twice shows. (With --enable_batching requests of one batch may
share their draws; with fixed draws all answers are equal.) Ends by itself.
"""

import argparse
import collections
import time
from concurrent import futures

import numpy as np
from export import data

import tfpbnn


def run(client, x, requests, threads, signature):
    """Latencies in seconds and answers, or errors, of all requests."""

    def ask(_):
        start = time.perf_counter()
        try:
            p = client.predict(x, signature=signature)
            answer = np.concatenate([np.ravel(s) for s in p.summaries])
        except (OSError, RuntimeError) as error:
            answer = error
        return time.perf_counter() - start, answer

    ask(0)  # connects, and asks for the signatures
    start = time.perf_counter()
    with futures.ThreadPoolExecutor(threads) as pool:
        results = list(pool.map(ask, range(requests)))
    return time.perf_counter() - start, results


def report(seconds, results):
    """Prints, and returns how many answers there are more than once."""
    latencies = 1000 * np.array([latency for latency, _ in results])
    errors = [a for _, a in results if isinstance(a, Exception)]
    answers = collections.Counter(
        a.tobytes() for _, a in results if not isinstance(a, Exception)
    )
    repeated = sum(answers.values()) - len(answers)
    print(f"{len(results) / seconds:10.1f} requests per second")
    for level in (50, 95, 99):
        found = np.percentile(latencies, level)
        print(f"{found:10.2f} ms, {level}th percentile")
    print(f"{repeated:10d} answers that were given before")
    print(f"{len(errors):10d} errors")
    for text, count in collections.Counter(map(repr, errors)).most_common(3):
        print(f"{count:10d} x {text}")
    return repeated, len(errors)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="40 requests")
    parser.add_argument("--url", default="http://localhost:8501")
    parser.add_argument("--model", default="diabetes")
    parser.add_argument("--signature", default="serving_default")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--rows", type=int, default=1)
    args = parser.parse_args(arguments)
    x = data()[1][: args.rows]
    requests = 40 if args.smoke else args.requests
    with tfpbnn.client.TFServingClient(args.url, args.model) as client:
        found = run(client, x, requests, args.threads, args.signature)
    return report(*found)


if __name__ == "__main__":
    main()
