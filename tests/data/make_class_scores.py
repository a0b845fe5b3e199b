"""Makes class_scores.json: small inputs, and what other packages say of them.

It runs in an environment of its own, with the extra `bench`:

    pip install numpy netcal relplot torch torch-uncertainty lightning
    python tests/data/make_class_scores.py
"""

import json
import pathlib

import numpy as np
import relplot
import torch
from netcal.metrics import ECE, MCE
from torch_uncertainty.metrics import classification, segmentation

ROWS, DRAWS, CLASSES, SIDE = 60, 5, 3, 6


def inputs():
    """Makes draws of probabilities, of rows and of pixels, with labels."""
    rng = np.random.default_rng(0)
    draws = rng.dirichlet(np.ones(CLASSES), (DRAWS, ROWS))
    probabilities = draws.mean(axis=0)
    labels = [rng.choice(CLASSES, p=p / p.sum()) for p in probabilities]
    return {
        "draws": draws,
        "labels": np.array(labels),
        "sets": rng.random((ROWS, CLASSES)) < 0.6,
        "pixels": rng.dirichlet(np.ones(CLASSES), (2, SIDE, SIDE)),
        "pixel_labels": rng.integers(0, CLASSES, (2, SIDE, SIDE)),
    }


def value(metric, *arrays):
    """Computes a metric of torch-uncertainty."""
    metric.update(*(torch.tensor(array) for array in arrays))
    return metric.compute().item()


def of_probabilities(x):
    """Scores probabilities of classes."""
    p, y = x["draws"].mean(axis=0), x["labels"]
    kinds = {"task": "multiclass", "num_classes": CLASSES, "num_bins": 10}
    make = classification.CalibrationError
    found = {
        "nll": value(classification.CategoricalNLL(), p, y),
        "brier": value(classification.BrierScore(CLASSES), p, y),
        "mass": value(classification.AdaptiveCalibrationError(**kinds), p, y),
        "classes": value(
            classification.ClasswiseCalibrationError(CLASSES, num_bins=10), p, y
        ),
        "smooth": value(
            classification.SmoothCalibrationError(kernel_type="reflected"), p, y
        ),
        "smooth_relplot": relplot.smECE(
            p.max(axis=-1), (p.argmax(axis=-1) == y).astype(float)
        ),
        "ece_netcal": ECE(10).measure(p, y),
        "mce_netcal": MCE(10).measure(p, y),
    }
    for norm in ("l1", "l2", "max"):
        found[f"ece_{norm}"] = value(make(**kinds, norm=norm), p, y)
    return found


def of_others(x):
    """Scores draws, sets and pixels."""
    by_row = np.swapaxes(x["draws"], 0, 1)
    first = np.moveaxis(x["pixels"], -1, 1)
    flat = x["pixels"].reshape(-1, CLASSES), x["pixel_labels"].reshape(-1)
    return {
        "disagreement": value(classification.Disagreement(), by_row),
        "set_size": value(classification.SetSize(), x["sets"]),
        "set_coverage": value(
            classification.CoverageRate(CLASSES, average="micro"),
            x["sets"],
            x["labels"],
        ),
        "mean_iou": value(
            segmentation.MeanIntersectionOverUnion(num_classes=CLASSES), *flat
        ),
        "pavpu": value(
            segmentation.PAvPU(4, acc_threshold=0.4, unc_threshold=0.4),
            first,
            x["pixel_labels"],
        ),
    }


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    x = {
        name: np.round(given, 6) if given.dtype == float else given
        for name, given in inputs().items()
    }
    expected = {**of_probabilities(x), **of_others(x)}
    kept = {
        "inputs": {name: given.tolist() for name, given in x.items()},
        "expected": {name: float(found) for name, found in expected.items()},
    }
    path = pathlib.Path(__file__).with_name("class_scores.json")
    path.write_text(json.dumps(kept) + "\n")
