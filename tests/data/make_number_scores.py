"""Makes number_scores.json: small inputs, and what other packages say of them.

It runs in an environment of its own, with the extra `bench`:

    pip install numpy scoringrules properscoring uncertainty-toolbox \
        torch torch-uncertainty lightning
    python tests/data/make_number_scores.py
"""

import json
import pathlib

import numpy as np
import properscoring
import scoringrules as sr
import torch
import uncertainty_toolbox as ut
from torch_uncertainty.metrics import AUSE
from torch_uncertainty.metrics.classification import (
    AUGRC,
    AURC,
    CovAtxRisk,
    FPRx,
    RiskAtxCov,
)
from torch_uncertainty.metrics.classification.scod_risk_coverage import (
    SCODAUGRC,
)

ROWS, DRAWS, TARGETS, CLASSES = 30, 12, 3, 4


def inputs():
    """Makes rows of numbers and of labels; scores with ties."""
    rng = np.random.default_rng(0)
    return {
        "y": rng.normal(size=(ROWS, TARGETS)),
        "mean": rng.normal(size=(ROWS, TARGETS)),
        "sd": rng.uniform(0.5, 2, (ROWS, TARGETS)),
        "samples": rng.normal(size=(DRAWS, ROWS, TARGETS)),
        "labels": rng.integers(0, CLASSES, ROWS),
        "probabilities": rng.dirichlet(np.ones(CLASSES), ROWS),
        "is_ood": rng.random(ROWS) < 0.4,
        "score": rng.permutation(ROWS) / 8,
        "tied": np.round(4 * rng.random(ROWS)) / 4,
        "counts": rng.poisson(3.0, ROWS),
    }


def of_numbers(x):
    """Scores predictions of numbers."""
    y, mean, sd, samples = x["y"], x["mean"], x["sd"], x["samples"]
    drawn = np.moveaxis(samples, 0, -1)
    vectors = np.moveaxis(samples, 0, 1)
    lower, upper = mean - sd, mean + 1.5 * sd
    flat = [np.ravel(part) for part in (mean, sd, y)]
    levels = np.array([0.5, 0.9])
    ends = {
        "lower": mean[..., None] - sd[..., None] * levels,
        "upper": mean[..., None] + sd[..., None] * levels,
    }
    return {
        "crps_biased": np.mean(properscoring.crps_ensemble(y, drawn)),
        "crps_fair": np.mean(sr.crps_ensemble(y, drawn, estimator="fair")),
        "energy_biased": np.mean(sr.es_ensemble(y, vectors)),
        "energy_fair": np.mean(sr.es_ensemble(y, vectors, estimator="fair")),
        "variogram_biased": np.mean(sr.vs_ensemble(y, vectors, p=0.5)),
        "interval": np.mean(sr.interval_score(y, lower, upper, 0.2)),
        "weighted_interval": np.mean(
            # Release 0.11 adds the median where its distance is meant.
            sr.weighted_interval_score(
                y, np.abs(y - mean), ends["lower"], ends["upper"], 1 - levels
            )
        ),
        "crps_normal": np.mean(properscoring.crps_gaussian(y, mean, sd)),
        "crps_laplace": np.mean(sr.crps_laplace(y, mean, sd)),
        "crps_student_t": np.mean(sr.crps_t(y, 5, mean, sd)),
        "crps_poisson": np.mean(sr.crps_poisson(x["counts"], 2.5)),
        "pinball": ut.check_score(*flat, resolution=9, start_q=0.1, end_q=0.9),
        "calibration_quantile": ut.mean_absolute_calibration_error(
            *flat, num_bins=21, prop_type="quantile"
        ),
        "calibration_interval": ut.root_mean_squared_calibration_error(
            *flat, num_bins=21, prop_type="interval"
        ),
    }


def of_ranks(x):
    """Scores rankings of labels and of foreign rows."""
    p, labels = torch.tensor(x["probabilities"]), torch.tensor(x["labels"])
    found = {}
    for name, metric in {
        "aurc": AURC(),
        "augrc": AUGRC(),
        "coverage_at_risk": CovAtxRisk(0.7),
        "risk_at_coverage": RiskAtxCov(0.55),
    }.items():
        metric.update(p, labels)
        found[name] = metric.compute().item()
    for name, level in {"fpr_at_50": 0.5, "fpr_at_95": 0.95}.items():
        metric = FPRx(level, pos_label=1)
        metric.update(torch.tensor(x["tied"]), torch.tensor(x["is_ood"]))
        found[name] = metric.compute().item()
    metric = AUSE()
    metric.update(
        torch.tensor(x["score"]),
        torch.tensor(np.abs(x["y"] - x["mean"])[:, 0]),
    )
    found["ause"] = metric.compute().item()
    metric = SCODAUGRC(ood_cost=0.7)
    wrong = x["probabilities"].argmax(-1) != x["labels"]
    metric.update(
        torch.tensor(x["score"]), torch.tensor(wrong), torch.tensor(x["is_ood"])
    )
    return found | {"scod_augrc": metric.compute().item()}


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    x = {
        name: np.round(value, 6) if value.dtype == float else value
        for name, value in inputs().items()
    }
    expected = {**of_numbers(x), **of_ranks(x)}
    kept = {
        "inputs": {name: value.tolist() for name, value in x.items()},
        "expected": {name: float(value) for name, value in expected.items()},
    }
    path = pathlib.Path(__file__).with_name("number_scores.json")
    path.write_text(json.dumps(kept) + "\n")
