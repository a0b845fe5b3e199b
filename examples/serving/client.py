"""Asks the exported model in TensorFlow Serving how sure it is.

python examples/serving/client.py --url grpc://localhost:8500
"""

import argparse

from export import QUANTILES, data

import tfpbnn


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="few rows")
    parser.add_argument("--url", default="http://localhost:8501")
    parser.add_argument("--model", default="diabetes")
    args = parser.parse_args(arguments)
    _, x_test, _, y_test = data()
    if args.smoke:
        x_test, y_test = x_test[:5], y_test[:5]

    client = tfpbnn.client.TFServingClient(
        args.url,
        args.model,
        likelihood=tfpbnn.likelihoods.Normal(),
        quantiles=QUANTILES,
    )
    with client:
        print("Versions:", client.status())
        print("Signatures:", *client.metadata().signatures)
        p = client.predict(x_test)
        print(p)
        low, high = p.interval(0.9)
        print("The first patient's 90% interval:", low[0], high[0])

        draws = client.predict(x_test, signature="samples")
        print("Scores, from all draws:", draws.evaluate(y_test))
        if "seeded" in client.metadata().signatures:  # not of fixed draws
            same = [
                client.predict(x_test[:1], signature="seeded", seed=7).mean
                for _ in range(2)
            ]
            print("One seed, one answer:", *same)


if __name__ == "__main__":
    main()
