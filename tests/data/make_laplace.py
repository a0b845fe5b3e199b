"""Makes laplace.json: what laplace-torch says of two small networks.

pip install torch laplace-torch numpy
python tests/data/make_laplace.py
"""

import json
import pathlib

import torch
from laplace import Laplace
from laplace.curvature import CurvlinopsGGN
from laplace_values import values

torch.set_default_dtype(torch.float64)


def network(weights):
    first = torch.nn.Linear(4, 6)
    last = torch.nn.Linear(6, len(weights[3]))
    with torch.no_grad():
        for layer, kernel, bias in (
            (first, *weights[:2]),
            (last, *weights[2:]),
        ):
            layer.weight.copy_(torch.tensor(kernel.T))
            layer.bias.copy_(torch.tensor(bias))
    return torch.nn.Sequential(first, torch.nn.Tanh(), last)


def results(kind, structure):
    weights, x, y = values(kind)
    model = network(weights)
    pairs = torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(y))
    fitted = Laplace(
        model,
        kind,
        subset_of_weights="all",
        hessian_structure=structure,
        prior_precision=2.0,
        sigma_noise=0.5 if kind == "regression" else 1.0,
        backend=CurvlinopsGGN,
    )
    fitted.fit(torch.utils.data.DataLoader(pairs, batch_size=20))
    mean, variance = fitted._glm_predictive_distribution(torch.tensor(x[:3]))
    return {
        "log_marginal_likelihood": float(fitted.log_marginal_likelihood()),
        "mean": mean.detach().numpy().tolist(),
        "covariance": variance.detach().numpy().tolist(),
    }


def main():
    made = {
        kind: {s: results(kind, s) for s in ("diag", "kron", "full")}
        for kind in ("classification", "regression")
    }
    path = pathlib.Path(__file__).with_name("laplace.json")
    path.write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
